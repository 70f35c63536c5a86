"""A chat without notifications, until a time, for the devices of one user."""

from messaging.kinds.kind import Kind, allow_every_member
from rookery.v1.session_pb2 import Change
from shared.configuration import LiveConfiguration
from shared.contract import changes
from shared.contract.errors import Code, Refusal


def _check(change: Change, configuration: LiveConfiguration) -> Refusal | None:
    if change.muted.until_ms >= 0:
        return None
    return Refusal(Code.INVALID, "`until_ms` must be 0 or a time in milliseconds since 1970.", "change.muted.until_ms")


KIND = Kind(changes.KINDS["muted"], _check, allow_every_member)
