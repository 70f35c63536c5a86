"""The alerts: each fires when it should and at no other time, and links to its section in docs/operations."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.needed import needed
from tools.operations.prometheus import ALERTS, Prometheus, promtool
from tools.toolchains import ROOT

RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]

ALL = [rule for rule in RULES if "alert" in rule]

GUIDE = ROOT / "docs/operations.md"

PAGES = sorted([GUIDE, *(ROOT / "docs/operations").glob("*.md")])

TEXTS = re.split(r"^### Alert: (\w+)\n", GUIDE.read_text(), flags=re.MULTILINE)[1:]

SECTIONS = dict(zip(TEXTS[::2], TEXTS[1::2], strict=True))
"""Sections of the guide by alert."""


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
    tested = [
        (test["alertname"], bool(test["exp_alerts"]))
        for group in yaml.safe_load(ALERTS.with_name("alerts.test.yml").read_text())["tests"]
        for test in group["alert_rule_test"]
    ]
    assert sorted(tested) == sorted((rule["alert"], fires) for rule in ALL for fires in (False, True))


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_a_description_and_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"].endswith(".")
    assert annotations["runbook_url"] == f"docs/operations.md#alert-{rule['alert'].lower()}"


def test_each_alert_has_a_section_and_each_section_an_alert() -> None:
    assert set(SECTIONS) == {rule["alert"] for rule in ALL}
    assert len(ALL) > 10


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_has_meaning_causes_diagnosis_and_cure(name: str) -> None:
    places = [SECTIONS[name].index(f"**{word}**") for word in ("Means", "Causes", "Look at", "Cure")]
    assert places == sorted(places)
    assert f"alert-{name.lower()}" in anchors(GUIDE)


def anchors(page: Path) -> set[str]:
    """Anchors of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


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
        "bff": "ROOKERY_BFF__HEALTH_PORT",
        "gateway": "ROOKERY_GATEWAY__HEALTH_PORT",
        "archive": "ROOKERY_ARCHIVE__HEALTH_PORT",
    }
    expected = {
        (f"rookery-{role}", f"{name}:{service['environment'][ports[role]]}")
        for name, service in services.items()
        if (role := name.rpartition("-")[0]) in ports
    }
    assert scraped == expected
