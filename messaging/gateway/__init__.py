"""The gateway: the process that holds clients' sessions.

- `role`: opens a gateway with its listeners; `gateway`: composes its parts, opens and closes sessions, drains.
- `transports/`: WebSocket and gRPC connections; each frame goes to `dispatch`.
- `dispatch`: a command to its handler: `sign_in` (authenticate, renew, replay, move), `publisher` (messages, changes,
  typing), `follows` (channels) or `signals.watches` (presence). `access` checks the right to a request: by `lookups`
  (accounts, the tail, the archive by `history`), `files`, the `rosters` of groups, and a change by its kind in
  `messaging.kinds`. `previews` adds a preview to an accepted message with a link.
- `groups/`: the control changes of groups whose home partition this gateway owns, over gRPC.
- `signals/`: typing, presence and changed profiles, which are not stored.
- `log_consumer`: fills the tails of `owned_partitions` from the log, and delivers events to the sessions of `registry`,
  those of channels to the sessions of `channels`.
- `session`: the core of a session, sans I/O; `requests`: the form of clients' frames; `frames`: encodings; `tail`: the
  newest minutes of a partition; `sent`: distinguishes retries from other frames with the same client id.
- `tracing` and `measures`: spans and gauges.
"""
