"""Users with real browsers, and the real process that serves them.

Chromium is Debian's, driven by Playwright's blocking interface: these tests are plain functions. Every page is
watched: an error in the console, a broken policy or a request to a third party fails the test.
"""

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio
import trio_websocket
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)

from rookery.client.trust import client_tls
from rookery.v1.archive_pb2 import HistoryMessage
from tests.needed import skip_or_fail
from tools.launch.people import PASSWORD, Person, read_history, request_tokens
from tools.launch.process import Rookery, running
from tools.toolchains import ROOT

WHOLE = Path("/usr/bin/chromium")

SHELL = Path("/usr/bin/chromium-headless-shell")
"""Chromium without its windows: a new page takes two thirds of the CPU time. `make test-all` runs the whole browser."""

CHROMIUM = Path(os.environ.get("CHROMIUM") or (SHELL if SHELL.exists() else WHOLE))
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
"""Flags without which Chromium sends requests to third parties, and for a microphone that beeps."""

PATIENCE = 60.0
"""Seconds for a response of the platform; only ends a test that has failed. The 5 s of httpx are too short for a
password hash on a busy machine."""

DOWNLOADS = """() => ['navigation', 'resource'].flatMap((type) => performance.getEntriesByType(type))
  .filter(({name}) => !new URL(name).pathname.startsWith('/v1/'))
  .map(({name, encodedBodySize}) => [name, encodedBodySize])"""

STORED = """new Promise((resolve) => {
  indexedDB.open('rookery').onsuccess = ({target: {result}}) => {
    result.transaction('kept').objectStore('kept').getAll().onsuccess = ({target}) => resolve(target.result);
  };
})"""
"""The values in the browser's database."""

SCREENS_UP = "(screens) => { const s = document.querySelector('.messages'); s.scrollTop -= screens * s.clientHeight }"
"""Scrolls the messages up by a number of screens."""

NEW_GROUP = re.compile(r"/v1/chats/g-\d+(/(messages|changes|members|marks))?")
"""The page reads a new group again until the archive has it."""

UNANSWERED = 30
"""Messages that `send` sends before it reads their answers: below the server's limit of 64."""

SIZES = {"desktop": (1200, 760), "phone": (390, 780)}


@dataclass(frozen=True, slots=True)
class Account(Person):
    """A registered user, as the pages show them."""

    display_name: str
    sign_in: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """The answer to its sign-in, as the page gets it."""

    @property
    def storage(self) -> dict[str, Any]:
        """The values that the page stores in localStorage at this sign-in."""
        return {
            "sign-in": self.sign_in | {"stored_at_ms": time.time_ns() // 1_000_000},
            "devices": [[self.name, self.sign_in["device_token"]]],
        }


class Platform(Rookery):
    """A running Rookery, with actions besides the browser."""

    def register(self, display_name: str) -> Account:
        """Register a user over HTTP."""
        letters = re.sub("[^a-z]", "", display_name.split()[0].lower()) or "user"
        name = f"{letters}-{secrets.token_hex(4)}"
        account = {"name": name, "password": PASSWORD, "display_name": display_name}
        tls = client_tls(None, "http/1.1")
        httpx.post(f"{self.url}/v1/users", json=account, timeout=PATIENCE, verify=tls).raise_for_status()
        signed_in = trio.run(request_tokens, self.url, name)
        user_id, tokens = int(signed_in["user"]["user_id"]), (signed_in["access_token"], signed_in["refresh_token"])
        return Account(name, user_id, *tokens, display_name, signed_in)

    def history_up_to(self, newest: str, reader: Person, chat_id: str) -> list[str]:
        """Wait until a text is the newest; return the history. The archive records with a delay."""

        def has_newest(messages: Sequence[HistoryMessage]) -> bool:
            return bool(messages) and messages[-1].message.text.body == newest

        read = partial(read_history, self.url, reader, chat_id, until=has_newest)
        return [each.message.text.body for each in trio.run(read)]

    def change_group(self, actor: Account, method: str, path: str, **fields: Any) -> str:
        """Make a control change over HTTP, below `/v1/chats`; return the chat."""
        change = {"client_change_id": secrets.token_hex(8), **fields}
        params, body = (change, None) if method == "DELETE" else (None, change)
        url, headers = f"{self.url}/v1/chats{path}", {"Authorization": f"Bearer {actor.access_token}"}
        response = httpx.request(method, url, params=params, json=body, headers=headers, timeout=PATIENCE)
        return str(response.raise_for_status().json()["message"]["chat_id"])

    def send(self, sender: Account, chat_id: str, *texts: str) -> None:
        """Send messages in order over a new session; wait until the history has them."""
        trio.run(_send, self.websocket, sender.access_token, chat_id, texts)
        self.history_up_to(texts[-1], sender, chat_id)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        skip_or_fail(f"no Chromium at {CHROMIUM}: install Debian's package chromium, or set CHROMIUM")
    expect.set_options(timeout=1_000 * PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


def serving(page: Path, code: Path) -> dict[str, str]:
    """Settings of a platform that serves the page in this folder, by a copy of `bff` in the new folder `code`."""
    shutil.copytree(ROOT / "bff", code / "bff", ignore=shutil.ignore_patterns("web"))
    (code / "bff/web").symlink_to(page)
    return {"PYTHONPATH": str(code)}


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory, bundled: Path) -> dict[str, str]:
    """Settings of a platform that serves the bundled page: a visit takes half the CPU time of one to the modules, which
    the tests of test_app.py load."""
    return serving(bundled, tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, release: dict[str, str]) -> Iterator[Platform]:
    """One for all tests that do not disturb it: each registers its own users."""
    with running(Platform(tmp_path_factory.mktemp("rookery") / "data", settings=release)) as ready:
        yield ready


@pytest.fixture(scope="session")
def platform_without_replay(tmp_path_factory: pytest.TempPathFactory, release: dict[str, str]) -> Iterator[Platform]:
    """One without replay, so that a new session loads recent messages from history too."""
    with running(Platform(tmp_path_factory.mktemp("rookery") / "data", settings=release, replay_seconds=0)) as ready:
        yield ready


@pytest.fixture
def own_platform(tmp_path: Path, release: dict[str, str]) -> Iterator[Platform]:
    """One for one test, which may kill it."""
    with running(Platform(tmp_path / "data", settings=release)) as ready:
        yield ready


@dataclass(slots=True)
class Seat:
    """A browser window with its own storage, and the problems in it."""

    platform: Platform
    context: BrowserContext
    page: Page
    allowed: Sequence[str] = ()
    """Expected problems, as patterns of console messages."""
    problems: list[str] = field(default_factory=list)
    live: set[Page] = field(default_factory=set)
    """Pages whose session has begun."""

    def watch(self, page: Page) -> Page:
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: self._note_welcome(page, frame)))
        page.on("console", lambda message: self._note_error(message))
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("request", lambda request: self._check_target(request))
        return page

    def _note_error(self, message: ConsoleMessage) -> None:
        address = urlsplit(message.location["url"])
        is_early = "status of 404" in message.text and NEW_GROUP.fullmatch(address.path)
        if message.type == "error" and not is_early:
            self.problems.append(f"{message.text} {address.path}")

    def _check_target(self, request: Request) -> None:
        here = {urlsplit(self.platform.url).netloc, urlsplit(self.platform.websocket).netloc}
        if urlsplit(request.url.removeprefix("blob:")).netloc not in here:
            self.problems.append(f"a request to a third party: {request.url}")

    def _note_welcome(self, page: Page, frame: str | bytes) -> None:
        if "welcome" in json.loads(frame):
            self.live.add(page)

    def until_live(self) -> None:
        """Wait until the page's session has begun: later events arrive live, not in a replay."""
        deadline = time.monotonic() + PATIENCE
        while self.page not in self.live:
            assert time.monotonic() < deadline, "there is no session"
            self.page.wait_for_timeout(20)

    def unexpected(self) -> list[str]:
        return [text for text in self.problems if not any(re.search(pattern, text) for pattern in self.allowed)]

    def tab(self) -> Page:
        """Open another tab of the same browser."""
        page = self.watch(self.context.new_page())
        page.goto(self.platform.url)
        return page

    def wait_until(self, script: str) -> None:
        """Wait until the script returns, or its promise resolves to, a true value. `Page.wait_for_function` takes any
        promise for one, and the page's policy forbids its later evaluations."""
        deadline = time.monotonic() + PATIENCE
        while not self._is_true(script):
            assert time.monotonic() < deadline, script
            self.page.wait_for_timeout(20)

    def _is_true(self, script: str) -> bool:
        with suppress(Error):  # the page is being replaced
            return bool(self.page.evaluate(script))
        return False

    def downloads(self) -> dict[str, int]:
        """The bytes of the page and of each of its files so far, by address, as they were transferred."""
        sizes: dict[str, int] = dict(self.page.evaluate(DOWNLOADS))
        assert all(sizes.values()), sizes
        return sizes

    def sign_up(self, name: str, display_name: str) -> None:
        """Register at the page."""
        self.page.goto(self.platform.url)
        self.page.get_by_role("button", name="Create an account").click()
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Your name").fill(display_name)
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_role("button", name="Create account").click()
        self.until_signed_in()

    def enter(self, account: Account, password: str = PASSWORD) -> None:
        """Fill in the form of the sign-in, and send it."""
        self.page.get_by_label("User name").fill(account.name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Sign in").click()

    def sign_in(self, account: Account) -> None:
        self.page.goto(self.platform.url)
        self.enter(account)
        self.until_signed_in()

    def until_signed_in(self) -> None:
        """Wait until the page shows the list of chats."""
        expect(self.page.get_by_role("heading", name="Rookery", exact=True)).to_be_visible()

    def choose(self, name: str) -> None:
        """Click an item of the menu."""
        self.page.get_by_role("button", name="Menu").click()
        self.page.get_by_role("menuitem", name=name).click()

    def row(self, display_name: str) -> Locator:
        """A user's row in the list of chats or of search results."""
        return self.page.get_by_role("navigation").get_by_role("button", name=display_name)

    def open_chat(self, display_name: str) -> None:
        self.row(display_name).click()

    def find(self, name: str, display_name: str) -> None:
        self.page.get_by_label("Search people and chats").fill(name)
        self.row(display_name).click()

    def begin_chat(self, account: Account, other: Account) -> None:
        """Sign in, and open a new chat with another user."""
        self.sign_in(account)
        self.find(other.name, other.display_name)

    def begin_group(self, name: str, *people: Account) -> None:
        """Fill in the dialog that creates a group with these people."""
        self.page.get_by_role("button", name="New group").click()
        self.page.get_by_label("Name of the group").fill(name)
        for person in people:
            self.page.get_by_label("Search people", exact=True).fill(person.name)
            self.page.get_by_role("dialog").get_by_role("button", name=person.display_name).click()
            expect(self.page.get_by_role("button", name=f"Remove {person.display_name}")).to_be_visible()

    def write(self, text: str) -> None:
        self.composer.fill(text)
        self.composer.press("Enter")

    @property
    def composer(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message to")

    @property
    def messages(self) -> Locator:
        return self.page.locator("rookery-message")

    def message(self, text: str) -> Locator:
        return self.messages.filter(has_text=text)


Seats = Callable[..., Seat]


@pytest.fixture
def seats(chromium: Browser) -> Iterator[Seats]:
    """Opens windows: `seats(platform, ada, chat="Mira Okafor", color_scheme="dark")` opens the page and a chat with the
    sign-in of `register`, or with `by_form` with a new one."""
    opened: list[Seat] = []

    def open_seat(
        platform: Platform,
        account: Account | None = None,
        *,
        chat: str = "",
        size: str = "desktop",
        allowed: Sequence[str] = (),
        by_form: bool = False,
        **options: Any,
    ) -> Seat:
        width, height = SIZES[size]
        options = {"viewport": {"width": width, "height": height}, "service_workers": "block", **options}
        if account and not by_form:
            kept = [{"name": f"rookery.{key}", "value": json.dumps(value)} for key, value in account.storage.items()]
            options["storage_state"] = {"cookies": [], "origins": [{"origin": platform.url, "localStorage": kept}]}
        context = chromium.new_context(locale="en-GB", **options)
        seat = Seat(platform, context, context.new_page(), allowed)
        seat.watch(seat.page)
        opened.append(seat)
        if account and by_form:
            seat.sign_in(account)
        elif account:
            seat.page.goto(platform.url)
            seat.until_signed_in()
        if chat:
            seat.open_chat(chat)
        return seat

    yield open_seat
    unexpected = [problem for seat in opened for problem in seat.unexpected()]
    for seat in opened:
        seat.context.close()
    assert unexpected == []


@pytest.fixture
def ada(platform: Platform) -> Account:
    return platform.register("Ada Lindqvist")


@pytest.fixture
def mira(platform: Platform) -> Account:
    return platform.register("Mira Okafor")


async def _send(url: str, access_token: str, chat_id: str, texts: tuple[str, ...]) -> None:
    with trio.fail_after(60):
        async with trio_websocket.open_websocket_url(url, subprotocols=["rookery.v1.json"]) as socket:
            await socket.send_message(json.dumps({"authenticate": {"access_token": access_token}}))
            await _frame(socket, "welcome")
            for first in range(0, len(texts), UNANSWERED):
                together = texts[first : first + UNANSWERED]
                for text in together:
                    send = {"client_message_id": secrets.token_hex(8), "chat_id": chat_id, "text": {"body": text}}
                    await socket.send_message(json.dumps({"send": send}))
                for _ in together:
                    await _frame(socket, "accepted")


async def _frame(socket: trio_websocket.WebSocketConnection, kind: str) -> None:
    while True:
        frame = json.loads(await socket.get_message())
        if kind in frame:
            return
        assert "refused" not in frame, frame
