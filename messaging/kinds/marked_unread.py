"""A chat marked as unread by a user, for their own devices, until one of them opens the chat."""

from messaging.kinds.kind import Kind, has_any_body, needs_no_right
from shared.contract import changes

KIND = Kind(changes.KINDS["marked_unread"], has_any_body, needs_no_right)
