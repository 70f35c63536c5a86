"""The files of the data folder, in the embedded default."""

from dataclasses import dataclass
from pathlib import Path

CHATS, LOG, ACCOUNTS, CONFIGURATION = "chats.db", "log.db", "accounts.db", "configuration.db"
"""The names of the databases, also in a backup."""

FILES = "files"
"""The name of the folder of the file store, also in a backup."""

COMMAND_GENERATOR = 1023
"""Generator number of ids that commands make while a server may run: the last number, which no server uses."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The files under the setting `data`. The first process that needs a file creates it."""

    path: Path

    @property
    def log(self) -> Path:
        """The backplane: the log of accepted messages. One process at a time has it open."""
        return self.path / LOG

    @property
    def log_lock(self) -> Path:
        """Locked by the process that has the log open."""
        return self.log.with_suffix(".lock")

    @property
    def chats(self) -> Path:
        return self.path / CHATS

    @property
    def accounts(self) -> Path:
        return self.path / ACCOUNTS

    @property
    def configuration(self) -> Path:
        return self.path / CONFIGURATION

    @property
    def processes(self) -> Path:
        """The reports of the running process, for commands to read."""
        return self.path / "processes.json"

    @property
    def files(self) -> Path:
        """The bytes of files, unless they are in an object store."""
        return self.path / FILES

    @property
    def spool(self) -> Path:
        """Records of commands, which the process that has the log open publishes."""
        return self.path / "spool"
