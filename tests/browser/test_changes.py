"""Replies, edits and deletions in two browsers."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Account, Platform, Seat, Seats
from tests.browser.test_connection import refuse_once


def choose(seat: Seat, text: str, action: str) -> None:
    """Choose from the menu of a message; another one may quote it."""
    seat.message(text).first.hover()
    seat.message(text).first.get_by_role("button", name="More", exact=True).click()
    seat.page.get_by_role("menuitem", name=action).click()


def editor(seat: Seat) -> Locator:
    return seat.page.get_by_role("textbox", name="Text of the edited message")


@pytest.fixture
def at_ada(platform: Platform, seats: Seats, ada: Account, mira: Account) -> Seat:
    """Ada's browser in the chat with Mira, whose newest message is Ada's."""
    platform.send(mira, ada.chat_with(mira), "Lunch?")
    platform.send(ada, ada.chat_with(mira), "At noon")
    seat = seats(platform, ada, chat="Mira Okafor")
    expect(seat.messages).to_have_count(2)
    return seat


def test_edits_and_deletions_are_seen_by_both_in_the_chat_in_quotes_and_in_the_list(
    platform: Platform, seats: Seats, at_ada: Seat, mira: Account
) -> None:
    at_mira = seats(platform, mira, chat="Ada Lindqvist")
    choose(at_mira, "At noon", "Reply")
    expect(at_mira.page.get_by_text("Reply to Ada Lindqvist")).to_be_visible()
    at_mira.write("Which noon?")
    quote = at_ada.message("Which noon?").get_by_role("button", name="In reply to your message: At noon")
    expect(quote).to_be_visible()

    choose(at_ada, "At noon", "Edit")
    expect(editor(at_ada)).to_be_focused()
    editor(at_ada).fill("At one")
    editor(at_ada).press("Enter")
    for seat in (at_ada, at_mira):
        expect(seat.message("At one").first).to_contain_text("edited")
        expect(seat.message("Which noon?").locator(".quote")).to_contain_text("At one")
    expect(at_mira.message("At one").first.locator(".edited")).to_have_attribute("title", re.compile("^Edited: .*202"))

    choose(at_mira, "Which noon?", "Delete")
    dialog = at_mira.page.get_by_role("dialog", name="Delete this message?")
    expect(dialog).to_contain_text("For everyone in this chat, it is deleted with its reactions")
    dialog.get_by_role("button", name="Cancel").click()
    expect(at_mira.message("Which noon?").first.get_by_role("button", name="More")).to_be_focused()
    choose(at_mira, "Which noon?", "Delete")
    dialog.get_by_role("button", name="Delete for everyone").click()
    for seat in (at_ada, at_mira):
        expect(seat.messages.last).to_contain_text("This message was deleted")
        expect(seat.messages.last.locator(".quote")).to_have_count(0)
    expect(at_ada.row("Mira Okafor")).to_contain_text("This message was deleted")
    at_ada.page.reload()
    expect(at_ada.messages.last).to_contain_text("This message was deleted")
    expect(at_ada.messages.nth(1)).to_contain_text("At one")


@pytest.mark.slow
def test_the_stub_of_a_deleted_message_is_deleted_for_oneself(
    platform: Platform, seats: Seats, at_ada: Seat, mira: Account
) -> None:
    at_mira = seats(platform, mira, chat="Ada Lindqvist")
    choose(at_ada, "At noon", "Delete")
    at_ada.page.get_by_role("button", name="Delete for everyone").click()
    expect(at_mira.messages.last).to_contain_text("This message was deleted")
    choose(at_mira, "This message was deleted", "Delete")
    expect(at_mira.page.get_by_role("button", name="Delete for everyone")).to_have_count(0)
    at_mira.page.get_by_role("button", name="Delete for me").click()
    expect(at_mira.messages).to_have_count(1)
    expect(at_mira.page.get_by_role("status").filter(has_text="The message is deleted for you")).to_be_visible()
    at_mira.page.reload()
    expect(at_mira.message("Lunch?")).to_be_visible()
    expect(at_mira.messages).to_have_count(1)
    expect(at_ada.messages.last).to_contain_text("This message was deleted")


@pytest.mark.slow
def test_a_message_is_not_offered_for_an_edit_after_the_time_limit(own_platform: Platform, seats: Seats) -> None:
    mira, ada = own_platform.register("Mira Okafor"), own_platform.register("Ada Lindqvist")
    own_platform.send(mira, ada.chat_with(mira), "Lunch?")
    own_platform.send(ada, ada.chat_with(mira), "At noon")
    assert own_platform.run("config", "set", "edit_seconds", "1").returncode == 0
    own_platform.kill()
    own_platform.start()  # a running one reads the value within a second
    seat = seats(own_platform, ada, chat="Mira Okafor")
    seat.until_live()
    seat.composer.press("ArrowUp")
    seat.message("At noon").hover()
    seat.message("At noon").get_by_role("button", name="More", exact=True).click()
    expect(seat.page.get_by_role("menuitem", name="Reply")).to_be_visible()
    expect(seat.page.get_by_role("menuitem", name="Edit", exact=True)).to_have_count(0)
    expect(seat.page.get_by_text("Editing a message")).to_have_count(0)


@pytest.mark.slow
def test_an_edit_by_keyboard_gives_the_draft_back_and_survives_a_reload(at_ada: Seat) -> None:
    at_ada.composer.press("ArrowUp")
    expect(at_ada.page.get_by_text("Editing a message")).to_be_visible()
    expect(editor(at_ada)).to_have_value("At noon")
    editor(at_ada).press("Escape")
    at_ada.composer.press_sequentially("Half a thou")
    at_ada.composer.press("ArrowUp")
    choose(at_ada, "At noon", "Edit")
    editor(at_ada).press_sequentially(" sharp")
    at_ada.page.reload()
    expect(editor(at_ada)).to_have_value("At noon sharp")
    at_ada.page.get_by_role("button", name="Cancel editing").click()
    expect(at_ada.composer).to_have_value("Half a thou")
    expect(at_ada.message("At noon")).not_to_contain_text("edited")


@pytest.mark.slow
def test_a_refused_edit_is_undone_with_its_reason_and_the_text_can_be_edited_further(at_ada: Seat) -> None:
    refuse_once(at_ada.page, {"At one"}, {"code": "forbidden", "message": "Too late."})
    at_ada.page.reload()
    at_ada.until_live()
    at_ada.composer.press("ArrowUp")
    editor(at_ada).fill("At one")
    editor(at_ada).press("Enter")
    expect(at_ada.page.get_by_text("Your edit was not saved. You are not allowed to do this.")).to_be_visible()
    expect(at_ada.messages.last).to_contain_text("At noon")
    expect(editor(at_ada)).to_have_value("At one")


@pytest.mark.slow
def test_a_quote_leads_to_its_message_which_is_loaded_if_needed(
    platform: Platform, seats: Seats, at_ada: Seat, ada: Account, mira: Account
) -> None:
    choose(at_ada, "Lunch?", "Reply")
    at_ada.composer.press("Escape")
    expect(at_ada.page.get_by_text("Reply to Mira Okafor")).to_have_count(0)
    choose(at_ada, "Lunch?", "Reply")
    texts = [f"Message {number}" for number in range(120)]
    platform.send(mira, ada.chat_with(mira), *texts)
    at_ada.write("Yes, lunch")
    expect(at_ada.message("Yes, lunch")).to_contain_text("Sent")
    seat = seats(platform, mira, chat="Ada Lindqvist")
    seat.page.get_by_role("button", name="Go to the newest message").click()
    quote = seat.message("Yes, lunch").locator(".quote")
    expect(quote).to_contain_text("Lunch?")
    quote.click()
    expect(seat.messages.first).to_be_focused()
    expect(seat.messages.first).to_contain_text("Lunch?")


def test_a_completed_mention_is_shown_by_name_and_forwarded_with_its_message_in_its_new_text(
    platform: Platform, seats: Seats, at_ada: Seat, ada: Account, mira: Account
) -> None:
    at_mira = seats(platform, mira, chat="Ada Lindqvist")
    at_ada.composer.press_sequentially("@Ok")
    expect(at_ada.page.get_by_role("option")).to_have_text("MOMira Okafor@" + mira.name)
    at_ada.composer.press("Enter")
    at_ada.composer.press_sequentially("and `@code`")
    at_ada.composer.press("Enter")
    chip = at_mira.message("and").get_by_role("button", name="@Mira Okafor")
    expect(chip).to_have_class("mention own")
    expect(at_mira.message("and").locator(".mention")).to_have_count(1)
    expect(at_mira.row("Ada Lindqvist")).to_contain_text("@Mira Okafor")
    chip.click()
    expect(at_mira.page.get_by_role("dialog", name="Profile")).to_contain_text("Mira Okafor")
    at_mira.page.keyboard.press("Escape")

    jonas = platform.register("Jonas Weber")
    at_ada.composer.press("ArrowUp")
    editor(at_ada).fill("@Mira Okafor and all")
    editor(at_ada).press("Enter")
    expect(at_mira.message("and all").locator(".mention.own")).to_have_count(1)
    choose(at_ada, "and all", "Forward")
    dialog = at_ada.page.get_by_role("dialog", name="Forward a message")
    search = dialog.get_by_label("Search people and chats")
    search.press("ArrowDown")
    row = dialog.get_by_role("button", name="Mira Okafor @")
    row.press("Enter")
    dialog.get_by_role("button", name="Remove Mira Okafor").press("Enter")
    expect(search).to_be_focused()
    row.click()
    search.fill(jonas.name)
    expect(dialog.get_by_role("button", name="Jonas Weber")).to_be_visible()
    search.press("Enter")
    dialog.get_by_role("button", name="Forward").click()
    expect(at_ada.page.get_by_text("Forwarded to Mira Okafor and Jonas Weber.")).to_be_visible()
    expect(at_mira.messages.last).to_contain_text("Forwarded")
    expect(at_mira.messages.last.locator(".mention.own")).to_have_count(1)
    at_jonas = seats(platform, jonas, chat="Ada Lindqvist")
    expect(at_jonas.messages.last).to_contain_text("Forwarded@Mira Okafor and all")
    expect(at_jonas.messages.last.locator(".mention")).to_have_count(0)


@pytest.mark.slow
def test_a_message_deleted_for_oneself_is_gone_on_all_devices_and_can_be_shown_again_by_keyboard(
    platform: Platform, seats: Seats, at_ada: Seat, ada: Account, mira: Account
) -> None:
    elsewhere, at_mira = seats(platform, ada, chat="Mira Okafor"), seats(platform, mira, chat="Ada Lindqvist")
    choose(at_ada, "At noon", "Reply")
    at_ada.write("Sharp")
    choose(at_ada, "At noon", "Delete")
    dialog = at_ada.page.get_by_role("dialog", name="Delete this message?")
    dialog.get_by_role("button", name="Delete for me").press("Enter")
    for seat in (at_ada, elsewhere):
        expect(seat.messages).to_have_count(2)
        expect(seat.message("Sharp").locator(".quote")).to_contain_text("You deleted this message for yourself.")
    undo = at_ada.page.get_by_role("button", name="Undo")
    expect(undo).to_be_focused()
    undo.press("Enter")
    expect(at_ada.page.get_by_role("group", name="Messages")).to_be_focused()
    expect(elsewhere.messages).to_have_count(3)

    choose(at_ada, "Sharp", "Delete")
    dialog.get_by_role("button", name="Delete for me").click()
    expect(undo).to_be_visible()
    expect(undo).not_to_be_focused()
    at_ada.page.reload()
    for seat in (at_ada, elsewhere):
        expect(seat.messages).to_have_count(2)
        expect(seat.row("Mira Okafor")).to_contain_text("You: At noon")
    expect(at_mira.messages).to_have_count(3)

    choose(at_ada, "At noon", "Forward")
    at_ada.page.get_by_role("dialog").get_by_role("button", name="Mira Okafor").click()
    choose(elsewhere, "At noon", "Delete")
    elsewhere.page.get_by_role("button", name="Delete for everyone").click()
    expect(at_ada.page.get_by_role("alert").filter(has_text="This message was deleted meanwhile")).to_be_visible()
    expect(at_ada.page.get_by_role("dialog").get_by_role("button", name="Forward")).to_be_disabled()


@pytest.mark.slow
def test_the_edit_of_a_message_ends_when_the_message_is_deleted(at_ada: Seat) -> None:
    at_ada.composer.press_sequentially("Half a thou")
    choose(at_ada, "At noon", "Edit")
    editor(at_ada).press_sequentially(" sharp")
    choose(at_ada, "At noon", "Delete")
    at_ada.page.get_by_role("button", name="Delete for everyone").click()
    expect(at_ada.messages.last).to_contain_text("This message was deleted")
    expect(at_ada.page.get_by_text("Editing a message")).to_be_hidden()
    expect(at_ada.composer).to_have_value("Half a thou")
