"""The Grafana dashboard: every query of every panel returns data of a platform under use."""

import json
import math
import re
from typing import Any

import pytest
import trio
import yaml

from shared.telemetry.metrics.catalogue import CATALOGUE
from tests.operations.watched import ENOUGH_SECONDS, Watched, in_use, use_http
from tools.launch.process import wait_until
from tools.operations.prometheus import ALERTS
from tools.toolchains import ROOT

GRAFANA = ROOT / "deploy/grafana"

DASHBOARD = json.loads((GRAFANA / "rookery.json").read_text())

VARIABLES = {"$__rate_interval": "1h", "$job": "rookery|secured", "$instance": ".*"}
"""Values of Grafana's variables, with an interval longer than these tests."""

NAME = re.compile(r"\b(?:rookery|process)_[a-z_]+")

OF_THE_PROCESS = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
}
"""Metrics of prometheus_client."""


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    """Titles and queries of panels."""
    return [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]


@pytest.fixture(scope="module")
def used(watch: Watched) -> Watched:
    """After two rounds of use, so that each value was scraped at least twice."""

    async def use() -> None:
        async with in_use(watch.rookery.url) as people:
            await people.chat()
            await people.send_invalid()
            await use_http(watch.rookery.url, people.ada, people.grace)
            await trio.to_thread.run_sync(watch.wait_until_scraped)

    for _ in range(2):
        trio.run(use)
    watch.wait_until_scraped()
    return watch


@pytest.mark.slow
@pytest.mark.parametrize(("title", "expression"), queries())
def test_a_query_of_the_dashboard_returns_data(used: Watched, title: str, expression: str) -> None:
    """Wait for data: a busy process may miss a scrape."""
    query = expression
    for name, value in VARIABLES.items():
        query = query.replace(name, value)

    def has_numbers() -> bool:
        return any(not math.isnan(value) for _, value in used.prometheus.query(query))

    assert wait_until(has_numbers, ENOUGH_SECONDS), (title, expression)


def test_the_dashboard_and_the_alerts_query_documented_metrics_alone() -> None:
    known = {each.name for each in CATALOGUE} | OF_THE_PROCESS
    known |= {
        f"{each.name}_{part}" for each in CATALOGUE if each.kind == "histogram" for part in ("bucket", "sum", "count")
    }
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    expressions = [expression for _, expression in queries()] + [rule["expr"] for rule in rules]
    assert {name for expression in expressions for name in NAME.findall(expression)} <= known


def test_each_panel_has_a_description_and_a_place_of_its_own() -> None:
    places: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["description"], panel["title"]
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & places, panel["title"]
        places |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_each_row_is_documented() -> None:
    docs = (ROOT / "docs/metrics.md").read_text()
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert [row for row in rows if f"| {row} |" not in docs] == []


def test_grafana_finds_the_dashboard_and_prometheus() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/rookery.yaml").read_text())["providers"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert provider["type"] == "file"
    assert all(target["datasource"]["uid"] == "${datasource}" for panel in panels() for target in panel["targets"])
