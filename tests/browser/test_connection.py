"""Lost connections: messages sent meanwhile are kept, and arrive once."""

import itertools
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.conftest import Account, Platform, Seats
from tools.launch.certificates import Authority
from tools.launch.process import running

NOTICE = "Reconnecting. What you write is kept and sent when the connection is back."
LINE_IS_DOWN = ["ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_SOCKET", "WebSocket connection to", "50[234]"]
"""Console messages of Chromium while a server is away."""

SPOIL = """(tokens) => {
  const kept = JSON.parse(localStorage['rookery.sign-in']);
  for (const token of tokens) kept[token] = 'spoilt';
  localStorage['rookery.sign-in'] = JSON.stringify(kept);
}"""
"""Replaces tokens of the sign-in that the page keeps."""

SCROLLED_UP = """(document.querySelector('.messages').scrollTop = 0,
  document.querySelectorAll('rookery-message').length === 132)"""
"""Scrolls up, and returns whether the whole chat is loaded: a page may load as long as the view moves."""


def refuse_once(page: Page, texts: set[str], refused: dict[str, object]) -> None:
    """Intercept the WebSocket, and refuse the first message, or edit, with each text."""

    def connect(client: WebSocketRoute) -> None:
        server = client.connect_to_server()
        sequence = [0]
        frames = itertools.count(1)
        passed: list[int] = []
        """The numbers of the client's frames that the server received."""

        def send_numbered(frame: dict[str, object]) -> None:
            sequence[0] += 1
            client.send(json.dumps(frame | {"sequence": str(sequence[0])}))

        def from_client(message: str | bytes) -> None:
            number, frame = next(frames), json.loads(message)
            text = frame.get("send", frame.get("change", {}).get("edited", {})).get("text", {}).get("body", "")
            if text in texts:
                texts.remove(text)
                send_numbered({"refused": {"frame": str(number), **refused}})
            else:
                passed.append(number)
                server.send(message)

        def from_server(message: str | bytes) -> None:
            frame = json.loads(message)
            if answer := frame.get("accepted", frame.get("refused")):
                answer["frame"] = str(passed[int(answer["frame"]) - 1])
            send_numbered(frame)

        client.on_message(from_client)
        server.on_message(from_server)

    page.route_web_socket("**/session", connect)


def test_messages_written_while_the_server_is_down_arrive_once_after_its_restart(
    own_platform: Platform, seats: Seats
) -> None:
    ada, mira = own_platform.register("Ada Lindqvist"), own_platform.register("Mira Okafor")
    at_ada, at_mira = [seats(own_platform, account, allowed=LINE_IS_DOWN) for account in (ada, mira)]
    at_ada.find(mira.name, "Mira Okafor")
    at_ada.write("Before")
    at_mira.open_chat("Ada Lindqvist")
    expect(at_ada.message("Before")).to_contain_text("Read")

    own_platform.kill()
    expect(at_ada.page.get_by_text(NOTICE)).to_be_visible()
    for text in ("While it was down", "in order", "and once"):
        at_ada.write(text)
    expect(at_ada.message("and once")).to_contain_text("Waiting to send")
    own_platform.start()

    expect(at_mira.message("and once")).to_be_visible()
    expect(at_ada.page.get_by_text(NOTICE)).to_be_hidden()
    expect(at_ada.message("and once")).to_contain_text("Read")
    expected = ["Before", "While it was down", "in order", "and once"]
    for seat in (at_ada, at_mira):
        assert seat.messages.locator(".text").all_inner_texts() == expected
    assert own_platform.history_up_to(expected[-1], mira, ada.chat_with(mira)) == expected


@pytest.mark.slow
def test_a_silent_connection_is_shown_within_three_seconds(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    seat = seats(platform, ada, chat="Mira Okafor")
    seat.until_live()
    seat.page.clock.install()
    seat.page.evaluate("WebSocket.prototype.send = () => {}; dispatchEvent(new Event('offline'))")
    seat.page.clock.run_for(1_000)
    expect(seat.page.get_by_text(NOTICE)).to_be_hidden()
    seat.page.clock.run_for(1_500)
    expect(seat.page.get_by_text(NOTICE)).to_be_visible()


def test_a_send_whose_answer_was_lost_is_not_sent_twice(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform)
    cut = [True]

    def connect(client: WebSocketRoute) -> None:
        server = client.connect_to_server()

        def from_server(message: str | bytes) -> None:
            if cut[0] and "accepted" in json.loads(message):
                cut[0] = False
                client.close()
                server.close()
            else:
                client.send(message)

        client.on_message(server.send)
        server.on_message(from_server)

    seat.page.route_web_socket("**/session", connect)
    seat.begin_chat(ada, mira)
    seat.write("Only once")
    expect(seat.message("Only once")).to_contain_text("Sent")
    assert not cut[0]
    expect(seat.messages).to_have_count(1)
    seat.write("And then")  # recorded after her earlier messages
    expect(seat.message("And then")).to_contain_text("Sent")
    assert platform.history_up_to("And then", ada, ada.chat_with(mira)) == ["Only once", "And then"]


@pytest.mark.slow
def test_a_refused_message_is_marked_and_retried_in_its_place_or_deleted(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform)
    texts = {"and the upgrade guide", "never mind"}
    refuse_once(seat.page, texts, {"code": "forbidden", "message": "Not in this chat."})
    seat.begin_chat(ada, mira)
    seat.write("and the upgrade guide")
    failed = seat.message("and the upgrade guide")
    expect(failed).to_contain_text("Not sent")
    expect(failed).to_contain_text("You are not allowed to do this.")
    expect(seat.row("Mira Okafor")).to_contain_text("Not sent: and the upgrade guide")
    seat.page.reload()
    expect(failed).to_contain_text("Not sent")
    failed.get_by_role("button", name="Try again").click()
    expect(failed).to_contain_text("Sent")
    seat.write("never mind")
    seat.message("never mind").get_by_role("button", name="Delete").click()
    expect(seat.messages).to_have_count(1)
    assert platform.history_up_to("and the upgrade guide", ada, ada.chat_with(mira)) == ["and the upgrade guide"]


@pytest.mark.slow
def test_a_retryable_refusal_is_retried_silently(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    seat = seats(platform)
    refused = {"code": "unavailable", "message": "Not now.", "retryable": True, "retry_after_ms": 300}
    refuse_once(seat.page, {"patience"}, refused)
    seat.begin_chat(ada, mira)
    seat.write("patience")
    seat.write("and order")
    expect(seat.message("and order")).to_contain_text("Sent")
    assert platform.history_up_to("and order", ada, ada.chat_with(mira)) == ["patience", "and order"]


@pytest.mark.slow
def test_waiting_messages_survive_a_reload(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    seat = seats(platform)
    down = [True]
    seat.page.route_web_socket("**/session", lambda client: client.close() if down[0] else client.connect_to_server())
    seat.begin_chat(ada, mira)
    seat.write("Kept for later")
    expect(seat.message("Kept for later")).to_contain_text("Waiting to send")
    seat.page.reload()
    expect(seat.message("Kept for later")).to_contain_text("Waiting to send")
    down[0] = False
    expect(seat.message("Kept for later")).to_contain_text("Sent")
    assert platform.history_up_to("Kept for later", ada, ada.chat_with(mira)) == ["Kept for later"]


@pytest.mark.slow
def test_messages_dropped_before_an_own_accepted_one_are_read_from_history(
    platform: "Platform", seats: "Seats", ada: "Account", mira: "Account"
) -> None:
    chat_id = ada.chat_with(mira)
    platform.send(mira, chat_id, "First")
    seat = seats(platform)

    def connect(client: WebSocketRoute) -> None:
        server = client.connect_to_server()

        def from_server(message: str | bytes) -> None:
            if "Dropped" not in str(message):
                client.send(message)
            if "accepted" in json.loads(message):
                client.send(json.dumps({"gap": {"dropped": "130", "at_ms": str(time.time_ns() // 1_000_000)}}))

        client.on_message(server.send)
        server.on_message(from_server)

    seat.page.route_web_socket("**/session", connect)
    seat.sign_in(ada)
    seat.open_chat("Mira Okafor")
    expect(seat.message("First")).to_be_visible()
    seat.until_live()
    dropped = [f"Dropped {number}" for number in range(130)]
    platform.send(mira, chat_id, *dropped)
    seat.write("Mine")
    expect(seat.message("Dropped 129")).to_be_visible()
    seat.wait_until(SCROLLED_UP)
    assert seat.messages.locator(".text").all_inner_texts() == ["First", *dropped, "Mine"]


@pytest.mark.parametrize(("tabs", "rounds"), [(2, 1), pytest.param(5, 10, marks=pytest.mark.slow)])
def test_tabs_whose_token_is_rejected_refresh_it_once(
    platform: Platform, seats: Seats, ada: Account, tabs: int, rounds: int
) -> None:
    seat = seats(platform, ada, allowed=["401"])
    pages = [seat.page, *(seat.tab() for _ in range(tabs - 1))]
    refreshes: list[str] = []
    for page in pages:
        expect(page.get_by_text("No chats yet")).to_be_visible()
        page.on("request", lambda request: refreshes.append(request.url) if "refresh" in request.url else None)
    for completed in range(rounds):
        for page in pages:  # a request of the page that is left would refresh it too
            page.wait_for_load_state("networkidle")
        seat.page.evaluate(SPOIL, ["access_token"])
        with ExitStack() as loads:  # the pages from here on are the new ones
            for page in pages:
                loads.enter_context(page.expect_event("load"))
                page.evaluate("setTimeout(() => location.reload())")
        for page in pages:
            expect(page.get_by_text("No chats yet")).to_be_visible()
        assert len(refreshes) == completed + 1


def test_a_sign_in_that_was_revoked_leads_back_to_signing_in(platform: Platform, seats: Seats, ada: Account) -> None:
    seat = seats(platform, ada, allowed=["401"])
    expect(seat.page.get_by_text("No chats yet")).to_be_visible()
    seat.page.evaluate(SPOIL, ["access_token", "refresh_token"])
    seat.page.evaluate("setTimeout(() => location.reload())")
    expect(seat.page.get_by_text("You have been signed out. Sign in to go on.")).to_be_visible()


# ---- TLS


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Platform]:
    with running(Platform(tmp_path / "data", settings=Authority(tmp_path).issue().environment())) as ready:
        yield ready


@pytest.mark.slow
def test_two_people_chat_over_tls(secured: Platform, seats: Seats) -> None:
    suffix = secrets.token_hex(4)
    ada, mira = seats(secured, ignore_https_errors=True), seats(secured, ignore_https_errors=True)
    ada.sign_up(f"ada-{suffix}", "Ada Lindqvist")
    mira.sign_up(f"mira-{suffix}", "Mira Okafor")
    ada.find(f"mira-{suffix}", "Mira Okafor")
    ada.write("Nobody listens in")
    mira.open_chat("Ada Lindqvist")
    expect(mira.message("Nobody listens in")).to_be_visible()
    assert ada.page.evaluate("[isSecureContext, location.protocol]") == [True, "https:"]
