"""A chat in which the links that a user sends get no preview."""

from messaging.kinds.kind import Kind, has_any_body, needs_no_right
from shared.contract import changes

KIND = Kind(changes.KINDS["without_previews"], has_any_body, needs_no_right)
