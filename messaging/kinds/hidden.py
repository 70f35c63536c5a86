"""The deletion of a message for oneself: only the devices of its actor no longer show the message."""

from messaging.kinds.kind import Kind, accept_any_body, allow_every_member
from shared.contract import changes

KIND = Kind(changes.KINDS["hidden"], accept_any_body, allow_every_member, is_of_controls=True)
