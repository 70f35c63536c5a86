"""The page of a release: the platform of the wheel in a browser, with the bundled page."""

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import STORED, Platform, Seats
from tests.browser.test_app import STATE
from tests.browser.test_connection import LINE_IS_DOWN
from tools.launch.process import running

MOST_FILES, MOST_BYTES = 11, 59_000
"""Limits of a first visit, in gzip. Measured: 58,608 bytes with the script of the start screen and the icon, 977 bytes
that may come later.
The view of a chat and its style are loaded with the first chat that is opened."""


@pytest.fixture
def released(wheel: Path, tmp_path: Path) -> Iterator[Platform]:
    """A platform with all its code from the wheel."""
    with ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "code")
    with running(Platform(tmp_path / "data", settings={"PYTHONPATH": str(tmp_path / "code")})) as ready:
        yield ready


def test_a_first_visit_of_a_release_loads_little_and_later_visits_need_no_server(
    released: Platform, seats: Seats
) -> None:
    mira = released.register("Mira Okafor")
    seat = seats(released, service_workers="allow", allowed=LINE_IS_DOWN)
    seat.sign_up("ada", "Ada Lindqvist")
    sizes = seat.downloads()
    assert sum(sizes.values()) < MOST_BYTES, sizes
    assert len(sizes) <= MOST_FILES, list(sizes)
    seat.find(mira.name, "Mira Okafor")
    seat.write("Hello")
    expect(seat.message("Hello")).to_contain_text("Sent")
    seat.wait_until(STATE)
    seat.wait_until(f"{STORED}.then((all) => all.some(({{messages}}) => messages?.length))")
    released.kill()
    seat.page.reload()
    expect(seat.message("Hello")).to_be_visible()
    seat.choose("Settings")
    expect(seat.page.get_by_role("dialog")).to_be_visible()
