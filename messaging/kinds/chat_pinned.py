"""A chat at the top of a user's own list, set or removed by that user."""

from messaging.kinds.kind import Kind, has_any_body, needs_no_right
from shared.contract import changes

KIND = Kind(changes.KINDS["chat_pinned"], has_any_body, needs_no_right)
