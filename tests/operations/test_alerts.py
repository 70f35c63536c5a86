"""The alerts: each fires when it should and at no other time, and says what to do."""

import re
from typing import Any

import pytest
import yaml

from tests.needed import needed
from tools.operations.prometheus import ALERTS, Prometheus, promtool
from tools.toolchains import ROOT

RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]

ALL = [rule for rule in RULES if "alert" in rule]

PAGE = "docs/operations.md"


@pytest.fixture(autouse=True)
def installed() -> None:
    needed(Prometheus.install)


def checked(*words: str) -> None:
    done = promtool(*words)
    assert done.returncode == 0, done.stdout
    assert "SUCCESS" in done.stdout


def test_the_rules_are_rules() -> None:
    checked("check", "rules", "--lint-fatal", "alerts.yml")


def test_the_configuration_is_one() -> None:
    checked("check", "config", "prometheus.yml")


def test_each_alert_fires_when_it_should_and_not_when_all_is_well() -> None:
    checked("test", "rules", "alerts.test.yml")
    asked = [
        (test["alertname"], bool(test["exp_alerts"]))
        for group in yaml.safe_load(ALERTS.with_name("alerts.test.yml").read_text())["tests"]
        for test in group["alert_rule_test"]
    ]
    assert sorted(asked) == sorted((rule["alert"], fires) for rule in ALL for fires in (False, True))


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is_what_is_wrong_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"].endswith(".")
    assert annotations["runbook_url"] == f"{PAGE}#alert-{rule['alert'].lower()}"


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule["alert"])
def test_the_operations_guide_has_the_cause_and_the_cure_of_an_alert(rule: dict[str, Any]) -> None:
    headings = re.findall(r"^#+ (.+)$", (ROOT / PAGE).read_text(), re.MULTILINE)
    assert f"alert-{rule['alert'].lower()}" in [
        re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings
    ]


def test_each_process_of_the_compose_file_is_scraped() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    configuration = yaml.safe_load(ALERTS.with_name("prometheus.yml").read_text())
    scraped = {
        (job["job_name"], target)
        for job in configuration["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
        if job["job_name"].startswith("rookery-")
    }
    ports = {
        "bff": "ROOKERY_BFF__PORT",
        "gateway": "ROOKERY_GATEWAY__HEALTH_PORT",
        "archive": "ROOKERY_ARCHIVE__HEALTH_PORT",
    }
    expected = {
        (f"rookery-{role}", f"{name}:{service['environment'][ports[role]]}")
        for name, service in services.items()
        if (role := name.rpartition("-")[0]) in ports
    }
    assert scraped == expected
