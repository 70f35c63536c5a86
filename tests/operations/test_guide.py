"""docs/operations has a section for each alert, and its links resolve."""

import re
from pathlib import Path

import pytest
import yaml

from tools.toolchains import ROOT

GUIDE = ROOT / "docs/operations.md"
PAGES = sorted([GUIDE, *(ROOT / "docs/operations").glob("*.md")])

SAID = ["Means", "Causes", "Look at", "Cure"]


def alerts() -> dict[str, str]:
    """Runbook URLs by alert."""
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    every = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: rule["annotations"]["runbook_url"] for rule in every}


def sections() -> dict[str, str]:
    """Sections of the guide by alert."""
    parts = re.split(r"^### Alert: (\w+)\n", GUIDE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def anchors(page: Path) -> set[str]:
    """Anchors of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_alert_has_a_section_and_each_section_an_alert() -> None:
    assert set(sections()) == set(alerts())
    assert len(alerts()) > 10


@pytest.mark.parametrize("name", alerts())
def test_a_section_has_meaning_causes_diagnosis_and_cure(name: str) -> None:
    text = sections()[name]
    assert [text.index(f"**{word}**") for word in SAID] == sorted(text.index(f"**{word}**") for word in SAID)
    assert f"alert-{name.lower()}" in anchors(GUIDE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
