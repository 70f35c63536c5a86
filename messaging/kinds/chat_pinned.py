"""A chat at the top of a user's own list, set or removed by that user."""

from messaging.kinds.kind import Kind, accept_any_body, allow_every_member
from shared.contract import changes

KIND = Kind(changes.KINDS["chat_pinned"], accept_any_body, allow_every_member)
