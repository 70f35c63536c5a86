"""The list of chats: filters, mentions, who is online, and marking all as read."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Account, Platform, Seats
from tests.browser.test_accessibility import expect_accessible, expect_no_sideways_scroll


@pytest.mark.slow
def test_a_mention_of_everyone_is_filtered_and_all_chats_are_marked_as_read(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.change_group(ada, "POST", "", name="Nests", user_ids=[str(mira.user_id)])
    platform.send(ada, ada.chat_with(mira), "Hello")
    own, other = seats(platform, ada, chat="Nests"), seats(platform, mira, color_scheme="dark")
    other.until_live()
    own.composer.press_sequentially("@ev")
    expect(own.page.get_by_role("option", name="everyone")).to_be_visible()
    own.page.keyboard.press("Enter")
    own.page.keyboard.press("Enter")
    expect(own.message("@everyone")).to_contain_text(re.compile("Sent|Delivered"))

    rows, filters = other.page.locator("rookery-chat-row"), other.page.get_by_role("group", name="Chats to show")
    expect(other.row("Nests")).to_contain_text("1 mention")
    expect_accessible(other.page)
    for name, count in (("Groups", 1), ("Unread", 2), ("Mentions", 1)):
        filters.get_by_role("button", name=name).click()
        expect(rows).to_have_count(count)
    other.open_chat("Nests")
    expect(other.message("@everyone")).to_be_visible()
    expect(other.row("Nests")).not_to_contain_text("1 mention")
    expect(rows).to_have_count(1)  # the open chat stays
    other.page.keyboard.press("Escape")
    expect(other.page.get_by_text("No unread mentions")).to_be_visible()
    expect_accessible(other.page)
    filters.get_by_role("button", name="Unread").click()
    other.choose("Mark all as read")
    expect_accessible(other.page)
    other.page.get_by_role("dialog").get_by_role("button", name="Mark all as read").click()
    expect(other.page.get_by_text("No unread chats")).to_be_visible()
    expect(other.page).to_have_title("Rookery")
    other.page.set_viewport_size({"width": 320, "height": 640})
    expect_no_sideways_scroll(other.page)


def test_users_see_that_another_is_online_unless_one_of_them_hides_it(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(ada, ada.chat_with(mira), "Hello")
    own, other = seats(platform, ada, chat="Mira Okafor"), seats(platform, mira)
    head = own.page.get_by_title("Profile")
    expect(head).to_contain_text("online")
    expect(own.row("Mira Okafor")).to_contain_text("online")
    expect_accessible(own.page)
    other.choose("Settings")
    other.page.get_by_label("Show others when I am online").uncheck()
    expect(head).to_contain_text(f"@{mira.name}")
    expect(own.row("Mira Okafor")).not_to_contain_text("online")


@pytest.mark.slow
def test_keys_of_an_input_method_are_left_to_it(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    platform.send(ada, ada.chat_with(mira), "Hello")
    own = seats(platform, ada, chat="Mira Okafor")

    def compose(field: Locator) -> None:
        for key in ("ArrowDown", "Enter", "Escape"):
            for sign in ({"isComposing": True}, {"keyCode": 229}):  # the second one only, in Safari
                field.dispatch_event("keydown", {"key": key, "bubbles": True, "cancelable": True, **sign})

    own.composer.fill("Merle")
    compose(own.composer)
    search = own.page.get_by_label("Search people and chats")
    search.fill(mira.name)
    expect(own.row("Mira Okafor")).to_be_visible()
    compose(search)
    expect(search).to_be_focused()
    expect(search).to_have_value(mira.name)
    search.press("Escape")
    expect(search).to_have_value("")
    expect(own.composer).to_have_value("Merle")
    search.press("Escape")
    expect(own.composer).to_have_count(0)
