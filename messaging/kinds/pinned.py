"""A pin of a message, for all members of the chat: set or removed by any of them."""

from messaging.kinds.kind import Kind, has_any_body, needs_existing_target
from shared.contract import changes

KIND = Kind(changes.KINDS["pinned"], has_any_body, needs_existing_target)
