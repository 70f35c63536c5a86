"""The deletion of a message for oneself: only the devices of its actor no longer show the message."""

from messaging.kinds.kind import Kind, has_any_body, needs_no_right
from shared.contract import changes

KIND = Kind(changes.KINDS["hidden"], has_any_body, needs_no_right, is_of_controls=True)
