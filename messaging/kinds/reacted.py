"""A reaction to a message: set or removed by a member of the chat."""

import re

from messaging.kinds.kind import Circumstances, Kind, refuse_deleted
from rookery.v1.session_pb2 import Change
from shared.configuration import LiveConfiguration
from shared.contract import changes
from shared.contract.errors import Code, Refusal
from shared.contract.groups import Permission

MAX_EMOJI = 40
"""Bytes; the longest emoji, a kiss in two skin tones, has 35."""

MAX_CHANGES = 1_000
"""A message with this many changes takes no further reaction; with twice as many, no removal of one either, since the
removal of a reaction that was never set is kept too. Not exact: changes that are on their way are not counted."""

_PICTURE = (
    r"[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u24c2"
    r"\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299"
    r"\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff]"
)
"""A character that is an emoji alone. Blocks of pictures are whole, since each version of Unicode adds pictures."""

_ELEMENT = rf"{_PICTURE}(?:\ufe0f|[\U0001f3fb-\U0001f3ff]|[\U000e0020-\U000e007e]+\U000e007f)?"
"""A picture, and its presentation, its skin tone, or the tags of a flag."""

_EMOJI = re.compile(
    rf"{_ELEMENT}(?:\u200d{_ELEMENT})*|[\U0001f1e6-\U0001f1ff]{{2}}|[#*0-9]\ufe0f?\u20e3",
)
"""One emoji as Unicode's UTS 51 defines it: joined elements, a flag of two letters, or a keycap."""


def is_emoji(text: str) -> bool:
    """Whether the text is one emoji, of any version of Unicode, and not too long."""
    return len(text.encode()) <= MAX_EMOJI and _EMOJI.fullmatch(text) is not None


def _check(change: Change, configuration: LiveConfiguration) -> Refusal | None:
    if is_emoji(change.reacted.emoji):
        return None
    return Refusal(Code.INVALID, f"A reaction must be one emoji of at most {MAX_EMOJI} bytes.", "change.reacted.emoji")


def _authorize(change: Change, circumstances: Circumstances) -> Refusal | None:
    limit = MAX_CHANGES if change.reacted.set else 2 * MAX_CHANGES
    if circumstances.target.changes >= limit:
        return Refusal(Code.TOO_LARGE, f"The message has {limit} changes or more already.", "change.target_id")
    return refuse_deleted(circumstances.target)


KIND = Kind(changes.KINDS["reacted"], _check, _authorize, permission=Permission.REACT)
