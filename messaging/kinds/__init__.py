"""The kinds of changes on the server: one file for each, with its checks and the rights that it needs.

How the changes of a kind combine is in `protos/rookery/v1/session.proto`. Nothing else on the server depends on a kind.
"""

from messaging.kinds import (
    archived,
    chat_pinned,
    deleted,
    edited,
    hidden,
    marked,
    marked_unread,
    muted,
    pinned,
    previewed,
    reacted,
    starred,
    without_previews,
)
from messaging.kinds.kind import Kind

_KINDS: tuple[Kind, ...] = (
    *(reacted.KIND, marked.KIND, edited.KIND, deleted.KIND),
    *(pinned.KIND, hidden.KIND, marked_unread.KIND, starred.KIND),
    *(muted.KIND, chat_pinned.KIND, archived.KIND, previewed.KIND),
    without_previews.KIND,
)

KINDS = {kind.contract.name: kind for kind in _KINDS}
"""All kinds, by their field in `Change.body`."""
