"""The alerts: each fires when it should and at no other time, and links to its runbook."""

from typing import Any

import pytest
import yaml

from tests.needed import needed
from tools.operations.prometheus import ALERTS, Prometheus, promtool
from tools.toolchains import ROOT

RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]

ALL = [rule for rule in RULES if "alert" in rule]

PAGE = "docs/operations.md"


def check(*words: str) -> None:
    """Run promtool; it must print SUCCESS."""
    needed(Prometheus.install)
    done = promtool(*words)
    assert done.returncode == 0, done.stdout
    assert "SUCCESS" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("words", [("rules", "--lint-fatal", "alerts.yml"), ("config", "prometheus.yml")])
def test_promtool_accepts_the_rules_and_the_configuration(words: tuple[str, ...]) -> None:
    check("check", *words)


@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_not_when_all_is_well() -> None:
    check("test", "rules", "alerts.test.yml")
    asked = [
        (test["alertname"], bool(test["exp_alerts"]))
        for group in yaml.safe_load(ALERTS.with_name("alerts.test.yml").read_text())["tests"]
        for test in group["alert_rule_test"]
    ]
    assert sorted(asked) == sorted((rule["alert"], fires) for rule in ALL for fires in (False, True))


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_a_description_and_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"].endswith(".")
    assert annotations["runbook_url"] == f"{PAGE}#alert-{rule['alert'].lower()}"


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
