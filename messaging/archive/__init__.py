"""The archive: `recorder` writes the log into the store, `queries` serves the history over gRPC, `role` opens both."""

from messaging.archive.role import Archive, open_archive

__all__ = ["Archive", "open_archive"]
