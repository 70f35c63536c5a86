"""The load generator: pairs of users who write to each other, and what that costs the server.

`run` is the whole of it; `websocket` and `grpc` carry the sessions, `accounts` makes the users, `measure` holds what is
counted, and `process` reads what the server used.
"""
