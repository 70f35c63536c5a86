"""The deletion of a message for everyone, by its sender. A deleted message may be deleted again, without effect."""

from messaging.kinds.kind import Circumstances, Kind, refuse_others
from rookery.v1.session_pb2 import Change
from shared.configuration import LiveConfiguration
from shared.contract import changes
from shared.contract.errors import Refusal


def _check(change: Change, configuration: LiveConfiguration) -> Refusal | None:
    return None


def _authorize(change: Change, circumstances: Circumstances) -> Refusal | None:
    return refuse_others(change, circumstances.target, "delete")


KIND = Kind(changes.KINDS["deleted"], _check, _authorize)
