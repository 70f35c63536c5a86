"""Two users in two browsers: sign-up, search, chat, reactions, reload."""

import secrets

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import STORED, Account, Platform, Seats
from tools.launch.people import PASSWORD


def test_two_people_sign_up_find_each_other_and_chat(platform: Platform, seats: Seats) -> None:
    suffix = secrets.token_hex(4)
    ada, mira = seats(platform), seats(platform)
    ada.sign_up(f"ada-{suffix}", "Ada Lindqvist")
    mira.sign_up(f"mira-{suffix}", "Mira Okafor")
    expect(mira.page.get_by_text("No chats yet")).to_be_visible()

    ada.find(f"mira-{suffix}", "Mira Okafor")
    expect(ada.page.get_by_text("Say hello to Mira Okafor.")).to_be_visible()
    ada.write("Did the replay come through?")
    expect(ada.message("Did the replay come through?")).to_contain_text("Delivered")
    row = mira.row("Ada Lindqvist")
    expect(row).to_contain_text("Did the replay come through?")
    expect(row).to_contain_text("1 unread")
    expect(mira.page).to_have_title("(1) Rookery")

    mira.open_chat("Ada Lindqvist")
    expect(row).not_to_contain_text("unread")
    expect(ada.message("Did the replay come through?")).to_contain_text("Read")
    mira.write("40 messages, in order")
    expect(ada.message("40 messages, in order")).to_be_visible()
    expect(ada.row("Mira Okafor")).to_contain_text("40 messages, in order")
    expect(mira.message("40 messages, in order")).to_contain_text("Read")

    mira.choose("Settings")
    with mira.page.expect_response("**/v1/me"):
        mira.page.get_by_label("Show others how far I have read").uncheck()
    mira.page.keyboard.press("Escape")
    expect(mira.message("40 messages, in order")).to_contain_text("Delivered")
    ada.write("Not even on my wrist")
    expect(mira.message("Not even on my wrist")).to_be_visible()
    ada.write("Are you there?")
    for reload in (False, True):
        if reload:
            ada.page.reload()
        for text in ("Not even on my wrist", "Are you there?"):
            expect(ada.message(text)).to_contain_text("Delivered")


def test_reactions_are_seen_by_both_and_survive_a_reload(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(ada, ada.chat_with(mira), "Lunch was at noon. Nobody noticed.")
    at_ada, at_mira = seats(platform, ada, chat="Mira Okafor"), seats(platform, mira, chat="Ada Lindqvist")

    at_mira.message("Lunch").hover()
    at_mira.message("Lunch").get_by_role("button", name="React").click()
    at_mira.page.get_by_role("button", name="fire").click()
    chip = at_ada.message("Lunch").get_by_role("button", name="🔥")
    expect(chip).to_have_accessible_name("🔥 1: Mira Okafor")
    chip.click()
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(at_mira.message("Lunch").get_by_role("button", name="🔥")).to_have_text("🔥 2")

    at_ada.page.reload()
    expect(chip).to_have_text("🔥 2")
    chip.click()
    expect(at_mira.message("Lunch").get_by_role("button", name="🔥")).to_have_text("🔥 1")


def test_a_draft_the_open_chat_and_history_survive_a_reload(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Are you there?")
    seat = seats(platform, ada, chat="Mira Okafor")
    seat.composer.press_sequentially("Half a thou")
    seat.page.reload()
    expect(seat.composer).to_have_value("Half a thou")
    expect(seat.message("Are you there?")).to_be_visible()
    expect(seat.row("Mira Okafor")).to_contain_text("Are you there?")
    other = seat.tab()
    other.get_by_role("navigation").get_by_role("button", name="Mira Okafor").click()
    other.get_by_label("Message to Mira Okafor").press_sequentially("ght")
    expect(seat.composer).to_have_value("Half a thought")
    seat.composer.focus()
    other.keyboard.type("?")
    seat.page.keyboard.type("!")
    expect(seat.composer).to_have_value("Half a thought!")
    seat.page.go_back()
    expect(seat.row("Mira Okafor")).to_contain_text("Draft: Half a thought!")


@pytest.mark.slow
def test_going_back_from_any_chat_leads_to_the_list(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    jonas = platform.register("Jonas Weber")
    platform.send(mira, ada.chat_with(mira), "One")
    platform.send(jonas, ada.chat_with(jonas), "Two")
    seat = seats(platform, ada, chat="Mira Okafor")
    seat.open_chat("Jonas Weber")
    expect(seat.message("Two")).to_be_visible()
    seat.page.go_back()
    expect(seat.page.get_by_text("Pick a chat")).to_be_visible()
    expect(seat.row("Jonas Weber")).to_be_focused()


@pytest.mark.slow
def test_typing_is_shown_until_the_message_comes(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    at_ada, at_mira = seats(platform, ada, chat="Mira Okafor"), seats(platform, mira, chat="Ada Lindqvist")
    at_ada.until_live()
    at_mira.until_live()
    at_mira.composer.press_sequentially("On my way")
    typing = at_ada.page.get_by_text("typing…")
    expect(typing.first).to_be_visible()
    at_mira.composer.press("Enter")
    expect(at_ada.message("On my way")).to_be_visible()
    expect(typing).to_have_count(0)


def test_two_tabs_of_one_person_stay_together(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    platform.send(mira, ada.chat_with(mira), "One for both tabs")
    seat = seats(platform, ada)
    other = seat.tab()
    row = other.get_by_role("button", name="Mira Okafor")
    expect(row).to_contain_text("1 unread")
    seat.open_chat("Mira Okafor")
    expect(row).not_to_contain_text("unread")
    seat.write("Sent in one tab")
    expect(row).to_contain_text("You: Sent in one tab")
    row.click()
    expect(other.locator("rookery-message")).to_have_count(2)
    seat.composer.press_sequentially("Never sent :tada:")
    expect(seat.composer).to_have_value("Never sent 🎉")

    seat.choose("Sign out")
    expect(seat.page.get_by_role("heading", name="Welcome to Rookery")).to_be_visible()
    expect(other.get_by_role("heading", name="Welcome to Rookery")).to_be_visible()
    # The server may end the session before the page has cleared all. `rookery.devices` gives no access.
    seat.wait_until("Object.keys(localStorage).join() === 'rookery.devices'")
    seat.wait_until(f"{STORED}.then((all) => !all.length)")


def test_texts_are_shown_literally_and_links_send_no_referrer(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    texts = (
        "<img src=x onerror=alert(1)><script>alert(1)</script>",
        "'; DROP TABLE messages; --",
        "مرحبا 👩‍🚀 \u202e reversed",
        "See https://example.org/run/42.",
        f"and {platform.url}/#{ada.chat_with(mira)}/5",
    )
    platform.send(mira, ada.chat_with(mira), *texts)
    seat = seats(platform, ada, chat="Mira Okafor")
    expect(seat.messages.locator(".text")).to_have_text(texts)
    assert seat.page.locator("rookery-message img, rookery-message script").count() == 0
    links = seat.messages.get_by_role("link")
    expect(links.first).to_have_attribute("href", "https://example.org/run/42")
    expect(links.first).to_have_attribute("rel", "noopener noreferrer")
    assert [link.get_attribute("target") for link in links.all()] == ["_blank", None], "a message's link opens here"


def test_markup_is_shown_opened_copied_and_written(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "||**the end**||\n```py\nx = 1\n```")
    seat = seats(platform, ada)
    expect(seat.row("Mira Okafor")).to_contain_text("▒▒▒ x = 1")
    seat.open_chat("Mira Okafor")
    ending = seat.messages.get_by_text("the end")
    expect(ending).to_be_hidden()
    seat.messages.get_by_role("button", name="Spoiler").press("Enter")
    expect(ending).to_be_visible()
    expect(seat.messages.locator(".uncovered")).to_be_focused()
    seat.context.grant_permissions(["clipboard-read"])
    seat.messages.get_by_role("button", name="Copy code").click()
    expect(seat.page.get_by_text("The code is copied.")).to_be_visible()
    assert seat.page.evaluate("navigator.clipboard.readText()") == "x = 1"
    seat.composer.fill("word")
    seat.composer.select_text()
    seat.composer.press("Control+b")
    expect(seat.composer).to_have_value("**word**")


@pytest.mark.slow
def test_a_message_that_is_too_long_is_held_back_with_its_reason(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform)
    seat.begin_chat(ada, mira)
    seat.composer.fill("é" * 10_000)
    expect(seat.page.get_by_text("Too long by 3,616 bytes")).to_be_visible()
    expect(seat.page.get_by_role("button", name="Send")).to_be_disabled()
    seat.composer.press("Enter")
    expect(seat.messages).to_have_count(0)


def test_an_error_of_a_sign_in_is_shown_at_its_field(platform: Platform, seats: Seats, ada: Account) -> None:
    seat = seats(platform, allowed=["401", "409"])
    page = seat.page
    page.goto(platform.url)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("User name")).to_have_accessible_description("Type your user name.")
    seat.enter(ada, "not her password")
    expect(page.get_by_label("Password", exact=True)).to_have_accessible_description(
        "User name or password is wrong. If you have lost your password, ask an admin for a link to set a new one."
    )
    expect(page.get_by_label("Password", exact=True)).to_be_focused()

    page.get_by_role("button", name="Create an account").click()
    expect(page.get_by_label("User name")).to_have_accessible_description(
        "3 to 32 of the letters a to z, digits, dots, dashes and underscores."
    )
    page.get_by_label("Password", exact=True).fill("short")
    page.get_by_label("Show the password").check()
    expect(page.get_by_label("Password", exact=True)).to_have_attribute("type", "text")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_label("Password", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Password", exact=True).fill("long enough, and new")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_label("User name")).to_have_accessible_description("That name is taken. Try another.")


@pytest.mark.slow
def test_other_users_see_a_changed_profile(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    at_mira = seats(platform, mira)
    at_mira.choose("Your profile")
    at_mira.page.get_by_label("Your name").fill("Mira O.")
    at_mira.page.get_by_label("About you").fill("Gateways, mostly.")
    at_mira.page.get_by_role("button", name="Save").click()
    expect(at_mira.page.get_by_role("dialog")).to_have_count(0)

    at_ada = seats(platform, ada, chat="Mira O.")
    at_ada.page.get_by_title("Profile").click()
    expect(at_ada.page.get_by_role("dialog")).to_contain_text("Gateways, mostly.")


@pytest.mark.slow
def test_a_changed_password_signs_in(platform: Platform, seats: Seats, ada: Account) -> None:
    seat = seats(platform, ada)
    seat.choose("Settings")
    expect(seat.page.get_by_text("At least 10 characters")).to_be_visible()
    seat.page.get_by_label("Current password").fill(PASSWORD)
    seat.page.get_by_label("New password").fill("an even better horse")
    seat.page.get_by_label("Show the passwords").check()
    expect(seat.page.get_by_label("New password")).to_have_attribute("type", "text")
    seat.page.get_by_role("button", name="Change password").click()
    expect(seat.page.get_by_text("The password is changed.")).to_be_visible()
    fresh = seats(platform)
    fresh.page.goto(platform.url)
    fresh.enter(ada, "an even better horse")
    expect(fresh.page.get_by_text("No chats yet")).to_be_visible()


@pytest.mark.slow
def test_an_empty_search_and_an_unknown_chat_are_explained(platform: Platform, seats: Seats, ada: Account) -> None:
    seat = seats(platform, ada)
    seat.page.get_by_label("Search people and chats").fill(f"@{ada.name[:6]} {ada.name}")
    expect(seat.page.get_by_text("This is you")).to_be_visible()
    seat.page.get_by_label("Search people and chats").fill("zzqqzz")
    expect(seat.page.get_by_text("Nobody found")).to_be_visible()
    seat.page.goto(f"{platform.url}#d-1-2")
    expect(seat.page.get_by_text("Chat not found")).to_be_visible()


@pytest.mark.slow
def test_each_text_and_name_has_its_own_direction(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    salma = platform.register("سلمى العلي")
    platform.send(salma, ada.chat_with(salma), "مرحبا!", "Hello!")
    platform.send(mira, ada.chat_with(mira), "שלום!")
    seat = seats(platform, ada, chat="سلمى العلي")
    direction = "(element) => getComputedStyle(element).direction"
    texts = seat.messages.locator(".text")
    expect(texts).to_have_count(2)
    assert [texts.nth(at).evaluate(direction) for at in range(2)] == ["rtl", "ltr"]
    for part in (".name", ".preview"):
        assert {each.evaluate(direction) for each in seat.page.locator(f".row {part}").all()} == {"rtl", "ltr"}
    assert seat.page.locator(".who strong").evaluate(direction) == "rtl"
    seat.composer.fill("مرحبا")
    assert seat.composer.evaluate(direction) == "rtl"


@pytest.mark.slow
def test_a_name_can_not_imitate_another_by_controls_of_direction(
    platform: Platform, seats: Seats, ada: Account
) -> None:
    other = platform.register("\u202eecalevol adA\u202c")
    platform.send(other, ada.chat_with(other), "It is me")
    seat = seats(platform, ada, chat="ecalevol adA")
    expect(seat.page.locator(".who strong")).to_have_text("ecalevol adA")
    expect(seat.row("ecalevol adA").locator(".name")).to_have_text("ecalevol adA")
    expect(seat.page).to_have_title("ecalevol adA · Rookery")


@pytest.mark.slow
def test_a_message_that_arrives_on_the_screen_is_never_counted_in_the_title(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "First")
    seat = seats(platform, ada, chat="Mira Okafor")
    expect(seat.message("First")).to_be_visible()
    expect(seat.page).to_have_title("Mira Okafor · Rookery")
    seat.page.evaluate("""() => {
      window.titles = [];
      const note = () => titles.push(document.title);
      new MutationObserver(note).observe(document.head, { childList: true, characterData: true, subtree: true });
    }""")
    for text in ("Second", "Third"):
        platform.send(mira, ada.chat_with(mira), text)
        expect(seat.message(text)).to_be_visible()
    expect(seat.row("Mira Okafor")).not_to_contain_text("unread")
    assert seat.page.evaluate("titles") == []
