"""The answer of a worker is never trusted, and a worker ends with its picture."""

import sys
from pathlib import Path

import pytest

from shared.contract.errors import Unavailable
from shared.pictures import processes
from shared.pictures.processes import Refused, open_worker
from shared.pictures.purposes import Purpose

ANSWERS = {
    "the worker died": "cat > /dev/null",
    "something else": "echo '<html>'",
    "got `float`": """echo '{"size": 1e12}'""",
    "thumbnails": """echo '{"thumbnails": [[7, 7]]}'""",
    "text/html": """echo '{"media_type": "text/html"}'""",
    "endless line": "cat /dev/zero",
}


def be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Start this script in place of workers."""
    program = tmp_path / "worker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize("reason", ANSWERS)
async def test_an_answer_out_of_bounds_refuses_the_picture(
    reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    be(monkeypatch, tmp_path, f"PATH=/bin:/usr/bin; echo ready; {ANSWERS[reason]}")
    async with open_worker("image/jpeg", Purpose.FILE) as worker:
        with pytest.raises(Refused, match=reason):
            await worker.answer()


@pytest.mark.parametrize("script", ["exit 1", "echo hello", "exec /bin/sleep 1000"])
async def test_a_worker_that_does_not_start_is_no_fault_of_the_picture(
    script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    be(monkeypatch, tmp_path, script)
    monkeypatch.setattr(processes, "START_SECONDS", 0.5)
    with pytest.raises(Unavailable):
        async with open_worker("image/jpeg", Purpose.FILE):
            pass


@pytest.mark.parametrize("script", ["exec sleep 1000", "kill -9 $$"])
async def test_a_machine_without_time_or_memory_is_no_fault_of_the_picture(
    script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    be(monkeypatch, tmp_path, f"PATH=/bin:/usr/bin; echo ready; {script}")
    async with open_worker("image/jpeg", Purpose.FILE) as worker:
        worker._patience = 0.5  # not before: it bounds the start too
        with pytest.raises(Unavailable):
            await worker.answer()


async def test_a_picture_can_be_sent_to_a_dead_worker() -> None:
    async with open_worker("image/jpeg", Purpose.FILE) as worker:
        worker.process.terminate()
        await worker.process.wait()
        with pytest.raises(Refused, match="died"):
            await worker.send(bytes(1_000_000))


async def test_a_worker_ends_with_its_block() -> None:
    async with open_worker("image/jpeg", Purpose.FILE) as worker:
        assert worker.process.poll() is None
    assert worker.process.poll() is not None
