"""A pin of a message, for all members of the chat: set or removed by any of them."""

from messaging.kinds.kind import Kind, accept_any_body, needs_existing_target
from shared.contract import changes
from shared.contract.groups import Permission

KIND = Kind(changes.KINDS["pinned"], accept_any_body, needs_existing_target, permission=Permission.PIN)
