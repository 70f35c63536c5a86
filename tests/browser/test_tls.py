"""The page over HTTPS, with its session over wss."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Platform
from tools.launch.certificates import Authority
from tools.launch.process import running

if TYPE_CHECKING:
    from tests.browser.conftest import Seats


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Platform]:
    issued = Authority(tmp_path).issue()
    files = {"CERTIFICATE": issued.certificate, "KEY": issued.key}
    settings = {f"ROOKERY_TLS__{name}_FILE": str(file) for name, file in files.items()}
    with running(Platform(tmp_path / "data", settings=settings)) as ready:
        yield ready


def test_two_people_chat_over_tls(secured: Platform, seats: "Seats") -> None:
    suffix = secrets.token_hex(4)
    ada, mira = seats(secured, ignore_https_errors=True), seats(secured, ignore_https_errors=True)
    ada.sign_up(f"ada-{suffix}", "Ada Lindqvist")
    mira.sign_up(f"mira-{suffix}", "Mira Okafor")
    ada.find(f"mira-{suffix}", "Mira Okafor")
    ada.write("Nobody listens in")
    mira.open_chat("Ada Lindqvist")
    expect(mira.message("Nobody listens in")).to_be_visible()
    assert ada.page.evaluate("[isSecureContext, location.protocol]") == [True, "https:"]
