"""The marks of a user in a chat: how far its messages are delivered and read."""

from messaging.kinds.checks import bad_id
from messaging.kinds.kind import Circumstances, Kind
from rookery.v1.session_pb2 import Change
from shared.configuration import LiveConfiguration
from shared.contract import changes
from shared.contract.errors import Code, Refusal
from shared.contract.ids import time_of


def _check(change: Change, configuration: LiveConfiguration) -> Refusal | None:
    marked = change.marked
    if marked.delivered_up_to < 0:
        return bad_id("change.marked.delivered_up_to")
    if marked.read_up_to < 0:
        return bad_id("change.marked.read_up_to")
    if not marked.delivered_up_to and not marked.read_up_to:
        message = "A mark needs `delivered_up_to` or `read_up_to`."
        return Refusal(Code.INVALID, message, "change.marked.read_up_to")
    marked.delivered_up_to = max(marked.delivered_up_to, marked.read_up_to)  # what is read has been delivered
    return None


def _authorize(change: Change, circumstances: Circumstances) -> Refusal | None:
    if time_of(change.marked.delivered_up_to) <= circumstances.newest_ms():
        return None
    return Refusal(Code.INVALID, "There is no message yet with such an id.", "change.marked.delivered_up_to")


def _is_read_mark(change: Change) -> bool:
    return change.marked.read_up_to > 0


KIND = Kind(changes.KINDS["marked"], _check, _authorize, is_read_mark=_is_read_mark)
