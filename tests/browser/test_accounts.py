"""Invites, password resets and deleted accounts in a real browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import STORED, Account, Platform, Seat, Seats
from tests.browser.test_accessibility import expect_accessible, expect_no_sideways_scroll
from tests.browser.test_admin import expect_in_audit, go, make_admin, open_admin, pick
from tools.launch.people import PASSWORD

REFUSED = (r"status of 40[13] ",)
"""A refused request is logged by the browser."""

HAS_COPIES = "all.some(({messages}) => messages?.length)"
"""Whether `STORED` has copies of chats."""


def made_link(page: Page, title: str) -> str:
    """Read the link in the dialog that shows it, and close the dialog."""
    dialog = page.get_by_role("dialog", name=title)
    link = dialog.get_by_label("Link")
    expect(link).to_have_value(re.compile(r"^http.*/#(invite|reset)=[0-9a-f]+\.[\w-]{43}(\.\d+)?$"))
    address = link.input_value()
    expect_accessible(page)
    dialog.get_by_role("button", name="Close").click()
    return address


@pytest.mark.slow
def test_with_an_invite_an_account_is_created_and_without_one_it_is_refused(
    own_platform: Platform, seats: Seats
) -> None:
    person = make_admin(own_platform)
    assert own_platform.run("config", "set", "sign_up", "invite").returncode == 0
    admin = open_admin(seats(own_platform), person, "Invites").page
    admin.get_by_role("button", name="Create an invite").click()
    admin.get_by_label("Accounts").fill("0")
    admin.get_by_role("button", name="Create invite").click()
    expect(admin.get_by_text("Enter a whole number from 1 to 10,000.")).to_be_visible()
    admin.get_by_label("Accounts").fill("1")
    admin.get_by_role("button", name="Create invite").click()
    link = made_link(admin, "Invite")
    expect(admin.get_by_role("cell", name="0 of 1")).to_be_visible()

    newcomer = seats(own_platform, allowed=REFUSED)
    newcomer.page.goto(own_platform.url)
    newcomer.page.get_by_role("button", name="Create an account").click()
    fill_in(newcomer, "uma")
    expect(newcomer.page.get_by_role("alert")).to_contain_text("You need a valid invite")
    newcomer.page.goto(link)
    expect(newcomer.page.get_by_role("heading", name="Create an account")).to_be_visible()
    fill_in(newcomer, "uma")
    expect(newcomer.page.get_by_role("heading", name="Rookery", exact=True)).to_be_visible()
    assert newcomer.page.url == f"{own_platform.url}/"
    expect(admin.get_by_role("cell", name="1 of 1")).to_be_visible()
    admin.get_by_role("button", name="Revoke").click()
    expect(admin.get_by_role("heading", name="No invites")).to_be_visible()
    expect_no_sideways_scroll(admin)


def fill_in(seat: Seat, name: str) -> None:
    seat.page.get_by_label("User name").fill(name)
    seat.page.get_by_label("Password", exact=True).fill(PASSWORD)
    seat.page.get_by_role("button", name="Create account").click()


@pytest.mark.slow
def test_a_user_whom_an_admin_creates_sets_the_password_with_a_link_also_where_another_user_is_signed_in(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    admin = open_admin(seats(platform), make_admin(platform), "Users").page
    admin.get_by_role("button", name="Create a user").click()
    admin.get_by_label("User name").fill("victor.v")
    admin.get_by_label("Name", exact=True).fill("Victor Vance")
    admin.get_by_role("button", name="Create user").click()
    link = made_link(admin, "User created")
    expect(admin.get_by_role("heading", name="Victor Vance")).to_be_visible()
    admin.get_by_role("button", name="Reset password").click()
    admin.get_by_role("button", name="Make the link").click()
    newer = made_link(admin, "Password reset")

    victor = seats(platform, allowed=(r"status of 404 ",))
    victor.begin_chat(ada, mira)
    victor.write("of Ada")
    victor.wait_until(f"{STORED}.then((all) => {HAS_COPIES})")
    victor.page.goto(link)
    victor.page.get_by_label("Password", exact=True).fill("short")
    victor.page.get_by_role("button", name="Set password").click()
    expect(victor.page.get_by_text("At least 10 characters")).to_be_visible()
    victor.page.get_by_label("Password", exact=True).fill(PASSWORD)
    victor.page.get_by_role("button", name="Set password").click()
    expect(victor.page.get_by_role("alert")).to_contain_text("expired, or was used or replaced")
    victor.page.goto(newer)
    victor.page.get_by_label("Password", exact=True).fill(PASSWORD)
    victor.page.get_by_role("button", name="Set password").click()
    victor.until_signed_in()
    victor.wait_until(f"{STORED}.then((all) => !{HAS_COPIES})")
    victor.choose("Sign out")
    victor.enter(Account("victor.v", 0, "", "", "Victor Vance"))
    expect(victor.page.get_by_role("heading", name="Rookery", exact=True)).to_be_visible()


@pytest.mark.slow
def test_a_deleted_account_stays_in_the_chats_of_others_but_can_not_be_written_to(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    here, there = seats(platform, allowed=["ERR_INTERNET_DISCONNECTED"]), seats(platform, mira, allowed=REFUSED)
    here.begin_chat(ada, mira)
    here.write("until then")
    there.open_chat("Ada Lindqvist")
    admin = open_admin(seats(platform), make_admin(platform), "Users").page
    pick(admin, mira)
    admin.get_by_role("button", name="Delete…").click()
    confirm = admin.get_by_role("button", name="Delete Mira Okafor")
    confirm.click()
    expect(admin.get_by_text("This is not the user name.")).to_be_visible()
    admin.get_by_label(f"Type {mira.name} to confirm").fill(mira.name)
    here.context.set_offline(True)
    here.write("too late")
    confirm.click()
    expect(admin.get_by_text("Mira Okafor is deleted.")).to_be_visible()
    expect_in_audit(admin, "Delete user", mira.name)
    go(admin, "Users")

    expect(there.page.get_by_text("You have been signed out")).to_be_visible()
    here.context.set_offline(False)
    expect(here.page.get_by_text("This account was deleted. The messages stay here.")).to_be_visible()
    expect(here.composer).to_be_hidden()
    expect(here.message("too late")).to_contain_text("it receives no messages")
    expect(here.message("until then")).to_be_visible()
    expect(here.row("Deleted account")).to_be_visible()
    here.page.reload()
    expect(here.message("until then")).to_be_visible()
    expect(here.page.get_by_text("This account was deleted. The messages stay here.")).to_be_visible()
