"""`make demo` starts everything that it prints, and removes all of it at the end."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.needed import needed
from tools.engines.cassandra import Cassandra
from tools.engines.kafka import Kafka
from tools.engines.redis import Redis
from tools.launch.process import wait_until
from tools.operations.jaeger import Jaeger
from tools.operations.prometheus import Prometheus
from tools.operations.rsyslog import need_rsyslog
from tools.operations.search import OpenSearch
from tools.toolchains import ROOT

pytestmark = pytest.mark.slow

SECONDS = 600.0
"""For each step; only ends a test that has failed: alone a start takes a minute."""


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    for kind in (Kafka, Cassandra, Redis, Jaeger, Prometheus, OpenSearch):
        needed(kind.install)
    needed(need_rsyslog)


def test_the_demo_shows_traces_metrics_and_logs_of_people_who_talk(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("w") as file:
        command = [sys.executable, "-m", "tools.operations.demo"]
        demo = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    try:
        assert wait_until(lambda: "Ctrl-C" in output.read_text() or demo.poll() is not None, SECONDS)
        assert demo.poll() is None, output.read_text()
        found = dict(re.findall(r"^  (\w+) +\S*?(https?://\S+)", output.read_text(), re.MULTILINE))
        prometheus = found["alerts"].removesuffix("/alerts")
        assert _get(found["page"]).is_success
        assert wait_until(lambda: "session deliver" in _get(found["traces"]).text, SECONDS)
        assert wait_until(lambda: _value(prometheus, "sum(rookery_delivery_seconds_count)") > 0, SECONDS)
        assert wait_until(lambda: _has_lines(found["logs"]), SECONDS)
        (folder,) = re.findall(r"\. (\S+)/environment;", output.read_text())
        assert Path(folder).is_dir()
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(SECONDS) == 0
    assert not Path(folder).exists()


def _get(url: str, **query: str) -> httpx.Response:
    return httpx.get(url, params=query or None, timeout=SECONDS)


def _has_lines(logs: str) -> bool:
    """Whether a search finds lines; it fails until their index exists."""
    answer = _get(logs)
    return answer.is_success and answer.json()["hits"]["total"]["value"] > 0


def _value(prometheus: str, expression: str) -> float:
    """Value of a query with one result; 0 without a result yet."""
    answer = _get(f"{prometheus}/api/v1/query", query=expression).json()["data"]["result"]
    return float(answer[0]["value"][1]) if answer else 0.0
