"""The two transports of sessions: WebSocket for browsers, gRPC for native clients."""
