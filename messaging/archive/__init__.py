"""The archive: `recorder` turns the log into stored history, `queries` answers for it over gRPC, `role` opens both."""

from messaging.archive.role import Archive, open_archive

__all__ = ["Archive", "open_archive"]
