"""The page in Firefox, from the sign-in to a group, by mouse and keyboard."""

from pathlib import Path

import pytest
import trio

from tests.browser.conftest import Account, Platform
from tests.browser.firefox import FIREFOX, Window, open_firefox
from tests.needed import skip_or_fail
from tools.launch.people import PASSWORD


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


@pytest.mark.slow
def test_two_users_chat_in_firefox(platform: Platform, ada: Account, mira: Account, tmp_path: Path) -> None:
    if not FIREFOX.exists():
        skip_or_fail(f"no Firefox at {FIREFOX}: install Debian's package firefox-esr, or set FIREFOX")
    trio.run(play, platform, ada, mira, tmp_path / "profile")
