"""What the tests of commands share."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from shared.telemetry import logs


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """Undo the configuration of logs that a command makes for its process."""
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    logs.restore_levels()
    root.handlers, root.level = before
    structlog.reset_defaults()
