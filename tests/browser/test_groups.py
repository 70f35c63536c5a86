"""Groups at the page: two users create, use, change, hand over and leave one."""

import json
import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import SCREENS_UP, Account, Platform, Seats


def open_panel(page: Page) -> Locator:
    page.get_by_title("Group info").click()
    return page.get_by_role("dialog", name="Group", exact=True)


def choose_for(page: Page, member: Account, choice: str) -> None:
    """Choose an action of a member's menu in the panel."""
    page.get_by_role("dialog").get_by_role("button", name=member.display_name).click()
    page.get_by_role("menuitem", name=choice).click()


def test_two_users_create_change_hand_over_and_leave_a_group(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    own, other = seats(platform, ada, allowed=["net::ERR_FAILED"]), seats(platform, mira)
    page, mirror = own.page, other.page
    other.until_live()
    sent: list[str] = []

    def lose_first(route: Route) -> None:
        """The server creates the group, and its first response is lost."""
        sent.append(json.loads(route.request.post_data or "")["client_change_id"])
        if len(sent) > 1:
            return route.continue_()
        route.fetch()
        route.abort()

    page.route(lambda url: url.endswith("/v1/chats"), lose_first)
    own.begin_group("Team", mira)
    page.get_by_role("button", name="Create group").click()
    expect(page.get_by_text("The server does not respond.")).to_be_visible()
    expect(page.get_by_label("Name of the group")).to_have_value("Team")
    page.get_by_role("button", name="Create group").click()
    expect(own.composer).to_be_focused()
    assert len(set(sent)) == 1
    expect(page.get_by_role("group", name="Messages")).to_contain_text("You created the group “Team”")
    expect(own.row("Team")).to_have_count(1)

    other.open_chat("Team")
    own.write("Welcome")
    expect(other.message("Welcome")).to_be_visible()
    message = own.message("Welcome")
    message.hover()
    message.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Seen by").click()
    expect(page.get_by_role("dialog").get_by_text("Mira Okafor")).to_be_visible()
    page.keyboard.press("Escape")

    for each, name in ((page, "Ours"), (mirror, "Theirs")):
        open_panel(each).get_by_role("button", name="Edit group").click()
        each.get_by_label("Name of the group").fill(name)
    mirror.get_by_role("button", name="Save").click()
    expect(page.get_by_text("It is “Theirs” now.")).to_be_visible()
    expect(page.get_by_label("Name of the group")).to_have_value("Ours")
    page.get_by_role("button", name="Save").click()
    expect(mirror.get_by_role("dialog").get_by_text("Ours")).to_be_visible()

    page.get_by_role("button", name="Leave group").click()
    expect(page.get_by_role("dialog", name="You own this group")).to_be_visible()
    page.keyboard.press("Escape")
    choose_for(page, mira, "Hand over the group")
    page.get_by_role("button", name="Hand over", exact=True).click()
    expect(mirror.get_by_role("dialog").get_by_role("button", name="Mira Okafor")).to_contain_text("Owner")
    page.get_by_role("button", name="Leave group").click()
    page.get_by_role("button", name="Leave", exact=True).click()
    expect(own.composer).to_have_count(0)
    expect(page.get_by_title("Group info")).to_be_focused()
    expect(mirror.get_by_role("dialog").get_by_text("1 member", exact=True)).to_be_visible()
    expect(mirror.get_by_role("dialog").get_by_role("button", name="Ada Lindqvist")).to_have_count(0)


@pytest.mark.slow
def test_a_group_shows_who_wrote_and_what_changed_until_one_is_removed(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    other = seats(platform, mira)
    other.until_live()
    early = re.compile(r"/v1/chats/g-\d+")
    other.page.route(early, lambda route: route.fulfill(status=404, json={}), times=2)  # the archive lags
    chat_id = platform.change_group(ada, "POST", "", name="Nests", user_ids=[], shows_history=True)
    platform.send(ada, chat_id, "Hello", "Again")
    platform.change_group(ada, "POST", f"/{chat_id}/members", user_ids=[str(mira.user_id)])
    expect(other.row("Nests")).to_contain_text("Ada Lindqvist added you")
    other.open_chat("Nests")
    expect(other.message("Hello").get_by_role("button", name="Ada Lindqvist")).to_be_visible()
    expect(other.message("Again").get_by_role("button", name="Ada Lindqvist")).to_have_count(0)

    own = seats(platform, ada, chat="Nests", size="phone")
    own.until_live()
    own.composer.press_sequentially("@Mi")
    expect(other.page.get_by_title("Group info")).to_contain_text("Ada Lindqvist is typing")
    expect(own.page.get_by_role("option", name="Mira Okafor")).to_be_visible()
    own.page.keyboard.press("Enter")
    own.page.keyboard.press("Enter")
    expect(own.message("@Mira Okafor")).to_contain_text(re.compile("Sent|Delivered|Read"))
    expect(other.row("Nests")).to_contain_text("Ada Lindqvist:")

    other.composer.fill("A draft")
    platform.change_group(ada, "PATCH", f"/{chat_id}", name="Eggs", permissions="2")
    expect(other.page.get_by_text("You may not send messages in this group.")).to_be_visible()
    expect(other.message("Ada Lindqvist changed the name to “Eggs”")).to_be_visible()
    other.message("@Mira Okafor").hover()
    expect(other.page.get_by_role("button", name="React")).to_be_visible()
    platform.change_group(ada, "DELETE", f"/{chat_id}/members/{mira.user_id}")
    expect(other.page.get_by_text("You are not a member of this group any more.")).to_be_visible()
    expect(other.page.get_by_role("button", name="React")).to_have_count(0)
    platform.send(ada, chat_id, "Secret")
    other.page.reload()
    expect(other.message("Ada Lindqvist removed you")).to_be_visible()
    expect(other.message("Secret")).to_have_count(0)
    expect(other.row("Eggs")).to_be_visible()


@pytest.mark.slow
def test_a_control_change_is_no_new_message_for_a_reader_who_has_scrolled_up(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    chat_id = platform.change_group(ada, "POST", "", name="Scrolled", user_ids=[str(mira.user_id)])
    reading = seats(platform, mira, chat="Scrolled")
    reading.until_live()
    platform.send(ada, chat_id, *(f"Line {number}" for number in range(40)))
    expect(reading.message("Line 39")).to_be_in_viewport()
    reading.page.evaluate(SCREENS_UP, 1)
    platform.change_group(ada, "PATCH", f"/{chat_id}", name="Eggs again")
    expect(reading.row("Eggs again")).to_be_visible()
    expect(reading.page.get_by_role("button", name="new message")).to_have_count(0)
    platform.send(ada, chat_id, "A message")
    expect(reading.page.get_by_role("button", name="1 new message")).to_be_visible()


@pytest.mark.slow
def test_a_group_shows_the_new_name_of_an_author_without_a_direct_chat(
    platform: Platform, seats: Seats, ada: Account
) -> None:
    kofi = platform.register("Kofi Mensah")
    chat_id = platform.change_group(ada, "POST", "", name="Renamed", user_ids=[str(kofi.user_id)])
    platform.send(kofi, chat_id, "Hello")
    own, other = seats(platform, ada, chat="Renamed"), seats(platform, kofi)
    author = own.message("Hello").locator(".author")
    expect(author).to_have_text("Kofi Mensah")
    other.choose("Your profile")
    other.page.get_by_label("Your name").fill("Kofi M.")
    other.page.get_by_role("button", name="Save").click()
    expect(author).to_have_text("Kofi M.")


@pytest.mark.slow
def test_two_users_create_and_use_a_channel(platform: Platform, seats: Seats, ada: Account) -> None:
    quilla = platform.register("Quilla Oduya")  # a search of people finds 20: no other test has this name
    own, other = seats(platform, ada), seats(platform, quilla)
    other.until_live()
    own.begin_group("News", quilla)
    own.page.get_by_label("Make it a channel").check()
    own.page.get_by_role("button", name="Create group").click()
    expect(own.message("You created the channel “News”")).to_be_visible()
    expect(other.row("News")).to_contain_text("Ada Lindqvist created the channel")
    own.write("First")
    expect(other.row("News")).to_contain_text("2 unread")
    own.composer.press_sequentially("@qui")
    own.page.get_by_role("option", name="Quilla Oduya").click()
    own.composer.press("Enter")
    expect(other.row("News")).to_contain_text("@Quilla Oduya")

    other.open_chat("News")
    expect(other.message("First")).to_be_visible()
    own.write("Live")
    expect(other.message("Live")).to_be_visible()
    other.message("Live").hover()
    other.message("Live").get_by_role("button", name="More").click()
    expect(other.page.get_by_role("menuitem", name="Seen by")).to_have_count(0)
    other.page.keyboard.press("Escape")
    panel = open_panel(other.page)
    expect(panel.get_by_text("Channel with 2 members")).to_be_visible()
    other.page.get_by_label("Search members").fill(ada.name)
    expect(panel.get_by_text("1 member found")).to_be_visible()
    expect(panel.get_by_role("button", name="Ada Lindqvist")).to_contain_text("Owner")
