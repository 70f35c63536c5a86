"""A chat outside a user's own list, for that user alone."""

from messaging.kinds.kind import Kind, has_any_body, needs_no_right
from shared.contract import changes

KIND = Kind(changes.KINDS["archived"], has_any_body, needs_no_right)
