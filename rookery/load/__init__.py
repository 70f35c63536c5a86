"""The load generator: pairs of users write to each other, and the server's latency, CPU and memory are measured.

`run` is one run; `websocket` and `grpc` carry the sessions, `accounts` and `stored_accounts` make the users, `measure`
counts, and `process` reads the CPU and memory of processes.
"""
