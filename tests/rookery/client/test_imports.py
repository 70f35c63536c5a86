"""The client stands alone: importing it, or a command for it, needs nothing of a server."""

import json
import subprocess
import sys

import pytest

from rookery.commands.errors import EXTRAS

SERVERS = ("bff", "messaging", "shared.backplane", "shared.drivers")
PRINT_MODULES = "import json, sys, {}; print(json.dumps(list(sys.modules)))"


@pytest.mark.parametrize(
    "module", ["rookery.client", "rookery.commands.terminal, rookery.load.report, rookery.verify.run"]
)
def test_importing_the_client_loads_no_engine_no_server_and_no_package_of_an_extra(module: str) -> None:
    command = [sys.executable, "-c", PRINT_MODULES.format(module)]
    loaded: list[str] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert "rookery.client" in loaded
    packages = EXTRAS.keys() - {"opentelemetry"} | {"opentelemetry.sdk", "opentelemetry.exporter"}
    heavy = tuple(f"{name}." for name in (*packages, *SERVERS))
    assert [name for name in loaded if f"{name}.".startswith(heavy)] == []
