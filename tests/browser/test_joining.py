"""Joining groups at the page: by an invite link, and by asking to join a public group."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Account, Platform, Seats
from tests.browser.test_accessibility import expect_accessible
from tests.browser.test_groups import choose_for, open_panel


@pytest.mark.slow
def test_users_join_by_an_invite_link_or_ask_to_join_a_public_group(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    own, grace = seats(platform, ada), platform.register("Grace Abara")
    page, keys = own.page, own.page.keyboard
    own.begin_group("Nests")
    page.get_by_role("button", name="Create group").click()
    expect(own.composer).to_be_focused()
    open_panel(page).get_by_role("button", name="Invite links").click()
    page.get_by_label("It can be used").select_option("1")
    page.get_by_role("button", name="Create link").click()
    expect(page.get_by_text("Used: 0 of 1")).to_be_visible()
    link = page.get_by_label("New link").input_value()
    keys.press("Escape")

    other = seats(platform)
    other.page.goto(link)
    expect(other.page.get_by_text("You are invited to a group.")).to_be_visible()
    other.enter(mira)
    expect(other.page.get_by_role("dialog").get_by_text("Nests")).to_be_visible()
    expect_accessible(other.page, "light", "a phone")
    other.page.get_by_role("button", name="Join", exact=True).click()
    expect(other.composer).to_be_focused()
    expect(own.message("Mira Okafor joined by an invite link")).to_be_visible()
    choose_for(page, mira, "Permissions")
    page.get_by_label("Write messages").select_option("No")
    page.get_by_role("button", name="Save").click()
    expect(other.page.get_by_text("You may not send messages in this group.")).to_be_visible()

    page.get_by_role("button", name="Edit group").click()
    page.get_by_label("Everyone with an account can find").check()
    page.get_by_label("New members need the approval").check()
    page.get_by_role("button", name="Save").click()
    expect(own.message("You turned approval of new members on")).to_be_visible()
    third = seats(platform, allowed=["404"])  # the link is used up
    third.page.goto(link)
    third.enter(grace)
    expect(third.page.get_by_text("It has ended, or it is not complete.")).to_be_visible()
    third.page.keyboard.press("Escape")
    third.choose("Find groups")
    third.page.get_by_label("Search public groups").fill("nes")
    third.page.get_by_role("button", name="Ask to join Nests").click()
    expect(third.page.get_by_role("button", name="Take back the request to join Nests")).to_be_visible()
    expect_accessible(third.page, "light", "320 pixels")
    page.get_by_role("button", name="Requests to join 1").click()
    expect(page.get_by_role("button", name="Decline Grace Abara")).to_be_visible()
    expect_accessible(page, "light", "320 pixels", "dark")
    page.get_by_role("button", name="Accept Grace Abara").click()
    expect(page.get_by_text("Grace Abara is a member now.")).to_be_visible()
    expect(page.get_by_text("No requests")).to_be_visible()
    expect(third.row("Nests")).to_contain_text("Ada Lindqvist added you")

    other.page.goto(link)  # in the open page
    other.page.get_by_role("dialog").get_by_role("button", name="Open", exact=True).click()
    expect(other.page.get_by_role("dialog")).to_have_count(0)
    expect(other.page.get_by_text("You may not send messages in this group.")).to_be_visible()
