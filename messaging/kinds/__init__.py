"""The kinds of changes on the server: one file for each, with its checks and the rights that it needs.

How the changes of a kind combine is in `protos/rookery/v1/session.proto`. Elsewhere on the server, only these modules
depend on a kind by its name, for

- marks: `messaging/archive/store/laws.py`, `messaging/gateway/signals/group_marks.py`;
- mentions in edits: `messaging/archive/store/laws.py`, `messaging/archive/store/cassandra/mentions.py`,
  `messaging/archive/store/sqlite/recording.py`, `messaging/gateway/requests.py`;
- previews: `messaging/gateway/previews.py`;
- the chats that are pinned: `messaging/archive/store/protocol.py`, `messaging/archive/store/cassandra/store.py`,
  `messaging/archive/store/sqlite/store.py`;
- the edits in reports: `bff/people.py`;
- reactions and receipts of former releases: `messaging/envelopes.py`,
  `messaging/archive/store/cassandra/former_rows.py`, `messaging/archive/store/sqlite/schema.py`.
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
