"""A chat marked as unread by a user, for their own devices, until one of them opens the chat."""

from messaging.kinds.kind import Kind, accept_any_body, allow_every_member
from shared.contract import changes

KIND = Kind(changes.KINDS["marked_unread"], accept_any_body, allow_every_member)
