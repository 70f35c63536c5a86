"""A chat in which the links that a user sends get no preview."""

from messaging.kinds.kind import Kind, accept_any_body, allow_every_member
from shared.contract import changes

KIND = Kind(changes.KINDS["without_previews"], accept_any_body, allow_every_member)
