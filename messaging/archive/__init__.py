"""The archive: `recorder` writes the log into the store, `queries` serves the history over gRPC, `role` opens both."""
