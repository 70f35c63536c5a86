"""The kinds of changes on the server: one file for each, with its checks and the rights that it needs.

How the changes of a kind combine is in `protos/rookery/v1/session.proto`. Nothing else on the server depends on a kind.
"""

from messaging.kinds import deleted, edited, hidden, marked, marked_unread, pinned, reacted

_MODULES = (reacted, marked, edited, deleted, pinned, hidden, marked_unread)

KINDS = {module.KIND.contract.name: module.KIND for module in _MODULES}
"""All kinds, by their field in `Change.body`."""
