"""The page in Firefox, from the sign-in to a group, by mouse and keyboard; and files."""

import io
from pathlib import Path

import pytest
import trio
from PIL import Image

from tests.browser.conftest import Account, Platform
from tests.browser.firefox import FIREFOX, Window, open_firefox
from tests.browser.test_files import NOTE, picture
from tests.needed import skip_or_fail
from tools.launch.people import PASSWORD

LOADED = """(selector) => {
  const image = document.querySelector(selector);
  return image?.checkVisibility() && image.naturalWidth;
}"""
"""The width of a picture once it is shown."""


async def sign_in(window: Window, platform: Platform, account: Account) -> None:
    await window.open(platform.url)
    await window.type("User name", account.name)
    await window.type("Password", PASSWORD, "Enter")
    await window.until_shown("Write to someone of your team.")


async def play(platform: Platform, ada: Account, mira: Account, profile: Path) -> None:
    async with open_firefox(profile) as firefox:
        own, other = await firefox.window(), await firefox.window()
        await sign_in(own, platform, ada)
        await sign_in(other, platform, mira)
        await own.type("Search people and chats", mira.name)
        await own.click("button", "Mira Okafor")
        await own.type("Message to", "Hello **Mira**", "Enter")
        await other.click("button", "Ada Lindqvist")
        await other.until_shown("Hello Mira")
        await other.type("Message to", "Hi Ada", "Enter")
        await own.until_shown("Hi Ada")
        await own.type("Message to", "ArrowUp")
        await own.press(", again", "Enter")
        await other.until_shown("edited")
        await own.click("button", "New group")
        await own.type("Name of the group", "Nests")
        await own.type("Search people", mira.name)
        await own.click("button", "Mira Okafor")
        await own.click("button", "Create group")
        await own.until_shown("You created the group “Nests”")
        await other.click("button", "Nests")
        await other.type("Message to", "Thanks", "Enter")
        await own.until_shown("Thanks")
        await own.open(f"{platform.url}/#{ada.chat_with(mira)}")
        await own.until_shown("Hello Mira, again")
        assert firefox.problems == []


async def play_files(platform: Platform, ada: Account, mira: Account, folder: Path) -> None:
    lake, note = folder / "lake.png", folder / "note.txt"
    lake.write_bytes(picture("lake.png")["buffer"])
    note.write_bytes(NOTE["buffer"])
    async with open_firefox(folder / "profile") as firefox:
        own, other = await firefox.window(), await firefox.window()
        await sign_in(own, platform, ada)
        await sign_in(other, platform, mira)
        await own.type("Search people and chats", mira.name)
        await own.click("button", "Mira Okafor")
        await own.attach(".attach input", lake, note)
        await own.until_shown("note.txt")
        await own.type("Message to", "Our trip", "Enter")
        await other.click("button", "Ada Lindqvist")
        thumbnail = await other.until(LOADED, "[aria-label$='lake.png'] img")
        assert thumbnail["value"] in (320, 800)
        await other.click("button", "Open the photo lake.png")
        await other.until(LOADED, "dialog[open] img[alt='lake.png']")
        await other.click("button", "Download")
        assert Image.open(io.BytesIO(await firefox.downloaded("lake.png"))).size == (900, 600)
        await other.press("Escape")
        await other.click("button", "note.txt")
        assert await firefox.downloaded("note.txt") == NOTE["buffer"]
        await own.click("button", "Voice message")
        await own.until("() => /^0:(0[3-9]|[1-5]\\d)$/.test(document.querySelector('[role=timer]')?.textContent ?? '')")
        await own.press("Enter")
        await other.click("button", "Play")
        await other.click("button", "Pause")
        assert firefox.problems == []


def need_firefox() -> None:
    if not FIREFOX.exists():
        skip_or_fail(f"no Firefox at {FIREFOX}: install Debian's package firefox-esr, or set FIREFOX")


@pytest.mark.slow
def test_two_users_chat_in_firefox(platform: Platform, ada: Account, mira: Account, tmp_path: Path) -> None:
    need_firefox()
    trio.run(play, platform, ada, mira, tmp_path / "profile")


@pytest.mark.slow
def test_files_and_a_voice_message_reach_the_other_user_in_firefox(
    platform: Platform, ada: Account, mira: Account, tmp_path: Path
) -> None:
    need_firefox()
    trio.run(play_files, platform, ada, mira, tmp_path)
