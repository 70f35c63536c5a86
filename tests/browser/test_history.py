"""History loads while the reader scrolls up, and the lines in view stay in place."""

import json
import re
import time

import httpx
import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from tests.browser.conftest import PATIENCE, SCREENS_UP, STORED, Account, Platform, Seat, Seats

LONG = tuple(f"Line {number}: {'the lag graph again ' * (1 + number % 7)}" for number in range(180))

HOLD = """() => {
  const top = document.querySelector('.messages').getBoundingClientRect().top;
  const lines = [...document.querySelectorAll('rookery-message')];
  const held = lines.find((line) => line.getBoundingClientRect().top > top + 60);
  const at = held.getBoundingClientRect().top;
  window.worst = 0;
  const look = () => {
    worst = Math.max(worst, Math.abs(held.getBoundingClientRect().top - at));
    requestAnimationFrame(look);
  };
  look();
}"""
"""Tracks a line in view, and records its largest move in any drawn frame."""

REACT_ABOVE = """() => {
  const top = document.querySelector('.messages').getBoundingClientRect().top;
  const lines = [...document.querySelectorAll('rookery-message')];
  const above = lines.filter((line) => line.getBoundingClientRect().bottom < top);
  above.at(-3).focus({ preventScroll: true });
  requestAnimationFrame(() => requestAnimationFrame(() => above.at(-3).querySelector('.icon-button').click()));
}"""
"""Clicks the reaction button of a message above the view."""

HOLD_OFFSET = """() => {
  const lines = document.querySelector('.messages');
  const held = [...document.querySelectorAll('rookery-message')].at(-1);
  const offset = () => held.getBoundingClientRect().top + lines.scrollTop;
  const at = offset();
  window.worst = 0;
  const look = () => {
    if (!held.isConnected) return;
    worst = Math.max(worst, Math.abs(offset() - at));
    requestAnimationFrame(look);
  };
  look();
}"""
"""Tracks the offset of the last line within the scrolled content, and records its largest change in any drawn frame."""

STEP_UP = """async (screens) => {
  const scroller = document.querySelector('.messages');
  const { top } = scroller.getBoundingClientRect();
  const lines = () => [...document.querySelectorAll('rookery-message')];
  const placeOf = (line) => line.getBoundingClientRect().top;
  const held = lines().find((line) => placeOf(line) > top);
  const step = Math.min(screens * scroller.clientHeight, scroller.scrollTop);
  const expected = placeOf(held) + step;
  scroller.scrollTop -= step;
  const isBeginning = () => Boolean(document.querySelector('.beginning'));
  do await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  while (!isBeginning() && placeOf(lines()[0]) > top);
  return {
    moved: held.isConnected ? placeOf(held) - expected : 0,
    texts: lines().map((line) => line.querySelector('.text').innerText.split(':')[0]),
    isBeginning: isBeginning(),
  };
}"""
"""Scrolls up by a number of screens, or to the top, and waits until messages fill the view. Returns the further pixels
by which a line that was in view moved, the messages on the page, and whether the chat's first one is among them."""

TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

BELOW = "() => { const s = document.querySelector('.messages'); return s.scrollHeight - s.clientHeight - s.scrollTop }"


@pytest.fixture
def platform(platform_without_replay: Platform) -> Platform:
    return platform_without_replay


@pytest.fixture
def reading(platform: Platform, seats: Seats, ada: Account, mira: Account) -> Seat:
    """Ada's window at the end of a long chat with Mira."""
    platform.send(mira, ada.chat_with(mira), *LONG)
    seat = seats(platform, ada, chat="Mira Okafor")
    expect(seat.page.get_by_text("New messages", exact=True)).to_be_in_viewport()
    seat.page.get_by_role("button", name="Go to the newest message").click()
    seat.page.get_by_role("button", name="Mark as read").click()
    expect(seat.row("Mira Okafor")).not_to_contain_text("unread")
    wait_until_at_bottom(seat.page)
    wait_until_read(platform, ada, ada.chat_with(mira))
    seat.until_live()
    return seat


def wait_until_read(platform: Platform, reader: Account, chat_id: str) -> None:
    """Wait until the server has the read mark: a page that is reloaded before has lost it."""
    url, headers = f"{platform.url}/v1/chats/{chat_id}", {"Authorization": f"Bearer {reader.access_token}"}
    deadline = time.monotonic() + PATIENCE
    while unread := httpx.get(url, headers=headers, timeout=PATIENCE).json().get("unread"):
        assert time.monotonic() < deadline, unread
        time.sleep(0.02)


def wait_until_at_bottom(page: Page) -> None:
    """Wait for the bottom: a resized view scrolls back when the next frame is drawn."""
    deadline = time.monotonic() + PATIENCE
    while (below := page.evaluate(BELOW)) > 1:
        assert time.monotonic() < deadline, below
        page.wait_for_timeout(20)


def to_bottom(page: Page) -> None:
    page.evaluate("() => { const s = document.querySelector('.messages'); s.scrollTop = s.scrollHeight }")


def worst_move(page: Page) -> float:
    return float(page.evaluate("worst"))


def test_history_loads_on_scrolling_up_and_lines_in_view_stay_in_place(reading: Seat) -> None:
    before = reading.messages.count()
    assert before in (50, 100)  # one or two pages, by the size of the screen
    reading.page.evaluate(SCREENS_UP, 20)
    reading.page.evaluate(HOLD)
    expect(reading.messages).not_to_have_count(before)
    assert worst_move(reading.page) <= 1
    beginning = reading.page.get_by_text("This is where your chat with Mira Okafor began.")
    deadline = time.monotonic() + PATIENCE
    while not beginning.is_visible():
        assert time.monotonic() < deadline, reading.messages.count()
        reading.page.evaluate(SCREENS_UP, 1)
        reading.page.wait_for_timeout(30)
    texts = reading.messages.locator(".text").all_inner_texts()
    assert [text.split(":")[0] for text in texts] == [f"Line {number}" for number in range(180)]


def test_messages_that_left_above_come_back_in_order_and_nothing_jumps(
    reading: Seat, ada: Account, mira: Account
) -> None:
    """Messages leave the page while the view follows new ones, as in a busy channel."""
    platform, chat_id, page = reading.platform, ada.chat_with(mira), reading.page
    passed = [f"Passed {number}" for number in range(60)]
    page.evaluate(HOLD_OFFSET)
    platform.send(mira, chat_id, *(f"{text}: {'again ' * (number % 50)}" for number, text in enumerate(passed)))
    expect(reading.message("Passed 59:")).to_be_in_viewport()
    wait_until_at_bottom(page)
    assert reading.messages.count() < 50 + len(passed)  # some have left
    assert worst_move(page) <= 1
    everything = [text.split(":")[0] for text in LONG] + passed
    page.evaluate(STEP_UP, 0.8)
    page.evaluate(HOLD)
    later = [f"Later {number}" for number in range(10)]
    platform.send(mira, chat_id, *later)
    expect(page.get_by_role("button", name="10 new messages")).to_be_visible()
    assert worst_move(page) <= 1
    everything += later
    seen: set[str] = set()
    is_beginning, deadline = False, time.monotonic() + PATIENCE
    while not is_beginning:
        assert time.monotonic() < deadline, len(seen)
        step = page.evaluate(STEP_UP, 0.8)
        first = everything.index(step["texts"][0])
        assert step["texts"] == everything[first : first + len(step["texts"])]
        assert abs(step["moved"]) <= 1
        seen.update(step["texts"])
        is_beginning = step["isBeginning"]
    assert seen == set(everything)
    page.get_by_role("button", name="10 new messages").click()
    expect(reading.message("Later 9")).to_be_in_viewport()
    wait_until_at_bottom(page)


def test_a_jump_to_the_top_shows_the_messages_that_left_last(reading: Seat, ada: Account, mira: Account) -> None:
    reading.platform.send(mira, ada.chat_with(mira), *(f"Passed {number}" for number in range(300)))
    expect(reading.message("Passed 299")).to_be_in_viewport()
    wait_until_at_bottom(reading.page)
    texts = reading.page.evaluate(STEP_UP, 1_000)["texts"]
    assert texts[-1] == "Passed 299"


@pytest.mark.slow
def test_new_messages_wait_behind_a_pill_while_the_view_is_scrolled_up(
    platform: Platform, reading: Seat, ada: Account, mira: Account
) -> None:
    reading.page.evaluate(SCREENS_UP, 1)
    reading.page.wait_for_timeout(300)
    reading.page.evaluate(HOLD)
    platform.send(mira, ada.chat_with(mira), "Something new", "and more")
    pill = reading.page.get_by_role("button", name="2 new messages")
    expect(pill).to_be_visible()
    expect(reading.row("Mira Okafor")).to_contain_text("2 unread")
    assert worst_move(reading.page) <= 1
    pill.click()
    expect(reading.message("and more")).to_be_in_viewport()
    expect(pill).to_be_hidden()
    expect(reading.row("Mira Okafor")).not_to_contain_text("unread")


@pytest.mark.slow
def test_a_view_at_the_bottom_follows_new_messages(
    platform: Platform, reading: Seat, ada: Account, mira: Account
) -> None:
    for number in range(5):
        platform.send(mira, ada.chat_with(mira), f"New {number} " + "on several lines " * 20)
        expect(reading.message(f"New {number} ")).to_be_in_viewport()
        wait_until_at_bottom(reading.page)
    reading.composer.fill("one\ntwo\nthree\nfour")
    reading.page.wait_for_timeout(100)
    wait_until_at_bottom(reading.page)


@pytest.mark.slow
def test_a_chat_opens_at_the_first_unread_message(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    chat_id = ada.chat_with(mira)
    platform.send(ada, chat_id, *(f"Old {number}" for number in range(10)))
    platform.send(mira, chat_id, *LONG[:30])
    seat = seats(platform, ada)
    row = seat.row("Mira Okafor")
    expect(row).to_contain_text("30 unread")
    row.click()
    expect(seat.page.get_by_text("New messages", exact=True)).to_be_in_viewport()
    expect(row).to_contain_text(re.compile("(1|2)[0-9] unread"))  # some are on the screen
    for _ in range(10):
        seat.page.evaluate(SCREENS_UP, -0.5)
        seat.page.evaluate(TWO_FRAMES)
    expect(row).not_to_contain_text("unread")


@pytest.mark.slow
def test_messages_that_were_not_on_the_screen_stay_unread(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), *LONG)
    seat = seats(platform, ada, chat="Mira Okafor")
    first = seat.message("Line 0:")
    expect(first).to_be_in_viewport()
    newest = seat.page.get_by_role("button", name="Go to the newest message")
    newest.click()
    expect(seat.message("Line 179:")).to_be_in_viewport()
    expect(seat.row("Mira Okafor")).to_contain_text("99+ unread")
    seat.page.get_by_role("button", name="Unread messages above").click()
    expect(seat.page.get_by_text("New messages", exact=True)).to_be_in_viewport()
    newest.click()
    expect(seat.message("Line 179:")).to_be_in_viewport()
    seat.page.get_by_role("button", name="Mark as read").click()
    expect(seat.row("Mira Okafor")).not_to_contain_text("unread")


@pytest.mark.slow
def test_a_chat_that_is_opened_again_is_at_its_end(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    jonas = platform.register("Jonas Weber")
    for other in (mira, jonas):
        platform.send(ada, ada.chat_with(other), *LONG[:30])
    seat = seats(platform, ada)
    for name in ("Mira Okafor", "Jonas Weber", "Mira Okafor", "Jonas Weber"):
        seat.open_chat(name)
        expect(seat.message("Line 29:")).to_be_in_viewport()
        seat.page.wait_for_timeout(200)
        wait_until_at_bottom(seat.page)
    seat.page.go_back()
    seat.page.go_forward()
    expect(seat.message("Line 29:")).to_be_in_viewport()
    wait_until_at_bottom(seat.page)
    platform.send(jonas, ada.chat_with(jonas), "Seen at once")
    expect(seat.message("Seen at once")).to_be_in_viewport()
    expect(seat.row("Jonas Weber")).not_to_contain_text("unread")


@pytest.mark.slow
def test_few_messages_are_on_the_page_whatever_was_loaded(reading: Seat, ada: Account, mira: Account) -> None:
    reading.platform.send(mira, ada.chat_with(mira), *(f"More {number}" for number in range(200)))
    expect(reading.message("More 199")).to_be_in_viewport()
    beginning = reading.page.get_by_text("This is where your chat with Mira Okafor began.")
    seen: set[str] = set()
    most, deadline = 0, time.monotonic() + PATIENCE
    is_over = False
    while not is_over:
        assert time.monotonic() < deadline, len(seen)
        reading.page.evaluate(SCREENS_UP, 1)
        reading.page.wait_for_timeout(30)
        is_over = beginning.is_visible()  # before the texts are read: the oldest come onto the page together with it
        texts = reading.messages.locator(".text").all_inner_texts()
        most = max(most, len(texts))
        seen.update(texts)
    assert (len(seen), most <= 200) == (len(LONG) + 200, True)
    assert reading.page.evaluate("document.querySelectorAll('*').length") <= 4000
    reading.page.get_by_role("button", name="Go to the newest message").click()
    expect(reading.message("More 199")).to_be_in_viewport()


@pytest.mark.slow
def test_a_link_leads_to_its_message_and_a_date_to_its_first(reading: Seat, ada: Account, mira: Account) -> None:
    page, chat_id = reading.page, ada.chat_with(mira)
    url = f"{reading.platform.url}/v1/chats/{chat_id}/messages?after_id=1&limit=100"
    history = httpx.get(url, headers={"Authorization": f"Bearer {ada.access_token}"}, timeout=PATIENCE).json()
    old = f"{reading.platform.url}/#{chat_id}/{history['messages'][20]['message']['message_id']}"
    page.evaluate("(address) => { location.href = address }", old)
    expect(page.locator(".marked")).to_contain_text("Line 20:")  # for 2.5 seconds
    expect(reading.message("Line 20:")).to_be_focused()
    expect(reading.message("Line 20:")).to_be_in_viewport(ratio=1)
    reading.context.grant_permissions(["clipboard-read"])
    reading.message("Line 20:").get_by_role("button", name="More").click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The text is copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("Line 20:")
    reading.message("Line 20:").get_by_role("button", name="More").click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The link is copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == old
    expect(page.locator(".marked")).to_have_count(0)
    page.get_by_role("button", name="Chat options").click()
    page.get_by_role("menuitem", name="Go to a date").click()
    page.get_by_role("button", name="Go", exact=True).click()
    expect(reading.message("Line 0:")).to_be_focused()
    expect(page.get_by_text("Today", exact=True)).to_be_in_viewport()


@pytest.mark.slow
def test_sending_a_message_scrolls_to_the_bottom(reading: Seat) -> None:
    reading.page.evaluate(SCREENS_UP, 1)
    reading.write("Back down here")
    expect(reading.message("Back down here")).to_be_in_viewport()


@pytest.mark.slow
def test_a_reaction_above_moves_nothing_in_sight(reading: Seat) -> None:
    reading.page.evaluate(SCREENS_UP, 1)
    reading.page.wait_for_timeout(300)
    reading.page.evaluate(HOLD)
    reading.page.evaluate(REACT_ABOVE)
    reading.page.get_by_role("button", name="heart").click()
    expect(reading.page.get_by_role("button", name="❤️ 1: you")).to_be_attached()
    assert worst_move(reading.page) <= 1


def reload_until_complete(seat: Seat) -> None:
    """Reload the page until its copies state up to which event they are complete: a server that was just started does
    not know it."""
    while True:
        seat.page.reload()
        seat.page.wait_for_timeout(2_500)  # until the page has copied its chats
        if seat.page.evaluate(f"{STORED}.then((all) => all.some(({{after}}) => Number(after)))"):
            return


@pytest.mark.slow
def test_a_reader_keeps_the_place_if_too_much_was_missed(reading: Seat, ada: Account, mira: Account) -> None:
    sessions: list[WebSocketRoute] = []

    def connect(client: WebSocketRoute) -> None:
        client.connect_to_server()
        sessions.append(client)

    reading.page.route_web_socket("**/session", connect)
    reload_until_complete(reading)
    expect(reading.messages.last).to_be_in_viewport()
    reading.page.evaluate(SCREENS_UP, 3)
    reading.page.wait_for_timeout(500)
    reading.platform.send(mira, ada.chat_with(mira), "Something new")
    expect(reading.row("Mira Okafor")).to_contain_text("Something new")
    reading.page.route("**/changes?*", lambda route: route.fulfill(json={"too_old": True}))
    reading.page.evaluate(HOLD)
    with reading.page.expect_response("**/messages?around_id=*"):
        sessions[-1].send(json.dumps({"gap": {"at_ms": "1"}}))
    reading.page.wait_for_timeout(300)
    assert worst_move(reading.page) <= 1
    reading.page.get_by_role("button", name="1 new message").click()
    expect(reading.message("Something new")).to_be_in_viewport()


@pytest.mark.slow
def test_a_page_that_opens_again_reads_what_its_kept_chats_lack_and_no_page(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "First")
    seat = seats(platform, ada, chat="Mira Okafor")
    expect(seat.message("First")).to_be_visible()
    reload_until_complete(seat)
    expect(seat.message("First")).to_be_visible()
    seat.page.goto("about:blank")
    at_mira = seats(platform, mira, chat="Ada Lindqvist")
    at_mira.write("Second")
    editor = at_mira.page.get_by_role("textbox", name="Text of the edited message")
    while not editor.is_visible():  # until the message is accepted, it can't be edited
        at_mira.composer.press("ArrowUp")
        at_mira.page.wait_for_timeout(100)
    editor.fill("Edited")
    editor.press("Enter")
    platform.history_up_to("Second", mira, ada.chat_with(mira))
    requests: list[str] = []
    seat.page.on("request", lambda request: requests.append(request.url))
    seat.page.goto(f"{platform.url}/#{ada.chat_with(mira)}")
    expect(seat.message("Edited")).to_be_visible()
    assert [url for url in requests if re.search("/messages[?](?!having)", url)] == []


@pytest.mark.slow
def test_a_failed_load_of_history_can_be_retried(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    platform.send(mira, ada.chat_with(mira), "Worth the wait")
    seat = seats(platform, ada, allowed=["ERR_FAILED"])
    expect(seat.page.get_by_role("button", name="Mira Okafor")).to_be_visible()
    seat.page.route("**/v1/chats/*/messages*", lambda route: route.abort())
    seat.open_chat("Mira Okafor")
    expect(seat.page.get_by_text("The messages could not be loaded.")).to_be_visible()
    seat.page.unroute("**/v1/chats/*/messages*")
    seat.page.get_by_role("button", name="Try again").click()
    expect(seat.message("Worth the wait")).to_be_visible()


@pytest.mark.slow
def test_loading_is_shown(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    seat = seats(platform)
    held: list[Route] = []

    def release(requests: str) -> None:
        while not held:
            seat.page.wait_for_timeout(20)
        while held:
            held.pop().continue_()
        seat.page.unroute(requests)

    lists, pages = "**/v1/chats?*", "**/v1/chats/*/messages*"
    for requests in (lists, pages):
        seat.page.route(requests, lambda route: held.append(route))
    seat.sign_in(ada)
    expect(seat.page.get_by_role("status", name="Loading")).to_be_visible()
    release(lists)
    seat.open_chat("Mira Okafor")
    expect(seat.page.get_by_role("status", name="Loading messages")).to_be_visible()
    release(pages)
    expect(seat.message("Hello")).to_be_visible()
    expect(seat.page.get_by_role("status", name="Loading")).to_have_count(0)
