"""Pins, the history of edits, and chats marked as unread, on several devices."""

import re

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import Account, Platform, Seat, Seats
from tests.browser.test_changes import choose

MANY = 120
"""Messages: more than a page of history."""


@pytest.fixture
def at_ada(platform: Platform, seats: Seats, ada: Account, mira: Account) -> Seat:
    """Ada's browser in the chat with Mira, whose only message is Mira's."""
    platform.send(mira, ada.chat_with(mira), "Lunch?")
    return seats(platform, ada, chat="Mira Okafor")


def test_a_pin_is_seen_by_both_leads_to_its_message_follows_an_edit_and_is_removed(
    platform: Platform, seats: Seats, at_ada: Seat, ada: Account, mira: Account
) -> None:
    choose(at_ada, "Lunch?", "Pin")
    expect(at_ada.message("Lunch?")).to_contain_text("Pinned by you")
    platform.send(ada, ada.chat_with(mira), *(f"Message {number}" for number in range(MANY)))
    at_mira = seats(platform, mira, chat="Ada Lindqvist")
    at_mira.page.get_by_role("button", name="Go to the newest message").click()
    expect(at_mira.message(f"Message {MANY - 1}")).to_be_in_viewport()
    at_mira.page.get_by_role("button", name="Pinned message Lunch?").click()
    expect(at_mira.messages.first).to_be_focused()
    expect(at_mira.messages.first).to_contain_text(re.compile("Lunch.*Pinned by Ada Lindqvist"))

    choose(at_mira, "Lunch?", "Edit")
    at_mira.page.get_by_role("textbox", name="Text of the edited message").fill("Lunch at **one**?")
    at_mira.page.keyboard.press("Enter")
    banner = at_ada.page.get_by_role("button", name="Pinned message Lunch at one?")
    expect(banner).to_be_visible()
    at_ada.page.get_by_role("button", name="Pinned messages").click()
    pins = at_ada.page.get_by_role("dialog", name="Pinned messages")
    pins.get_by_role("button", name="Mira Okafor").click()
    expect(at_ada.message("Lunch at one?")).to_be_focused()
    at_ada.message("Lunch at one?").get_by_role("button", name="edited").click()
    versions = at_ada.page.get_by_role("dialog", name="History of edits").get_by_role("listitem")
    expect(versions).to_have_text([re.compile("Lunch at one[?]"), re.compile("As it was sent.*Lunch[?]")])
    expect(versions.get_by_text("one", exact=True)).to_have_css("font-weight", re.compile("[67]00"))
    at_ada.page.keyboard.press("Escape")

    at_ada.page.get_by_role("button", name="Pinned messages").click()
    pins.get_by_role("button", name="Unpin").click()
    expect(pins).to_contain_text("No pinned messages")
    for seat in (at_ada, at_mira):
        expect(seat.page.get_by_text("Pinned message", exact=True)).to_have_count(0)


@pytest.mark.slow
def test_a_pin_pressed_while_the_newest_message_is_loading_leads_to_its_message(
    platform: Platform, seats: Seats, at_ada: Seat, ada: Account, mira: Account
) -> None:
    choose(at_ada, "Lunch?", "Pin")
    platform.send(ada, ada.chat_with(mira), *(f"Message {number}" for number in range(MANY)))
    seat = seats(platform, mira, chat="Ada Lindqvist")
    expect(seat.message("Message 0")).to_be_in_viewport()
    requests = "**/v1/chats/*/messages*"
    held: list[Route] = []
    seat.page.route(requests, lambda route: held.append(route))
    seat.page.get_by_role("button", name="Go to the newest message").click()
    while not held:
        seat.page.wait_for_timeout(20)
    seat.page.get_by_role("button", name="Pinned message Lunch?").click()
    seat.page.route(requests, lambda route: route.continue_())  # first: the next request is not held
    for route in held:
        route.continue_()
    expect(seat.messages.first).to_contain_text("Lunch?")
    expect(seat.messages.first).to_be_focused()
    expect(seat.messages.first).to_be_in_viewport()


@pytest.mark.slow
def test_a_star_is_on_the_devices_of_its_user_alone_and_leads_to_its_message(
    platform: Platform, seats: Seats, at_ada: Seat, ada: Account, mira: Account
) -> None:
    phone = seats(platform, ada, size="phone", chat="Mira Okafor")
    at_mira = seats(platform, mira, chat="Ada Lindqvist")
    choose(at_ada, "Lunch?", "Star")
    for seat in (at_ada, phone):
        expect(seat.message("Lunch?")).to_contain_text("Starred")
    at_mira.write("At noon")
    expect(phone.message("At noon")).to_be_visible()
    expect(at_mira.message("Lunch?")).not_to_contain_text("Starred")

    phone.page.get_by_role("button", name="Chat options").click()
    phone.page.get_by_role("menuitem", name="Starred messages").click()
    stars = phone.page.get_by_role("dialog", name="Starred messages")
    stars.get_by_role("button", name="Mira Okafor").click()
    expect(phone.message("Lunch?")).to_be_focused()
    choose(at_ada, "Lunch?", "Unstar")
    for seat in (at_ada, phone):
        expect(seat.message("Lunch?")).not_to_contain_text("Starred")


@pytest.mark.slow
def test_a_chat_marked_as_unread_is_unread_on_all_devices_until_one_of_them_opens_it(
    platform: Platform, seats: Seats, at_ada: Seat, ada: Account
) -> None:
    phone = seats(platform, ada, size="phone", has_touch=True, is_mobile=True)
    rows = [seat.row("Mira Okafor") for seat in (at_ada, phone)]
    rows[0].click(button="right")
    at_ada.page.get_by_role("menuitem", name="Mark as unread").click()
    expect(at_ada.page.get_by_text("Pick a chat")).to_be_visible()
    for row in rows:
        expect(row).to_contain_text("Marked as unread")
        expect(row.page).to_have_title("(1) Rookery")
    rows[0].press("ContextMenu")
    expect(at_ada.page.get_by_role("menuitem", name="Mark as read")).to_be_focused()
    at_ada.page.keyboard.press("Escape")
    expect(rows[0]).to_be_focused()

    hold(phone, "Mira Okafor")
    expect(phone.page.get_by_role("menuitem", name="Mark as read")).to_be_visible()
    phone.page.touchscreen.tap(10, 500)
    expect(phone.page.get_by_role("menu")).to_have_count(0)
    rows[1].tap()
    phone.page.get_by_role("button", name="Back to chats").tap()
    for row in rows:
        expect(row).not_to_contain_text("Marked as unread")


@pytest.mark.slow
def test_a_chat_is_muted_pinned_and_archived_on_all_devices_until_a_message_brings_it_back(
    platform: Platform, seats: Seats, at_ada: Seat, ada: Account, mira: Account
) -> None:
    kofi = platform.register("Kofi Mensah")
    platform.send(kofi, ada.chat_with(kofi), "Later")
    phone = seats(platform, ada, size="phone")
    at_ada.page.keyboard.press("Escape")
    rows = at_ada.page.locator("button.row")
    expect(rows.nth(0)).to_contain_text("Kofi Mensah")
    choose_for(at_ada, "Mira Okafor", "Pin to the top")
    choose_for(at_ada, "Mira Okafor", "Notifications")
    at_ada.page.get_by_label("Nothing").check()
    at_ada.page.get_by_label("For 8 hours").check()
    at_ada.page.get_by_role("dialog").get_by_role("button", name="Save").click()
    for seat in (at_ada, phone):
        expect(seat.page.locator("button.row").nth(0)).to_contain_text(re.compile("Mira.*Pinned to the top.*Muted"))
    choose_for(at_ada, "Mira Okafor", "Archive")
    expect(rows).to_have_count(1)
    expect(at_ada.page.get_by_role("button", name="Archived chats")).to_be_focused()
    platform.send(mira, ada.chat_with(mira), "Muted, so it stays")
    at_ada.page.get_by_role("button", name="Archived chats").click()
    expect(at_ada.row("Mira Okafor")).to_contain_text("so it stays")
    expect(at_ada.page).to_have_title("(1) Rookery")
    choose_for(at_ada, "Mira Okafor", "Notifications")
    at_ada.page.get_by_label("All messages").check()
    at_ada.page.get_by_role("dialog").get_by_role("button", name="Save").click()
    for seat in (at_ada, phone):
        expect(seat.page.locator("button.row")).to_have_count(2)
        expect(seat.page.get_by_role("button", name="Archived chats")).to_have_count(0)


def choose_for(seat: Seat, display_name: str, choice: str) -> None:
    """Choose from the menu of a chat in the list."""
    seat.row(display_name).click(button="right")
    seat.page.get_by_role("menuitem", name=choice, exact=True).click()


def hold(seat: Seat, display_name: str) -> None:
    """Press a row of the list of chats for a second with a finger."""
    box = seat.row(display_name).bounding_box()
    assert box is not None
    points = [{"x": box["x"] + 40, "y": box["y"] + 20}]
    touch = seat.context.new_cdp_session(seat.page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points})
    seat.page.wait_for_timeout(1_000)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
