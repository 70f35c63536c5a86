"""What is where in the data folder of the embedded default."""

from dataclasses import dataclass
from pathlib import Path

COMMAND_GENERATOR = 1023
"""Of the ids that commands make while the server may run: the last number, which no server uses."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The files under the setting `data`. Each is made by who first needs it."""

    path: Path

    @property
    def log(self) -> Path:
        """The backplane: what was accepted. One process at a time has it open."""
        return self.path / "log.db"

    @property
    def log_lock(self) -> Path:
        """Locked by the process that has the log open."""
        return self.log.with_suffix(".lock")

    @property
    def chats(self) -> Path:
        return self.path / "chats.db"

    @property
    def accounts(self) -> Path:
        return self.path / "accounts.db"

    @property
    def configuration(self) -> Path:
        return self.path / "configuration.db"

    @property
    def processes(self) -> Path:
        """What the running process says of itself, for commands to read."""
        return self.path / "processes.json"

    @property
    def spool(self) -> Path:
        """What commands leave for the process that has the log open to publish."""
        return self.path / "spool"
