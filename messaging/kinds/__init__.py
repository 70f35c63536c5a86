"""The kinds of changes on the server: one file for each, with its checks and the rights that it needs.

How the changes of a kind combine is in `protos/rookery/v1/session.proto`. Nothing else on the server depends on a kind.
"""

from messaging.kinds import deleted, edited, marked, reacted

KINDS = {kind.contract.name: kind for kind in (reacted.KIND, marked.KIND, edited.KIND, deleted.KIND)}
"""All kinds, by their field in `Change.body`."""
