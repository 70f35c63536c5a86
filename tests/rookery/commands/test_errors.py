"""A command whose packages are not installed ends with one line that names the extra to install."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires

import pytest

from rookery.commands.errors import EXTRAS

WITHOUT = "import sys; sys.modules[{!r}] = None; from rookery.commands.cli import main; main({!r})"
"""Runs a command as if the package were not installed."""

FREE_PORTS = {"ROOKERY_BFF__PORT": "0", "ROOKERY_GATEWAY__HEALTH_PORT": "0", "ROOKERY_ARCHIVE__HEALTH_PORT": "0"}
"""Free ports for the health of a starting process: another process may listen on the default ones."""


@pytest.mark.parametrize(
    ("package", "command", "extra"),
    [
        ("pydantic", ["up"], "server"),
        ("quart", ["up"], "server"),
        ("kafka", ["up", "--engines", "kafka,cassandra,redis"], "distributed"),
    ],
)
def test_a_command_whose_extra_is_missing_names_it_in_one_line(
    package: str, command: list[str], extra: str, tmp_path: object
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(package, command)],
        env={"ROOKERY_DATA": f"{tmp_path}/data", **FREE_PORTS},
        capture_output=True,
        text=True,
    )
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, f"[{extra}]" in line, package in line) == (1, True, True)


def test_the_extra_of_every_package_that_only_an_extra_installs_is_known() -> None:
    extras: dict[str, str] = {}
    for requirement in requires("rookery") or []:
        if extra := re.search(r"extra == \"(\w+)\"", requirement):
            extras[re.split(r"[^\w.-]", requirement)[0].lower()] = extra[1]
    packages = {package: names[0].lower() for package, names in packages_distributions().items()}
    known = {package: extras[name] for package, name in packages.items() if name in extras}
    # kafka-python works without crc32c; the requirements of the client install the other two.
    expected = {package: known[package] for package in known.keys() - {"crc32c", "h11", "wsproto"}}
    assert EXTRAS | {name: extra for name, extra in expected.items() if packages[name] != "rookery"} == EXTRAS
