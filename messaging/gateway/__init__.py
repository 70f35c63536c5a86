"""The gateway: the process that holds clients' sessions.

- `role`: opens a gateway with its listeners; `gateway`: composes its parts, opens and closes sessions, drains.
- `transports/`: WebSocket and gRPC connections; each frame goes to `dispatch`.
- `dispatch`: a command to its handler: `sign_in` (authenticate, renew, replay, move) or `publisher` (messages, changes,
  typing). `access` checks what a user may do: by `lookups` (accounts, the tail, the archive by `history`), by the
  `rosters` of groups, and a change by its kind in `messaging.kinds`.
- `groups/`: the control changes of groups whose home partition this gateway owns, over gRPC.
- `log_consumer`: fills the tails of `owned_partitions` from the log, and delivers events to the sessions of `registry`.
- `session`: the core of a session, sans I/O; `requests`: the form of clients' frames; `frames`: encodings; `tail`: the
  newest minutes of a partition; `sent`: tells retries from other frames with the same client id.
- `tracing` and `measures`: spans and gauges.
"""
