"""A missing trace collector affects neither requests nor the stop, and logs one line."""

from pathlib import Path

import httpx

from tools.engines.engine import HOST, free_port
from tools.launch.people import PATIENCE
from tools.launch.process import Rookery, running, wait_until

TOKEN = "collectors-own-token"


def test_a_collector_that_is_away_costs_a_line_in_the_log(tmp_path: Path) -> None:
    settings = {
        "ROOKERY_TRACES__ENDPOINT": f"http://{HOST}:{free_port()}",
        "ROOKERY_TRACES__HEADERS": f'{{"authorization": "Bearer {TOKEN}"}}',
        "ROOKERY_LOG_LEVEL": "debug",
    }
    with running(Rookery(tmp_path / "data", settings=settings, trace_ratio=1)) as rookery:

        def lost() -> float:
            lines = httpx.get(f"{rookery.url}/metrics", timeout=PATIENCE).text.splitlines()
            (line,) = [line for line in lines if line.startswith('rookery_spans_lost_total{reason="not_sent"}')]
            return float(line.split()[-1])

        for _ in range(2):
            before = lost()
            assert httpx.get(f"{rookery.url}/v1/me", timeout=PATIENCE).status_code == 401
            assert wait_until(lambda before=before: lost() > before)  # type: ignore[misc]
    assert rookery.process.returncode == 0
    lines = rookery.log_lines()
    assert len([line for line in lines if line["event"] == "traces_not_sent"]) == 1
    assert [line for line in lines if line["logger"].startswith(("opentelemetry", "urllib3", "requests"))] == []
    assert TOKEN not in rookery.log.read_text()


def test_an_invalid_endpoint_is_refused_at_the_start(tmp_path: Path) -> None:
    rookery = Rookery(tmp_path / "data", settings={"ROOKERY_TRACES__ENDPOINT": "collector:4318"})
    done = rookery.run("migrate")
    assert done.returncode == 2
    assert "traces.endpoint" in done.stderr
