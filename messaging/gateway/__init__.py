"""The gateway: the process that holds sessions.

`session` is the core without I/O; `websocket` and `native` are its two transports; `requests` checks what clients ask;
`tail` remembers the newest minutes of a partition; `gateway` joins them: who is here, what goes to whom.
"""
