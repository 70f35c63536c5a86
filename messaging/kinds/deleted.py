"""The deletion of a message for everyone, by its sender, or in a group by a member with the permission.

A deleted message may be deleted again, without effect.
"""

from messaging.kinds.kind import Circumstances, Kind, accept_any_body, refuse_others, refuse_without
from rookery.v1.session_pb2 import Change
from shared.contract import changes
from shared.contract.chats import is_group
from shared.contract.errors import Refusal
from shared.contract.groups import Permission


def _authorize(change: Change, circumstances: Circumstances) -> Refusal | None:
    if Permission.DELETE_MESSAGES in circumstances.permissions:
        return None
    refusal = refuse_others(change, circumstances.target, "delete")
    if refusal is not None and is_group(change.chat_id):
        return refuse_without(Permission.DELETE_MESSAGES, refusal.field)
    return refusal


KIND = Kind(changes.KINDS["deleted"], accept_any_body, _authorize)
