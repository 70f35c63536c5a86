"""The admin page in a real browser: access, content, and each action."""

import json

import httpx
import pytest
import trio
from playwright.sync_api import Page, Route, expect

from rookery.client import open_client
from shared.contract.chats import direct_chat_id
from tests.browser.conftest import PATIENCE, STORED, Account, Platform, Seat, Seats
from tests.browser.test_accessibility import (
    CONDITIONS,
    SMALL_TARGETS,
    expect_accessible,
    expect_no_sideways_scroll,
)
from tests.browser.test_connection import LINE_IS_DOWN
from tests.browser.test_files import NOTE, picture
from tools.launch.people import PASSWORD

SECTIONS = ("Processes", "Configuration", "Users", "Invites", "Reports", "Audit")

POLL_FAST = """const { setTimeout: later } = window;
window.setTimeout = (work, ms) => later(work, ms === 5_000 ? 200 : ms);"""
"""Lets the admin page refresh every 0.2 s, not every 5 s. `unit/admin.test.js` tests the period on a mock clock."""

MOST_BYTES = 82_000
"""Transfer size of the admin page, with the sign-in, the catalogues of one language, and the modules that it shares
with the chat page."""


@pytest.fixture(scope="session")
def admin(platform: Platform) -> Account:
    """Made an admin by a command on the server."""
    return make_admin(platform)


def make_admin(platform: Platform) -> Account:
    account = platform.register("Nora Admin")
    done = platform.run("user", "admin", account.name)
    assert done.returncode == 0, done.stderr
    return account


@pytest.fixture
def at_admin(platform: Platform, seats: Seats, admin: Account) -> Seat:
    return open_admin(poll_fast(seats(platform)), admin)


def poll_fast(seat: Seat) -> Seat:
    seat.page.add_init_script(POLL_FAST)
    return seat


def open_admin(seat: Seat, account: Account, section: str = "Processes") -> Seat:
    """Sign in at the admin page, and open a section."""
    seat.page.goto(f"{seat.platform.url}/admin#{section.lower()}")
    seat.enter(account)
    expect(seat.page.get_by_role("heading", name=section, exact=True, level=1)).to_be_visible()
    return seat


def go(page: Page, section: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=section).click()
    expect(page.get_by_role("heading", name=section, exact=True, level=1)).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


def pick(page: Page, account: Account) -> None:
    go(page, "Users")
    page.get_by_label("Part of a name, or an id").fill(account.name)
    page.get_by_role("button", name=f"@{account.name}").click()
    expect(page.get_by_role("heading", name=account.display_name)).to_be_visible()


def expect_in_audit(page: Page, act: str, *words: str) -> None:
    go(page, "Audit")
    page.get_by_label("Filter loaded entries").fill(f"{act} {words[0]}")
    entry = page.get_by_role("row").filter(has=page.get_by_role("cell", name=act, exact=True)).first
    for word in words:
        expect(entry).to_contain_text(word)


# ---- access


def test_a_user_without_admin_rights_sees_no_link_fetches_nothing_of_it_and_is_refused(
    platform: Platform, seats: Seats, ada: Account
) -> None:
    seat = seats(platform)
    fetched: list[str] = []
    seat.page.on("request", lambda request: fetched.append(request.url))
    seat.sign_in(ada)
    seat.page.get_by_role("button", name="Menu").click()
    expect(seat.page.get_by_role("menuitem", name="Sign out")).to_be_visible()
    expect(seat.page.get_by_role("menuitem", name="Admin")).to_have_count(0)
    assert not [url for url in fetched if "/admin" in url]

    seat.page.goto(f"{platform.url}/admin")
    expect(seat.page.get_by_role("heading", name="This page is for admins")).to_be_visible()
    expect(seat.page.get_by_text(f"@{ada.name} is no admin here")).to_be_visible()
    assert not [url for url in fetched if "/v1/admin" in url or "/admin/shell" in url]
    expect_accessible(seat.page)
    seat.page.get_by_role("link", name="Back to chats").click()
    expect(seat.page.get_by_text("No chats yet")).to_be_visible()


@pytest.mark.slow
def test_with_a_sign_in_that_ends_on_this_page_ends_what_the_chats_keep_in_the_browser(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "A secret")
    seat, at_admin = seats(platform, allowed=["401"]), f"{platform.url}/admin"
    for is_ended_by_server in (True, False):
        seat.sign_in(ada)
        seat.open_chat("Mira Okafor")
        expect(seat.message("A secret")).to_be_visible()
        seat.composer.fill("A draft")
        seat.wait_until(f"{STORED}.then((all) => all.length === 2)")
        seat.page.goto(at_admin)
        expect(seat.page.get_by_role("heading", name="This page is for admins")).to_be_visible()
        if is_ended_by_server:
            headers = {"Authorization": f"Bearer {ada.access_token}"}
            others = f"{platform.url}/v1/me/sign-ins/others"
            httpx.delete(others, headers=headers, timeout=PATIENCE).raise_for_status()
            seat.page.reload()
            expect(seat.page.get_by_text("You have been signed out. Sign in to go on.")).to_be_visible()
            seat.wait_until(f"{STORED}.then((all) => all.length === 1)")
        else:
            seat.page.get_by_role("button", name="Sign in as someone else").click()
            expect(seat.page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
            assert seat.page.evaluate(STORED) == []


@pytest.mark.slow
def test_the_menu_leads_an_admin_to_the_page_and_the_page_leads_back(
    platform: Platform, seats: Seats, admin: Account
) -> None:
    seat = seats(platform, admin)
    seat.choose("Admin")
    expect(seat.page.get_by_role("heading", name="Processes", exact=True)).to_be_visible()
    seat.page.get_by_role("link", name="Back to chats").click()
    expect(seat.page.get_by_label("Search people and chats")).to_be_visible()


@pytest.mark.slow
def test_a_former_admin_loses_access(platform: Platform, seats: Seats) -> None:
    former = make_admin(platform)
    seat = open_admin(poll_fast(seats(platform, allowed=["403"])), former)
    expect(seat.page.get_by_role("heading", name="Gateways")).to_be_visible()
    assert platform.run("user", "admin", former.name, "--revoke").returncode == 0
    expect(seat.page.get_by_role("heading", name="This page is for admins")).to_be_visible()


# ---- processes


@pytest.mark.slow
def test_processes_are_shown_with_their_sessions_as_these_come_and_go(own_platform: Platform, seats: Seats) -> None:
    admin, ada = make_admin(own_platform), own_platform.register("Ada Lindqvist")
    page = open_admin(poll_fast(seats(own_platform)), admin).page
    for role in ("Gateways", "Archives", "BFFs"):
        expect(page.get_by_role("table", name=role).get_by_role("cell", name="Ready", exact=True)).to_have_count(1)
    totals = page.locator(".tiles")
    expect(totals).to_contain_text("all ready")
    expect(totals).to_contain_text("all owned")
    sessions = page.get_by_role("table", name="Gateways").get_by_role("row").nth(1).locator("[data-label=Sessions]")
    expect(sessions).to_contain_text("0 WebSocket, 0 gRPC")
    at_ada = seats(own_platform, ada)
    expect(sessions).to_contain_text("1 WebSocket, 0 gRPC")
    expect(totals).to_contain_text("1 WebSocket, 0 gRPC")
    at_ada.page.close()
    expect(sessions).to_contain_text("0 WebSocket, 0 gRPC")
    chips = page.locator(".owner .chip")
    owned = page.get_by_role("table", name="Gateways").locator("tbody [data-label=Partitions]")
    assert chips.count() == int(owned.inner_text())


@pytest.mark.slow
def test_a_silent_process_and_partitions_without_an_owner_are_marked(
    platform: Platform, seats: Seats, admin: Account
) -> None:
    seat = seats(platform)

    def silence(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        (gateway,) = (process for process in body["processes"] if process["role"] == "gateway")
        gateway["seen_at_ms"] -= 60_000
        for each in body["partitions"][:2]:
            each["owner"] = None
        route.fulfill(response=answer, body=json.dumps(body))

    seat.page.route("**/v1/admin/processes", silence)
    open_admin(seat, admin)
    gateway = seat.page.get_by_role("table", name="Gateways")
    expect(gateway).to_contain_text("Not reporting")
    expect(gateway).to_contain_text("1 min ago")
    expect(seat.page.locator(".tile.warn").filter(has_text="1 not reporting")).to_be_visible()
    expect(seat.page.locator(".tile.warn").filter(has_text="2 without an owner")).to_be_visible()
    expect(seat.page.locator(".owner").first).to_contain_text("No owner")


# ---- live configuration


def test_a_value_is_changed_in_its_place_refused_when_it_is_wrong_and_unset_again(
    at_admin: Seat, admin: Account
) -> None:
    page, keys = at_admin.page, at_admin.page.keyboard
    at_admin.allowed = ["40[09]|422"]
    go(page, "Configuration")
    page.get_by_label("Find a key").fill("chats_page")
    row = page.locator(".setting").filter(has_text="chats_page_size")
    expect(page.locator(".setting")).to_have_count(1)
    expect(row).to_contain_text("50")
    expect(row).to_contain_text("from 1 to 100")
    row.get_by_role("button", name="Change chats_page_size").click()
    field = row.get_by_label("New value of chats_page_size")
    expect(field).to_be_focused()
    for wrong, words in (("many", "'\"many\"'"), ("", "'\"\"'"), ("4000", "'4000'")):
        field.fill(wrong)
        keys.press("Enter")
        expect(row.locator(".note.error")).to_contain_text(f"from 1 to 100, not {words}")  # it takes the next one now
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_be_focused()
    field.fill("40")
    keys.press("Enter")
    expect(page.get_by_role("status").filter(has_text="chats_page_size is now 40.")).to_be_visible()
    expect(row.locator(".value")).to_have_text("40 set")
    expect(row.get_by_role("button", name="Change chats_page_size")).to_be_focused()
    newest = page.get_by_role("table", name="History").get_by_role("row").nth(1)
    expect(newest).to_contain_text("chats_page_size")
    expect(newest).to_contain_text("default → 40")
    expect(newest).to_contain_text(admin.name)

    row.get_by_role("button", name="Change chats_page_size").click()
    row.get_by_role("button", name="Use the default").click()
    expect(page.get_by_role("status").filter(has_text="is reset to its default: 50")).to_be_visible()
    expect(row.locator(".value")).to_have_text("50")
    expect(newest).to_contain_text("40 → default")
    expect_in_audit(page, "Set configuration", "chats_page_size", admin.name, "40")
    expect_in_audit(page, "Unset configuration", "chats_page_size", admin.name)


@pytest.mark.slow
def test_an_update_does_not_disturb_typing(platform: Platform, at_admin: Seat) -> None:
    page = at_admin.page
    go(page, "Configuration")
    page.get_by_role("button", name="Change messages_page_size").click()
    field = page.get_by_label("New value of messages_page_size")
    field.fill("7")
    assert platform.run("config", "set", "profiles_page_size", "33").returncode == 0
    expect(page.locator(".setting").filter(has_text="profiles_page_size").locator(".value")).to_have_text("33 set")
    expect(field).to_be_focused()
    expect(field).to_have_value("7")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Change messages_page_size")).to_be_focused()
    assert platform.run("config", "unset", "profiles_page_size").returncode == 0
    expect_in_audit(page, "Set configuration", "profiles_page_size", "command:", "33")


# ---- users


def test_a_user_is_found_suspended_with_a_reason_and_restored(
    platform: Platform, seats: Seats, at_admin: Seat, admin: Account
) -> None:
    jonas = platform.register("Jonas Weber")
    at_jonas, page = seats(platform, jonas, allowed=["40[13]"]), at_admin.page
    expect(at_jonas.page.get_by_text("No chats yet")).to_be_visible()

    pick(page, jonas)
    page.get_by_role("button", name="Suspend…").click()
    dialog = page.get_by_role("dialog", name="Suspend Jonas Weber?")
    expect(dialog).to_contain_text(f"@{jonas.name}")
    dialog.get_by_role("button", name="Suspend Jonas Weber").click()
    expect(dialog.get_by_text("Enter a reason")).to_be_visible()
    dialog.get_by_label("Reason").fill("Sends the same link to everyone")
    dialog.get_by_role("button", name="Suspend Jonas Weber").click()
    status = page.get_by_role("status")
    expect(status.filter(has_text="Jonas Weber is suspended and signed out everywhere.")).to_be_visible()
    expect(page.get_by_role("heading", name="Suspended")).to_be_visible()
    expect(page.locator(".suspension")).to_contain_text("Sends the same link to everyone")
    expect(page.get_by_role("heading", name="Jonas Weber")).to_be_focused()

    expect(at_jonas.page.get_by_text("You have been signed out. Sign in to go on.")).to_be_visible()
    at_jonas.enter(jonas)
    expect(at_jonas.page.get_by_role("alert").filter(has_text="suspended")).to_be_visible()

    page.get_by_role("button", name="Restore").click()
    expect(status.filter(has_text="Jonas Weber can sign in again.")).to_be_visible()
    expect(page.get_by_role("button", name="Suspend…")).to_be_visible()
    expect(page.get_by_role("heading", name="Jonas Weber")).to_be_focused()
    at_jonas.enter(jonas)
    expect(at_jonas.page.get_by_text("No chats yet")).to_be_visible()
    expect(page.get_by_role("table", name="Sign-ins")).to_contain_text("Chrome on Linux")
    expect_in_audit(page, "Suspend user", jonas.name, admin.name, "Sends the same link to everyone", "127.0.0.1")
    expect_in_audit(page, "Restore user", jonas.name, admin.name)


def test_a_report_is_read_answered_by_a_suspension_and_closed(
    platform: Platform, at_admin: Seat, admin: Account, mira: Account
) -> None:
    troll, page = platform.register("Tom Troll"), at_admin.page
    chat_id = direct_chat_id(int(troll.user_id), int(mira.user_id))
    platform.send(troll, chat_id, "You are stupid.")
    headers = {"Authorization": f"Bearer {mira.access_token}"}
    with httpx.Client(base_url=platform.url, headers=headers, timeout=PATIENCE) as http:
        (reported,) = http.get(f"/v1/chats/{chat_id}/messages").json()["messages"]
        message_ids = [reported["message"]["message_id"]]
        body = {"user_id": str(troll.user_id), "chat_id": chat_id, "message_ids": message_ids, "reason": "Insults me."}
        http.post("/v1/reports", json=body).raise_for_status()

    go(page, "Reports")
    report = page.get_by_role("article", name=f"Tom Troll @{troll.name}")
    expect(report).to_contain_text("Insults me.")
    expect(report.get_by_role("list", name="Reported messages")).to_contain_text("You are stupid.")
    expect_accessible(page)
    report.get_by_role("button", name="Suspend…").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("Insults others")
    page.get_by_role("button", name="Suspend Tom Troll").click()
    expect(report).to_contain_text("Suspended")
    report.get_by_role("button", name="Handled…").click()
    page.get_by_role("dialog").get_by_label("Note").fill("Suspended for good")
    page.get_by_role("button", name="Close as handled").click()
    expect(page.get_by_text("No open reports")).to_be_visible()
    page.get_by_role("link", name="Show closed reports").click()
    expect(report).to_contain_text("Suspended for good")
    expect(report).to_contain_text(f"@{admin.name}")
    expect_in_audit(page, "Close report", "handled: Suspended for good", admin.name)


@pytest.mark.slow
def test_files_of_a_report_are_opened_by_the_admin_until_their_message_is_deleted(
    platform: Platform, seats: Seats, admin: Account, mira: Account
) -> None:
    troll, seat = platform.register("Pia Prankster"), open_admin(seats(platform, allowed=["404"]), admin, "Reports")
    chat_id, page = troll.chat_with(mira), seat.page
    message_id = trio.run(send_files, platform.url, troll, mira)
    platform.history_up_to("Look", mira, chat_id)
    body = {"user_id": str(troll.user_id), "chat_id": chat_id, "message_ids": [str(message_id)], "reason": "Ugly."}
    headers = {"Authorization": f"Bearer {mira.access_token}"}
    httpx.post(f"{platform.url}/v1/reports", json=body, headers=headers, timeout=PATIENCE).raise_for_status()

    opened: list[str] = []
    page.on("request", lambda request: opened.append(request.url) if "/files/" in request.url else None)
    page.reload()
    report = page.get_by_role("article", name=f"Pia Prankster @{troll.name}")
    files = report.get_by_role("list", name="Files of the message").get_by_role("listitem")
    expect(files).to_have_count(2)
    expect(files.first).to_contain_text("lake.png · image/png")
    expect(files.last).to_contain_text("note.txt · text/plain · 8 bytes")
    expect(report.get_by_role("img", name="lake.png")).to_have_count(0)
    assert opened == []
    expect_accessible(page)

    with page.expect_download() as saved:
        report.get_by_role("button", name="Download note.txt").click()
    assert saved.value.path().read_bytes() == NOTE["buffer"]
    report.get_by_role("button", name="Show lake.png").click()
    lake = report.get_by_role("img", name="lake.png")
    expect(lake).to_have_js_property("naturalWidth", 800)
    expect(report.get_by_role("button", name="Hide lake.png")).to_be_focused()
    expect_accessible(page)
    report.get_by_role("button", name="Hide lake.png").click()
    expect(lake).to_have_count(0)

    trio.run(delete_message, platform.url, troll, chat_id, message_id)
    platform.history_up_to("", mira, chat_id)
    report.get_by_role("button", name="Show lake.png").click()
    expect(report.get_by_text("The message was deleted, and its files with it.")).to_be_visible()
    expect(lake).to_have_count(0)
    report.get_by_role("button", name="Dismiss…").click()
    page.get_by_role("button", name="Dismiss report").click()
    expect(report).to_have_count(0)
    page.get_by_role("link", name="Show closed reports").click()
    expect(files).to_have_count(2)
    expect(files.get_by_role("button")).to_have_count(0)
    expect_in_audit(page, "Open reported file", "file", admin.name)


async def send_files(url: str, sender: Account, recipient: Account) -> int:
    """Send a picture and a text file; return the message id."""
    async with open_client(url, sender.name, PASSWORD) as client:
        content = picture("lake.png"), NOTE
        files = [await client.files.upload(each["buffer"], name=each["name"]) for each in content]
        return (await client.send(recipient.user_id, "Look", files=files)).event_id


async def delete_message(url: str, sender: Account, chat_id: str, message_id: int) -> None:
    async with open_client(url, sender.name, PASSWORD) as client:
        await client.delete(chat_id, message_id)


@pytest.mark.slow
def test_a_user_is_signed_out_everywhere_at_once(
    platform: Platform, seats: Seats, at_admin: Seat, mira: Account
) -> None:
    at_mira, page = seats(platform, mira, allowed=["401"]), at_admin.page
    expect(at_mira.page.get_by_text("No chats yet")).to_be_visible()
    pick(page, mira)
    page.get_by_role("button", name="Sign out everywhere…").click()
    dialog = page.get_by_role("dialog", name="Sign Mira Okafor out?")
    dialog.get_by_role("button", name="Sign out everywhere").click()
    expect(page.get_by_role("status").filter(has_text="Mira Okafor is signed out everywhere.")).to_be_visible()
    expect(page.get_by_text("Not signed in")).to_be_visible()
    expect(at_mira.page.get_by_text("You have been signed out. Sign in to go on.")).to_be_visible()
    expect_in_audit(page, "Sign out user", mira.name)


@pytest.mark.slow
def test_a_refresh_behind_a_dialog_does_not_lose_the_focus(platform: Platform, at_admin: Seat) -> None:
    kofi, page = platform.register("Kofi Boateng"), at_admin.page
    pick(page, kofi)
    page.get_by_role("button", name="Suspend…").click()
    platform.run("user", "suspend", kofi.name, "--reason", "The same, on the server")
    expect(page.locator(".suspension")).to_contain_text("The same, on the server")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name=kofi.display_name)).to_be_focused()


@pytest.mark.slow
def test_an_admin_cannot_be_suspended_and_the_page_shows_the_reason(at_admin: Seat, admin: Account) -> None:
    pick(at_admin.page, admin)
    expect(at_admin.page.get_by_role("button", name="Suspend…")).to_be_disabled()
    expect(at_admin.page.get_by_text("Revoke the admin role first")).to_be_visible()


@pytest.mark.slow
def test_a_user_is_found_by_id_and_an_unknown_one_is_not(at_admin: Seat, mira: Account) -> None:
    page = at_admin.page
    go(page, "Users")
    search = page.get_by_label("Part of a name, or an id")
    users = page.get_by_role("list", name="All users")
    expect(users.get_by_role("button").first).to_contain_text(f"@{mira.name}")
    expect(users.locator("[tabindex='0']")).to_have_count(1)
    search.fill(str(mira.user_id))
    expect(page.get_by_role("button", name=f"@{mira.name}")).to_be_visible()
    search.fill("nobody-is-called-that")
    expect(page.get_by_text("Nobody found")).to_be_visible()
    at_admin.allowed = ["404"]
    page.goto(f"{at_admin.platform.url}/admin#users/1")
    expect(page.get_by_text("No user has this id.")).to_be_visible()


# ---- the frame


@pytest.mark.slow
def test_reload_and_back_keep_the_place(at_admin: Seat, mira: Account) -> None:
    page = at_admin.page
    pick(page, mira)
    page.reload()
    expect(page.get_by_role("heading", name="Mira Okafor")).to_be_visible()
    expect(page.get_by_label("Part of a name, or an id")).to_have_value(mira.name)
    page.go_back()
    expect(page.get_by_text("No user selected")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Processes", exact=True)).to_be_visible()
    page.go_forward()
    expect(page.get_by_role("heading", name="Users", exact=True)).to_be_visible()


def test_everything_can_be_done_with_the_keyboard(platform: Platform, at_admin: Seat) -> None:
    page, keys = at_admin.page, at_admin.page.keyboard
    tomasz = platform.register("Tomasz Zieliński")
    page.get_by_role("navigation").get_by_role("link", name="Users").focus()
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Users", exact=True)).to_be_focused()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    keys.press("Tab")
    expect(page.get_by_role("region", name="Users")).to_be_focused()
    keys.press("Tab")
    expect(page.get_by_label("Part of a name, or an id")).to_be_focused()
    keys.type(tomasz.name)
    expect(page.get_by_role("button", name=f"@{tomasz.name}")).to_be_visible()
    keys.press("ArrowDown")
    expect(page.get_by_role("button", name=f"@{tomasz.name}")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Tomasz Zieliński")).to_be_focused()
    keys.press("Tab")
    expect(page.get_by_role("button", name="Suspend…")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("dialog", name="Suspend Tomasz Zieliński?")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Suspend…")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("textbox", name="Reason")).to_be_focused()  # the former dialog may still fade out
    keys.type("By keyboard alone")
    keys.press("Enter")
    expect(page.locator(".suspension")).to_contain_text("By keyboard alone")


@pytest.mark.slow
def test_no_section_has_a_violation(platform: Platform, seats: Seats, admin: Account, mira: Account) -> None:
    page = open_admin(seats(platform), admin).page
    for section in SECTIONS:
        go(page, section)
        expect_accessible(page, *CONDITIONS)
    go(page, "Configuration")
    page.get_by_role("button", name="Change chats_page_size").click()
    expect_accessible(page, *CONDITIONS)
    pick(page, mira)
    expect_accessible(page, *CONDITIONS)
    for opener in ("Suspend…", "Sign out everywhere…", "Reset password…", "Delete…", "Create a user…"):
        page.get_by_role("button", name=opener).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        expect_accessible(page, *CONDITIONS)
        page.keyboard.press("Escape")
    go(page, "Invites")
    page.get_by_role("button", name="Create an invite…").click()
    expect_accessible(page, *CONDITIONS)


@pytest.mark.slow
def test_a_phone_has_all_of_it_and_nothing_to_scroll_sideways(
    platform: Platform, seats: Seats, admin: Account, mira: Account
) -> None:
    seat = open_admin(seats(platform, size="phone", has_touch=True, is_mobile=True), admin)
    for section in SECTIONS:
        go(seat.page, section)
        expect_no_sideways_scroll(seat.page)
        assert seat.page.evaluate(SMALL_TARGETS) == []
    pick(seat.page, mira)
    expect_no_sideways_scroll(seat.page)
    expect(seat.page.get_by_label("Part of a name, or an id")).to_be_hidden()
    seat.page.get_by_role("button", name="All results").tap()
    expect(seat.page.get_by_role("button", name=f"@{mira.name}")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_in_arabic_the_page_runs_from_right_to_left(
    platform: Platform, seats: Seats, admin: Account, size: str
) -> None:
    page = open_admin(seats(platform, size=size), admin).page
    page.evaluate("localStorage['rookery.settings'] = JSON.stringify({language: 'ar'})")
    page.reload()
    for section in ("العمليات", "الإعدادات", "المستخدمون", "الدعوات", "السجل"):
        page.get_by_role("navigation").get_by_role("link", name=section).click()
        expect(page.get_by_role("region", name=section).get_by_role("heading").first).to_be_visible()
        expect_no_sideways_scroll(page)
        assert page.evaluate("document.documentElement.dir") == "rtl"


@pytest.mark.slow
def test_while_the_server_is_away_the_page_shows_its_age_and_then_goes_on(own_platform: Platform, seats: Seats) -> None:
    seat = open_admin(poll_fast(seats(own_platform, allowed=LINE_IS_DOWN)), make_admin(own_platform))
    gateways = seat.page.get_by_role("table", name="Gateways")
    expect(gateways).to_contain_text("Ready")
    own_platform.kill()
    expect(seat.page.get_by_text("The server does not respond. This is the state at")).to_be_visible()
    expect(gateways).to_contain_text("Ready")
    own_platform.start()
    expect(seat.page.get_by_text("Live", exact=True)).to_be_visible()
    expect(seat.page.get_by_text("The server does not respond.")).to_be_hidden()


def test_a_failed_request_can_be_retried_in_its_place(platform: Platform, seats: Seats, admin: Account) -> None:
    seat = seats(platform, allowed=["503"])
    body = json.dumps({"code": "unavailable", "detail": "The store does not answer."})
    seat.page.route("**/v1/admin/audit*", lambda route: route.fulfill(status=503, body=body))
    open_admin(seat, admin, "Audit")
    expect(seat.page.get_by_text("do this now. Try again soon.")).to_be_visible()
    seat.page.unroute("**/v1/admin/audit*")
    seat.page.get_by_role("button", name="Try again").click()
    expect(seat.page.get_by_role("table", name="Audit log")).to_be_visible()


def test_the_admin_page_is_small_and_sends_no_request_to_third_parties(at_admin: Seat) -> None:
    for section in SECTIONS:
        go(at_admin.page, section)
    assert sum(at_admin.downloads().values()) < MOST_BYTES
