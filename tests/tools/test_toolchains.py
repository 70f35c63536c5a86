"""Programs in other languages are built without holding up the rest of a test run."""

import os
from pathlib import Path

import pytest

from tools.engines.install import CACHE_VARIABLE
from tools.toolchains import go_programs

GO = f"""#!/bin/sh
if [ "$1" = version ]; then echo go version go1.26.0; else flock --nonblock "${CACHE_VARIABLE}/lock" true; fi
"""
"""Stands in for Go. It fails if the lock of installations is held while it builds."""


def test_a_build_by_go_does_not_hold_the_lock_of_other_installations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "go").write_text(GO)
    (tmp_path / "go").chmod(0o755)
    (tmp_path / "module").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    assert go_programs(tmp_path / "module").is_dir()
