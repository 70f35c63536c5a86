"""The client stands alone: importing it, or a command for it, needs nothing of a server. Nor do other commands load it,
or the web server, which would double their time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rookery.commands.errors import EXTRAS

SERVERS = ("bff", "messaging", "shared.backplane", "shared.drivers")
PRINT_MODULES = "import json, sys; print(json.dumps(list(sys.modules)))"
COMMAND = "from rookery.commands.cli import main; main(['config', 'list'], standalone_mode=False)"


@pytest.mark.parametrize(
    "module", ["rookery.client", "rookery.commands.terminal.chat, rookery.load.report, rookery.verify.run"]
)
def test_importing_the_client_loads_no_engine_no_server_and_no_package_of_an_extra(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert "rookery.client" in loaded
    packages = EXTRAS.keys() - {"opentelemetry"} | {"opentelemetry.sdk", "opentelemetry.exporter"}
    heavy = tuple(f"{name}." for name in (*packages, *SERVERS))
    assert [name for name in loaded if f"{name}.".startswith(heavy)] == []


def test_a_command_for_an_admin_loads_neither_the_web_server_nor_the_client(tmp_path: Path) -> None:
    for name in ("accounts", "chats", "configuration", "log"):
        (tmp_path / f"{name}.db").touch()  # the platform has been started
    loaded = modules_after(COMMAND, ROOKERY_DATA=str(tmp_path))
    assert "rookery.commands.admin" in loaded
    assert {"bff.app", "hypercorn", "quart", "rookery.client"}.isdisjoint(loaded)


def modules_after(statements: str, **settings: str) -> list[str]:
    """The modules that a process has loaded after these statements."""
    command = [sys.executable, "-c", f"{statements}; {PRINT_MODULES}"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, env=os.environ | settings, check=True, text=True)
    loaded: list[str] = json.loads(ended.stdout.splitlines()[-1])
    return loaded
