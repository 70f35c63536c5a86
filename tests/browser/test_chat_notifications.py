"""The choice of the messages of a chat that a user's devices notify of."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Account, Platform, Seat, Seats
from tests.browser.test_accessibility import expect_accessible

HOUR_MS = 3_600_000

FOR_EVER = "9223372036854775807"

OPTIONS = "fieldset:not([hidden]) .choice"

LASTS = ["For 1 hour", "For 8 hours", "For 1 week", "Always"]


def watch_mutes(seat: Seat) -> list[dict[str, Any]]:
    """Load the page again; return the list of the mutes that it sends from then on."""
    mutes: list[dict[str, Any]] = []

    def note(frame: str | bytes) -> None:
        mute = json.loads(frame).get("change", {}).get("muted")
        if mute is not None:
            mutes.append(mute)

    seat.page.on("websocket", lambda socket: socket.on("framesent", note))
    seat.page.reload()
    return mutes


def open_choice(seat: Seat) -> Locator:
    """Open the dialog from the menu of the open chat."""
    seat.page.get_by_role("button", name="Chat options").click()
    seat.page.get_by_role("menuitem", name="Notifications").click()
    dialog = seat.page.get_by_role("dialog", name="Notifications")
    expect(dialog).to_be_visible()
    return dialog


def save(dialog: Locator) -> None:
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)


@pytest.mark.slow
def test_a_direct_chat_notifies_of_all_or_nothing_for_a_time_that_is_kept(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    seat = seats(platform, ada, chat="Mira Okafor")
    mutes = watch_mutes(seat)
    muted = seat.row("Mira Okafor").get_by_title("Muted")
    dialog = open_choice(seat)
    expect(dialog.locator(OPTIONS)).to_have_text(["All messages", "Nothing"])
    expect(dialog.get_by_role("group", name="Notify me of").get_by_label("All messages")).to_be_focused()
    save(dialog)
    expect(muted).to_have_count(0)

    dialog = open_choice(seat)
    seat.page.keyboard.press("ArrowDown")
    expect(dialog.get_by_label("Nothing")).to_be_checked()
    expect(dialog.locator(OPTIONS)).to_have_text(["All messages", "Nothing", *LASTS])
    expect(dialog.get_by_label("Always")).to_be_checked()
    expect_accessible(seat.page, "light", "dark", "320 pixels", "right to left")
    seat.page.keyboard.press("Tab")
    expect(dialog.get_by_role("group", name="For how long").get_by_label("Always")).to_be_focused()
    for _ in range(2):
        seat.page.keyboard.press("ArrowUp")
    expect(dialog.get_by_label("For 8 hours")).to_be_checked()
    seat.page.keyboard.press("Enter")
    expect(muted).to_be_visible()
    (mute,) = mutes  # none when nothing was changed
    assert abs(int(mute["until_ms"]) - 1_000 * time.time() - 8 * HOUR_MS) < HOUR_MS
    assert not mute.get("except_mentions")

    dialog = open_choice(seat)
    expect(dialog.get_by_label("Nothing")).to_be_checked()
    expect(dialog.get_by_label("Until ")).to_be_checked()
    dialog.get_by_label("All messages").check()
    expect(dialog.locator(OPTIONS)).to_have_text(["All messages", "Nothing"])
    save(dialog)
    expect(muted).to_have_count(0)


def test_a_group_notifies_of_mentions_only_on_all_devices(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform, ada)
    seat.begin_group("Choir", mira)
    seat.page.get_by_role("button", name="Create group").click()
    expect(seat.composer).to_be_visible()
    seat.write("Welcome")
    expect(seat.message("Welcome")).to_contain_text("Sent")
    mutes = watch_mutes(seat)
    phone = seats(platform, ada, size="phone", chat="Choir")
    dialog = open_choice(seat)
    expect(dialog.locator(OPTIONS)).to_have_text(["All messages", "Only mentions", "Nothing"])
    dialog.get_by_label("Only mentions").check()
    save(dialog)
    expect(seat.row("Choir").get_by_title("Muted")).to_be_visible()
    assert mutes == [{"until_ms": FOR_EVER, "except_mentions": True}]
    phone.wait_until("document.querySelector('[title=Muted]')")  # in the list, which the chat covers
    dialog = open_choice(phone)
    expect(dialog.get_by_label("Only mentions")).to_be_checked()
    expect(dialog.get_by_label("Always")).to_be_checked()
    dialog.get_by_label("All messages").check()
    save(dialog)
    expect(seat.row("Choir").get_by_title("Muted")).to_have_count(0)


@pytest.mark.slow
def test_a_pressed_notification_opens_its_chat_in_place_of_the_open_dialogs(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    seat = seats(platform)
    seat.context.add_init_script(path=Path(__file__).with_name("banners.js"))
    seat.begin_chat(ada, mira)
    seat.write("Are you there?")
    seat.page.get_by_role("button", name="Turn on").click()
    seat.page.keyboard.press("Escape")
    expect(seat.composer).to_have_count(0)
    seat.choose("Settings")
    expect(seat.page.get_by_role("dialog")).to_be_visible()
    platform.send(mira, ada.chat_with(mira), "Behind the dialog")
    banner = "Mira Okafor: Behind the dialog"
    expect(seat.page.locator("html")).to_have_attribute("data-banners", banner)
    seat.page.evaluate(f"press('{banner}')")
    expect(seat.message("Behind the dialog")).to_be_visible()
    expect(seat.page.get_by_role("dialog")).to_have_count(0)
    expect(seat.composer).to_be_focused()
