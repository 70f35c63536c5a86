"""A new content of a message, by its sender. Its files stay."""

from messaging.kinds.checks import check_mentioned, check_mentions, check_text
from messaging.kinds.kind import Circumstances, Kind, refuse_deleted, refuse_others
from rookery.v1.session_pb2 import Change
from shared.configuration import LiveConfiguration
from shared.contract import changes
from shared.contract.errors import Code, Refusal
from shared.contract.groups import Permission
from shared.contract.ids import time_of


def _check(change: Change, configuration: LiveConfiguration) -> Refusal | None:
    if change.edited.WhichOneof("content") != "text":
        return Refusal(Code.INVALID, "An edit needs content, such as `text`.", "change.edited.text")
    text, field, limit = change.edited.text, "change.edited.text", configuration.max_text_bytes
    return check_text(text, limit, field, may_be_blank=True) or check_mentions(text, change.chat_id, field)


def _authorize(change: Change, circumstances: Circumstances) -> Refusal | None:
    target, seconds = circumstances.target, circumstances.configuration.edit_seconds
    if refusal := refuse_others(change, target, "edit") or refuse_deleted(target):
        return refusal
    if seconds and circumstances.now_ms - time_of(change.target_id) > seconds * 1000:
        return Refusal(Code.FORBIDDEN, f"A message can be edited for {seconds} seconds.", "change.target_id")
    text, field = change.edited.text, "change.edited.text"
    if not target.has_files and (refusal := check_text(text, circumstances.configuration.max_text_bytes, field)):
        return refusal
    return check_mentioned(text, circumstances.members, circumstances.permissions, field)


KIND = Kind(changes.KINDS["edited"], _check, _authorize, permission=Permission.POST)
