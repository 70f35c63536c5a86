"""Unsent text is never lost: full, blocked and corrupt storage, and a page that ends between two steps."""

import re

import pytest
from playwright.sync_api import Dialog, WebSocketRoute, expect

from tests.browser.conftest import Account, Platform, Seat, Seats

FULL = "IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError') }"
BLOCKED = """for (const name of ['indexedDB', 'localStorage'])
  Object.defineProperty(window, name, { get() { throw new DOMException('blocked', 'SecurityError') } })"""
STUCK = """const { put } = IDBObjectStore.prototype;
IDBObjectStore.prototype.put = function (value, key) {
  if (key[1] === 'outbox') return new Promise(() => {});
  return put.call(this, value, key);
};
IDBTransaction.prototype.commit = function () {};
Object.defineProperty(IDBTransaction.prototype, 'oncomplete', { set() {} });"""
"""No write completes, as in a browser that ends between the key and the disk."""

UNKEPT = re.compile("^This browser.s storage is full or blocked.")


def offline(seat: Seat) -> None:
    """Refuse the page's sessions."""

    def refuse(client: WebSocketRoute) -> None:
        client.close()

    seat.page.route_web_socket("**/session", refuse)


@pytest.mark.slow
def test_a_message_without_room_to_keep_it_is_shown_sent_and_reported(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform)
    seat.page.add_init_script(FULL)
    seat.begin_chat(ada, mira)
    expect(seat.page.get_by_text(UNKEPT)).to_be_hidden()
    seat.composer.press_sequentially("No room")
    expect(seat.page.get_by_text(UNKEPT)).to_be_visible()
    seat.composer.press("Enter")
    expect(seat.message("No room")).to_contain_text("Sent")
    expect(seat.composer).to_have_value("")
    expect(seat.page.get_by_text(UNKEPT)).to_be_hidden()  # nothing is left to lose
    assert platform.history_up_to("No room", ada, ada.chat_with(mira)) == ["No room"]


@pytest.mark.slow
def test_a_page_whose_storage_is_blocked_works_and_reports_it(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform)
    seat.page.add_init_script(BLOCKED)
    offline(seat)
    seat.begin_chat(ada, mira)
    expect(seat.page.get_by_text(UNKEPT)).to_be_visible()
    seat.write("In memory")
    expect(seat.message("In memory")).to_contain_text("Waiting to send")
    seat.page.goto(f"{platform.url}/admin")
    seat.enter(ada)
    expect(seat.page.get_by_role("heading", name="This page is for admins")).to_be_visible()


@pytest.mark.parametrize(
    "value", ["{", '{"user": 1}', *(pytest.param(it, marks=pytest.mark.slow) for it in ("null", "7"))]
)
def test_corrupt_storage_shows_the_page(platform: Platform, seats: Seats, ada: Account, value: str) -> None:
    kinds = ("sign-in", "profile", "devices")
    seat = seats(platform)
    for kind in kinds:
        seat.page.add_init_script(f"localStorage['rookery.{kind}'] ??= '{value}'")
    seat.sign_in(ada)
    expect(seat.page.get_by_text("No chats yet")).to_be_visible()


@pytest.mark.slow
def test_a_page_that_ends_before_the_message_is_kept_still_has_the_text(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform)
    offline(seat)
    seat.begin_chat(ada, mira)
    seat.composer.press_sequentially("Nearly sent")
    seat.page.evaluate(STUCK)
    seat.composer.press("Enter")
    expect(seat.composer).to_have_value("Nearly sent")
    seat.page.reload()
    expect(seat.composer).to_have_value("Nearly sent")


def test_a_page_that_ends_as_soon_as_the_message_is_kept_sends_it_once(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform)
    down = [True]
    seat.page.route_web_socket("**/session", lambda client: client.close() if down[0] else client.connect_to_server())
    seat.begin_chat(ada, mira)
    seat.composer.press_sequentially("Kept once")
    seat.page.evaluate("void (IDBObjectStore.prototype.delete = () => { throw new Error('the page ended') })")
    seat.composer.press("Enter")
    expect(seat.message("Kept once")).to_contain_text("Waiting to send")
    seat.page.reload()
    expect(seat.message("Kept once")).to_contain_text("Waiting to send")
    expect(seat.composer).to_have_value("")
    down[0] = False
    expect(seat.message("Kept once")).to_contain_text("Sent")


@pytest.mark.slow
def test_a_message_that_waits_is_in_all_tabs_and_sent_by_another_one_when_its_tab_is_closed(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform)
    down = [True]
    seat.context.route_web_socket(
        "**/session", lambda client: client.close() if down[0] else client.connect_to_server()
    )
    seat.begin_chat(ada, mira)
    other = seat.tab()
    other.goto(f"{platform.url}/#{ada.chat_with(mira)}")
    seat.write("Written elsewhere")
    shown = other.locator("rookery-message").filter(has_text="Written elsewhere")
    expect(shown).to_contain_text("Waiting to send")
    questions: list[str] = []

    def stay(dialog: Dialog) -> None:
        questions.append(dialog.message)
        dialog.dismiss()

    other.once("dialog", stay)
    other.get_by_role("button", name="Menu").click()
    other.get_by_role("menuitem", name="Sign out").click()
    expect(shown).to_contain_text("Waiting to send")
    assert len(questions) == 1
    assert questions[0].startswith("One message")
    seat.page.close()
    down[0] = False
    expect(shown).to_contain_text("Sent")
    assert platform.history_up_to("Written elsewhere", ada, ada.chat_with(mira)) == ["Written elsewhere"]


@pytest.mark.slow
def test_signing_out_asks_if_a_change_waits(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    platform.send(ada, ada.chat_with(mira), "Delete me")
    seat = seats(platform, ada)
    offline(seat)
    seat.page.goto(f"{platform.url}/#{ada.chat_with(mira)}")
    seat.page.reload()
    seat.message("Delete me").hover()
    seat.message("Delete me").get_by_role("button", name="More", exact=True).click()
    seat.page.get_by_role("menuitem", name="Delete").click()
    seat.page.get_by_role("button", name="Delete for everyone").click()
    expect(seat.messages).to_contain_text("This message was deleted")
    questions: list[str] = []

    def stay(dialog: Dialog) -> None:
        questions.append(dialog.message)
        dialog.dismiss()

    seat.page.once("dialog", stay)
    seat.choose("Sign out")
    expect(seat.messages).to_contain_text("This message was deleted")
    assert [question.startswith("One message or change is not sent yet") for question in questions] == [True]


@pytest.mark.slow
def test_what_is_typed_while_a_message_is_being_kept_stays(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform)
    seat.begin_chat(ada, mira)
    seat.page.evaluate("""() => {
      const { put } = IDBObjectStore.prototype;
      IDBObjectStore.prototype.put = function (value, key) {
        if (key[1] === 'outbox') for (const until = performance.now() + 300; performance.now() < until; );
        return put.call(this, value, key);
      };
    }""")
    seat.composer.press_sequentially("One")
    seat.composer.press("Enter")
    seat.composer.press_sequentially("Two")
    seat.composer.press("Enter")
    seat.composer.press_sequentially("Thr")
    expect(seat.message("Two")).to_contain_text("Sent")
    expect(seat.composer).to_have_value("Thr")
    assert seat.messages.locator(".text").all_inner_texts() == ["One", "Two"]
