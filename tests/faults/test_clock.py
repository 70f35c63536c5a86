"""Scenarios step the clock from which ids are made."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tools.faults.stage import CLOCK

LOOK = """
import time, shared.contract.ids
real_ms = lambda: time.clock_gettime_ns(time.CLOCK_REALTIME) // 10**6
print(real_ms(), shared.contract.ids.wall_clock_ms(), real_ms())
"""


@pytest.mark.parametrize("seconds", [0, 5, -5])
def test_a_process_sees_the_step(tmp_path: Path, seconds: int) -> None:
    (tmp_path / "gateway-1").write_bytes(struct.pack("<q", seconds * 10**9))
    environment = {"PYTHONPATH": os.pathsep.join([str(CLOCK), os.getcwd()]), "TEST_CLOCK_FOLDER": str(tmp_path)}
    printed = subprocess.run(
        [sys.executable, "-c", LOOK],
        env=environment | {"ROOKERY_KAFKA__INSTANCE": "gateway-1"},
        text=True,
        capture_output=True,
        check=True,
    )
    before, stepped, after = map(int, printed.stdout.split())
    assert before <= stepped - seconds * 1000 <= after
