"""The deletion of a message for everyone, by its sender. A deleted message may be deleted again, without effect."""

from messaging.kinds.kind import Circumstances, Kind, has_any_body, refuse_others
from rookery.v1.session_pb2 import Change
from shared.contract import changes
from shared.contract.errors import Refusal


def _authorize(change: Change, circumstances: Circumstances) -> Refusal | None:
    return refuse_others(change, circumstances.target, "delete")


KIND = Kind(changes.KINDS["deleted"], has_any_body, _authorize)
