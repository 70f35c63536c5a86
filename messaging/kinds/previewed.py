"""A preview of the first link of a message, which the server makes, and a member takes away."""

from messaging.kinds.kind import Circumstances, Kind, refuse_deleted, refuse_others, refuse_without
from rookery.v1.session_pb2 import Change
from shared.configuration import LiveConfiguration
from shared.contract import changes
from shared.contract.chats import is_group
from shared.contract.errors import Code, Refusal
from shared.contract.groups import Permission


def _check(change: Change, configuration: LiveConfiguration) -> Refusal | None:
    if not change.previewed.HasField("preview"):
        return None
    message = "Only the server makes previews: a change without one takes it away."
    return Refusal(Code.INVALID, message, "change.previewed.preview")


def _authorize(change: Change, circumstances: Circumstances) -> Refusal | None:
    if refusal := refuse_deleted(circumstances.target):
        return refusal
    if Permission.DELETE_MESSAGES in circumstances.permissions:
        return None
    refusal = refuse_others(change, circumstances.target, "take the preview away from")
    if refusal is not None and is_group(change.chat_id):
        return refuse_without(Permission.DELETE_MESSAGES, refusal.field)
    return refusal


KIND = Kind(changes.KINDS["previewed"], _check, _authorize)
