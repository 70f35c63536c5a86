"""The page as an app: opened without a connection, installed, and updated."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import CHROMIUM_FLAGS, STORED, WHOLE, Account, Platform, Seat, Seats, serving
from tests.browser.test_accessibility import expect_accessible
from tests.browser.test_accounts import made_link
from tests.browser.test_admin import make_admin
from tests.browser.test_connection import LINE_IS_DOWN
from tools.launch.process import running
from tools.toolchains import ROOT

STATE = "navigator.serviceWorker.ready.then(() => navigator.serviceWorker.controller !== null)"

TRANSFERS = """() => performance.getEntriesByType('resource')
  .filter(({name, transferSize}) => transferSize && !new URL(name).pathname.startsWith('/v1/'))
  .map(({name}) => name)"""
"""The files that came over the network."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One that serves the modules of the page, as a checkout does."""
    with running(Platform(tmp_path_factory.mktemp("rookery") / "data")) as ready:
        yield ready


@pytest.fixture
def updated(tmp_path: Path) -> Iterator[tuple[Platform, Path]]:
    """A platform with its own copy of the page, and the folder of that page."""
    shutil.copytree(ROOT / "web", web := tmp_path / "web")
    with running(Platform(tmp_path / "data", settings=serving(web, tmp_path / "code"))) as ready:
        yield ready, web


def with_worker(seats: Seats, *arguments: Any, **options: Any) -> Seat:
    """A seat with the service worker installed in its page."""
    seat = seats(*arguments, service_workers="allow", **options)
    seat.wait_until(STATE)
    return seat


@pytest.mark.slow  # test_wheel.py, test_connection.py and test_unsent.py have its parts
def test_the_page_opens_without_a_server_with_what_was_read_and_keeps_messages_for_later(
    own_platform: Platform, seats: Seats
) -> None:
    ada, mira = own_platform.register("Ada Lindqvist"), own_platform.register("Mira Okafor")
    own_platform.send(mira, ada.chat_with(mira), "Read before")
    seat = with_worker(seats, own_platform, ada, chat="Mira Okafor", allowed=LINE_IS_DOWN)
    expect(seat.message("Read before")).to_be_visible()
    seat.wait_until(f"{STORED}.then((all) => all.some(({{messages}}) => messages?.length))")
    own_platform.kill()
    seat.page.reload()
    expect(seat.message("Read before")).to_be_visible()
    seat.write("Written without a server")
    expect(seat.message("Written without a server")).to_contain_text("Waiting to send")
    own_platform.start()
    expect(seat.message("Written without a server")).to_contain_text("Sent")
    seat.choose("Sign out")
    expect(seat.page.get_by_role("button", name="Sign in")).to_be_visible()
    seat.wait_until(f"{STORED}.then((all) => !all.length)")


@pytest.mark.slow
def test_an_update_is_offered_and_keeps_the_draft_and_the_modules_of_open_pages(
    updated: tuple[Platform, Path], seats: Seats
) -> None:
    platform, web = updated
    ada, mira = platform.register("Ada Lindqvist"), platform.register("Mira Okafor")
    platform.send(mira, ada.chat_with(mira), "Hello")
    seat = with_worker(seats, platform, ada, chat="Mira Okafor")
    main = "document.querySelector('script[type=module]').src"
    old = seat.page.evaluate(main)
    seat.page.reload()
    expect(seat.message("Hello")).to_be_visible()
    assert seat.page.evaluate(TRANSFERS) == []  # a warm start
    seat.composer.press_sequentially("A draft")
    (web / "main.js").write_text((web / "main.js").read_text() + "globalThis.updated = true;\n")
    seat.page.evaluate("navigator.serviceWorker.getRegistration().then((one) => one.update())")
    expect(seat.page.get_by_text("A new version is ready.")).to_be_visible()
    assert seat.page.evaluate("(old) => fetch(old, {cache: 'no-store'}).then(({ok}) => ok)", old)
    seat.page.get_by_role("button", name="Reload").click()
    seat.wait_until("globalThis.updated")
    expect(seat.composer).to_have_value("A draft")
    expect(seat.page.get_by_text("A new version is ready.")).to_be_hidden()
    assert seat.page.evaluate(main) != old


@pytest.mark.slow
def test_the_page_can_be_installed(platform: Platform, chromium: Browser) -> None:
    # The headless shell installs no page.
    with chromium.browser_type.launch(executable_path=WHOLE, args=list(CHROMIUM_FLAGS)) as whole:
        page = whole.new_page()
        page.goto(platform.url)
        session = page.context.new_cdp_session(page)
        manifest = session.send("Page.getAppManifest")
        errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert (manifest["errors"], re.sub(r"[0-9a-f]{16}", "HASH", manifest["url"])) == (
        [],
        f"{platform.url}/assets/HASH/manifest.webmanifest",
    )
    assert [error["errorId"] for error in errors] == ["in-incognito"]  # every window of these tests is incognito


@pytest.mark.slow
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_start_leads_to_people_and_to_an_invite(platform: Platform, seats: Seats, mira: Account, size: str) -> None:
    seat = seats(platform, make_admin(platform), size=size)
    people = seat.page.get_by_role("region", name="People to write to")
    expect(people.get_by_role("button").first).to_be_visible()
    expect_accessible(seat.page)
    people.get_by_role("button", name="Invite people").click()
    assert "#invite=" in made_link(seat.page, "Invite")
    people.get_by_role("button").first.click()
    expect(seat.composer).to_be_visible()


@pytest.mark.slow
def test_a_page_whose_files_are_missing_for_a_moment_recovers(platform: Platform, seats: Seats) -> None:
    seat = seats(platform, allowed=["404"])
    missing = ["**/stores/sync.js", "**/tokens.css"]
    for path in missing:
        seat.page.route(path, lambda route: route.fulfill(status=404), times=1)
        name = path.removeprefix("**")
        with seat.page.expect_response(lambda answer: answer.ok and answer.url.endswith(name)):  # noqa: B023 - called here
            seat.page.goto(platform.url)
    expect(seat.page.get_by_role("button", name="Sign in")).to_be_visible()


@pytest.mark.slow
def test_an_unknown_address_leads_back_and_a_dropped_file_does_not_leave(platform: Platform, seats: Seats) -> None:
    seat = seats(platform, allowed=["404"])
    seat.page.goto(f"{platform.url}/none")
    expect(seat.page.get_by_role("heading", name="Page not found")).to_be_visible()
    seat.page.get_by_role("link", name="Rookery").click()
    expect(seat.page.get_by_role("button", name="Sign in")).to_be_visible()
    assert seat.page.evaluate("""() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(['text'], 'notes.txt'));
      const drop = new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true});
      document.body.dispatchEvent(drop);
      return drop.defaultPrevented;
    }""")
