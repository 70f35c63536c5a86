"""Settings and notifications: the choices of a browser, the sign-ins of an account, and its notifications."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Account, Platform, Seats
from tests.browser.test_accessibility import expect_accessible, expect_no_sideways_scroll
from tools.launch.people import PASSWORD


def test_settings_apply_at_once_in_every_tab_and_stay(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    seat = seats(platform, ada, size="phone", color_scheme="light")
    seat.choose("Settings")
    expect(seat.page.get_by_text("This browser", exact=True)).to_be_visible()
    expect_accessible(seat.page)
    seat.page.get_by_role("radio", name="System").first.focus()
    seat.page.keyboard.press("ArrowLeft")  # to the last choice, dark
    for name in ("Largest", "12 hours"):
        seat.page.get_by_role("radio", name=name).check()
    seat.page.set_viewport_size({"width": 320, "height": 640})
    expect_no_sideways_scroll(seat.page)
    tabs = (seat.page, seat.tab())
    for tab in tabs:
        expect(tab.locator("body")).to_have_css("background-color", "rgb(18, 21, 23)")
        expect(tab.locator('meta[name="theme-color"]').nth(1)).to_have_attribute("media", "all")
        expect(tab.locator("body")).to_have_css("font-size", "20.625px")
        expect(tab.get_by_role("navigation", include_hidden=True).locator("time")).to_have_text(re.compile("[ap]m$"))
    seat.page.get_by_role("radio", name="Light").check()
    for tab in tabs:
        expect(tab.locator("body")).to_have_css("background-color", "rgb(251, 250, 247)")
    seat.page.get_by_label("Language").select_option("العربية")
    for tab in tabs:
        expect(tab.locator("html[lang=ar][dir=rtl]").get_by_label("البحث عن أشخاص ودردشات")).to_be_visible()
    expect_no_sideways_scroll(seat.page)
    seat.page.get_by_role("navigation").get_by_role("button", name="Mira Okafor").click()
    expect(seat.page.get_by_role("textbox", name="رسالة إلى")).to_be_visible()
    expect_no_sideways_scroll(seat.page)


@pytest.mark.slow
def test_other_sign_ins_are_ended_and_the_account_is_deleted_with_its_password(
    platform: Platform, seats: Seats, ada: Account
) -> None:
    here, there = [seats(platform, ada, by_form=True, allowed=[status]) for status in ("403", "401")]
    here.choose("Settings")
    rows = here.page.get_by_role("dialog").get_by_role("listitem").filter(has_text="Chrome on Linux")
    rows.filter(has_text="Last seen").get_by_role("button").click()
    expect(there.page.get_by_text("You have been signed out")).to_be_visible()
    expect(rows).to_contain_text(["This browser"])
    here.page.get_by_role("button", name="Delete account").click()
    for password in ("not the password", PASSWORD):
        here.page.get_by_label("Your password").fill(password)
        here.page.get_by_role("button", name="Delete my account").click()
        expect(here.page.get_by_text(re.compile("password is wrong|Your account is deleted"))).to_be_visible()
    expect(here.page.get_by_role("heading", name="Welcome to Rookery")).to_be_visible()


@pytest.mark.slow
def test_no_name_and_no_number_of_the_chats_is_left_on_the_page_after_a_sign_out(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    tomasz = platform.register("Tomasz Zieliński")
    for sender in (mira, tomasz):
        platform.send(sender, ada.chat_with(sender), "Hello")
    seat = seats(platform)
    seat.page.add_init_script(
        "navigator.setAppBadge = async (count) => (document.documentElement.dataset.badge = count)"
    )
    icon, badge = seat.page.locator("link[rel=icon]"), seat.page.locator("html")
    seat.page.goto(platform.url)
    expect(badge).to_have_attribute("data-badge", "0")  # an earlier page may have left one
    seat.enter(ada)
    seat.open_chat("Mira Okafor")
    expect(seat.page).to_have_title("(1) Mira Okafor · Rookery")
    expect(icon).to_have_attribute("href", re.compile("icon-unread"))
    expect(badge).to_have_attribute("data-badge", "1")
    seat.choose("Sign out")
    expect(seat.page).to_have_title("Rookery")
    expect(icon).to_have_attribute("href", re.compile(r"/icon\.svg$"))
    expect(badge).to_have_attribute("data-badge", "0")


@pytest.mark.slow
def test_a_message_is_notified_of_in_one_tab_unless_it_is_on_the_screen(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform)
    seat.context.add_init_script(path=Path(__file__).with_name("banners.js"))
    seat.begin_chat(ada, mira)
    expect(seat.page.get_by_text("Get a notification")).to_be_hidden()
    seat.write("Are you there?")
    expect(seat.page.get_by_text("Get a notification")).to_be_visible()
    expect_accessible(seat.page)
    seat.page.get_by_role("button", name="Turn on").click()
    expect(seat.page.get_by_text("Get a notification")).to_be_hidden()
    other = seat.tab()
    expect(other.get_by_role("navigation").get_by_role("button", name="Mira Okafor")).to_be_visible()
    expect(other.locator("html")).to_have_attribute("data-screen", ada.chat_with(mira))
    platform.send(mira, ada.chat_with(mira), "On the screen")
    there = other.get_by_role("navigation").get_by_role("button", name="Mira Okafor")
    expect(there).to_contain_text("On the screen")
    expect(there).not_to_contain_text("unread")  # the other tab has the read mark
    seat.page.keyboard.press("Escape")
    expect(other.locator("html")).to_have_attribute("data-screen", "")
    platform.send(mira, ada.chat_with(mira), "Out of view")
    banner = "Mira Okafor: Out of view"
    expect(other.locator("html")).to_have_attribute("data-banners", banner)
    expect(other.locator("html")).to_have_attribute("data-tones", "2")
    sounds = [tab.evaluate("[document.documentElement.dataset.banners, tones]") for tab in (seat.page, other)]
    assert sounds == [[None, 0], [banner, 2]]
    expect(seat.page).to_have_title("(1) Rookery")
    expect(seat.page.locator("link[rel=icon]")).to_have_attribute("href", re.compile("icon-unread"))
    other.evaluate(f"press('{banner}')")
    expect(other.locator("html")).to_have_attribute("data-banners", "")
    expect(seat.page).to_have_title("Rookery")
