"""A star on a message, set or removed by a user for their own devices."""

from messaging.kinds.kind import Kind, accept_any_body, needs_existing_target
from shared.contract import changes

KIND = Kind(changes.KINDS["starred"], accept_any_body, needs_existing_target)
