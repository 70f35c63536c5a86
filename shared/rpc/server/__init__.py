"""The server: its connections and calls, its interceptors, and the standard services of health and reflection."""
