"""A chat outside a user's own list, for that user alone."""

from messaging.kinds.kind import Kind, accept_any_body, allow_every_member
from shared.contract import changes

KIND = Kind(changes.KINDS["archived"], accept_any_body, allow_every_member)
