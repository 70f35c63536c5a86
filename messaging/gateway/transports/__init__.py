"""The two transports of sessions.

`websocket`: browsers, with `handshake` (opening handshake) and `messages` (frames to messages), both sans I/O, and
`client_stream` (the socket). `grpc_transport`: native apps. `connection`: the reader, the writer and the flusher that
both share.
"""
