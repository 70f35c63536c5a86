"""Go's own tools accept the Go example."""

import subprocess
from pathlib import Path

import pytest

from tests.examples.chatters import EXAMPLES, PROTOS
from tests.needed import needed
from tools.toolchains import go_module, need_go

pytestmark = pytest.mark.slow


def test_gofmt_and_vet_find_nothing() -> None:
    module = needed(go_module, EXAMPLES / "go", PROTOS)
    go = needed(need_go)
    sources = sorted(module.glob("*.go"))
    assert len(sources) == 3
    gofmt = [str(Path(go).with_name("gofmt")), "-l", *map(str, sources)]
    assert subprocess.run(gofmt, capture_output=True, text=True, check=True).stdout == ""
    vet = subprocess.run([go, "vet", "./..."], cwd=module, capture_output=True, text=True)
    assert vet.returncode == 0, vet.stderr
