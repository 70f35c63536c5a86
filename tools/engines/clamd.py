"""ClamAV's daemon with a signature of our own, in place of the database of all viruses."""

import re

from tools.engines.engine import Engine
from tools.engines.install import install_lock, need_program

VIRUS = b"this is not a virus, but tests take it for one"
"""The daemon finds `Rookery.Test.UNOFFICIAL` in every file with these bytes."""


class Clamd(Engine):
    """Its options are keys of clamd.conf."""

    name = "clamd"
    request = b"zPING\0"
    reply = re.compile(rb"PONG")

    @classmethod
    def install(cls) -> None:
        with install_lock():
            need_program("clamd", "clamav-daemon")

    def command(self, ports: dict[str, int]) -> list[str]:
        signatures, file = self.home / "signatures", self.home / "clamd.conf"
        signatures.mkdir(exist_ok=True)
        (signatures / "own.ndb").write_text(f"Rookery.Test:0:*:{VIRUS.hex()}\n")
        own = {"TCPAddr": self.host, "TCPSocket": str(ports["port"]), "DatabaseDirectory": str(signatures)}
        options = own | {"Foreground": "yes", "TemporaryDirectory": str(self.home)} | self.options
        file.write_text("".join(f"{name} {value}\n" for name, value in options.items() if value is not None))
        return ["clamd", "--config-file", str(file)]
