"""The clock of runs."""

from types import SimpleNamespace

import pytest
from trio.testing import MockClock

from shared.contract import ids
from shared.contract.ids import wall_clock_ms


@pytest.fixture
def wall_clock(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the wall clock follow the mock clock."""
    began = wall_clock_ms()
    now = SimpleNamespace(time_ns=lambda: (began + int(autojump_clock.current_time() * 1000)) * 1_000_000)
    monkeypatch.setattr(ids, "time", now)
