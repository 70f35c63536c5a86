"""Relationships between users on the page: connections, blocks, reports, and the limit on new chats."""

import json

from playwright.sync_api import expect

from tests.browser.conftest import Account, Platform, Seats
from tests.browser.test_accessibility import expect_accessible


def test_two_users_connect_and_one_blocks_and_reports_the_other(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Anybody there?", "Hello")
    own, other = seats(platform, ada, chat="Mira Okafor"), seats(platform, mira, chat="Ada Lindqvist")
    page = own.page
    other.until_live()
    page.get_by_title("Profile").click()
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_text("You have invited Mira Okafor to connect.")).to_be_visible()
    other.page.get_by_role("button", name="Show", exact=True).click()  # the notice is shown for five seconds
    expect(other.page.get_by_role("dialog").get_by_text("Ada Lindqvist wants to connect with you.")).to_be_visible()
    expect_accessible(page, "light", "dark")
    other.page.keyboard.press("Escape")
    expect_accessible(other.page)
    other.page.get_by_role("button", name="Accept").click()
    expect(page.get_by_text("You and Mira Okafor are connected.")).to_be_visible()

    page.get_by_role("button", name="Block").click()
    page.get_by_role("dialog", name="Block this person?").get_by_role("button", name="Block").click()
    expect(page.get_by_role("dialog").get_by_text("You have blocked Mira Okafor.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(own.composer).to_have_count(0)
    own.choose("Settings")
    page.get_by_role("button", name="Connections and blocked people").click()
    expect(page.get_by_role("button", name="Unblock: Mira Okafor")).to_be_visible()
    expect_accessible(page, "light", "320 pixels", "right to left")
    page.keyboard.press("Escape")
    other.write("Why?")
    expect(other.message("Why?")).to_contain_text("This person accepts no messages")
    own.message("Hello").hover()
    own.message("Hello").get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Report").click()
    expect(page.get_by_role("dialog").get_by_text("Hello")).to_be_visible()
    page.get_by_label("What is wrong?").fill("Rude")
    with page.expect_request("**/v1/reports") as sent:
        page.get_by_role("button", name="Send report").click()
    assert len(json.loads(sent.value.post_data or "")["message_ids"]) == 2, "with the message before"
    expect(page.get_by_text("Your report is sent.")).to_be_visible()
    page.get_by_role("button", name="Unblock").click()
    expect(own.composer).to_be_visible()

    own.choose("Settings")
    with page.expect_response(lambda response: response.request.method == "PATCH"):
        page.get_by_label("My connections").check()
    page.reload()
    own.choose("Settings")
    expect(page.get_by_label("My connections")).to_be_checked()
