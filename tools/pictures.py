"""Take the pictures of `docs/`: the page in Chromium, with accounts and chats on a platform of its own.

    python -m tools.pictures [NAME ...]

The ten pictures of `docs/tour/`, `docs/page.png` and `docs/admin.png`, or the named pictures. A picture shows the real
page: the script clicks and types, and changes nothing in the page.
"""

import argparse
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self

import trio
from playwright.sync_api import Browser, Page, sync_playwright

from rookery.client import Client, open_api, open_client
from tools.launch.process import ROOKERY, Rookery, running
from tools.toolchains import ROOT

DOCS = ROOT / "docs"

CHROMIUM = "/usr/bin/chromium"

PASSWORD = "a long walk at night"

DESKTOP, PHONE = (1200, 760), (390, 780)

PEOPLE = {
    "ada": "Ada Lindqvist",
    "mira": "Mira Okafor",
    "jonas": "Jonas Weber",
    "leila": "ليلى حداد",
    "tomasz": "Tomasz Zieliński",
    "hiro": "Hiro Tanaka",
    "nora": "Nora Blum",
}
"""Name and display name of each account. Nora has no chat."""

TALKS: dict[str, list[tuple[str, str]]] = {
    "hiro": [("hiro", "👍")],
    "tomasz": [("ada", "Did the rollback work?"), ("tomasz", "Rolled back, everything is green")],
    "leila": [
        ("leila", "صباح الخير آدا، هل وصلت الأرقام؟"),
        ("ada", "نعم، وصلت كلها هذا الصباح"),
        ("leila", "ممتاز، أراك في المحطة في الساعة 9:30 🚉"),
        ("leila", "الرابط: https://rookery.example/runs/42"),
    ],
    "jonas": [("ada", "Good morning"), ("jonas", "I have the figures of last week"), ("jonas", "Shall I post them?")],
    "mira": [
        ("mira", "Did the replay after the restart come through for you?"),
        ("ada", "I had 40 messages waiting, in order, before the page had finished drawing"),
        ("ada", "no gap, no duplicates"),
        ("mira", "Then I will take the last gateway down during lunch. If nobody notices, we ship."),
        ("ada", "Lunch was at noon. Nobody noticed. The numbers are at https://rookery.example/runs/42"),
        ("mira", "Shipping it tonight then 🎉"),
        ("ada", "Writing the release note now"),
    ],
}
"""Ada's chats, the newest last: by the other person, sender and text of each message, oldest first."""

REACTED = "no gap, no duplicates"
"""The text of the message with reactions."""

UNREAD = "jonas"
"""The sender of the messages that Ada has not read."""

RECORD_SECONDS = 1.0
"""Seconds until the last marks are in the archive."""

SETTLE_MS = 700
"""Milliseconds until a page has loaded its pictures and ended its transitions."""


async def talk(url: str) -> None:
    """Create the accounts, and send all messages. Mira reads; Jonas' last messages stay unread."""
    async with AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        for name, display_name in PEOPLE.items():
            async with open_api(url, name, PASSWORD) as api:
                await api.register(display_name)
            clients[name] = await stack.enter_async_context(open_client(url, name, PASSWORD))
        ada = clients["ada"]
        for other, messages in TALKS.items():
            for sender, text in messages:
                recipient = clients[other] if sender == "ada" else ada
                accepted = await clients[sender].send(recipient.me.user_id, text)
                if text == REACTED:
                    for each in ("mira", "ada"):
                        await clients[each].react(accepted.chat_id, accepted.event_id, "🔥")
                clients[other].mark(accepted.chat_id, read_up_to=accepted.event_id)
                if other != UNREAD:
                    ada.mark(accepted.chat_id, read_up_to=accepted.event_id)
        await trio.sleep(RECORD_SECONDS)


class Stage:
    """The platform and the browser of all pictures."""

    def __init__(self, browser: Browser, platform: Rookery) -> None:
        self.platform = platform
        self._browser = browser

    def open(self, size: tuple[int, int] = DESKTOP, **options: Any) -> "Window":
        """Open the page in a new browser window. `options` are options of Playwright's `new_context`."""
        width, height = size
        window: dict[str, Any] = {"locale": "en-GB"} | options
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=2, **window
        )
        page = context.new_page()
        page.goto(self.platform.url)
        return Window(page)


class Window:
    """A browser window."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def sign_in(self, name: str = "ada") -> Self:
        self.page.locator("input[autocomplete=username]").fill(name)
        self.page.locator("input[type=password]").fill(PASSWORD)
        self.page.locator("button[type=submit]").click()
        self.page.locator("rookery-chat-list").wait_for()
        return self

    def open_chat(self, person: str) -> Self:
        self.page.get_by_role("navigation").get_by_role("button", name=PEOPLE[person]).click()
        self.page.locator("rookery-message").last.wait_for()
        return self

    def click(self, name: str, role: Literal["button", "menuitem"] = "button") -> Self:
        self.page.get_by_role(role, name=name).click()
        return self

    def write(self, text: str) -> Self:
        self.page.get_by_role("textbox").last.fill(text)
        self.page.keyboard.press("Enter")
        return self

    def take(self, name: str) -> None:
        """Save the picture once the page has ended its transitions, and close the window."""
        self.page.wait_for_timeout(SETTLE_MS)
        path = DOCS / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        self.page.screenshot(path=path, animations="disabled")
        self.page.context.close()


def sign_up(stage: Stage) -> Window:
    window = stage.open().click("Create an account")
    window.page.get_by_label("User name").fill("nora")
    window.page.get_by_label("Your name").fill("Nora Blum")
    return window


def empty(stage: Stage) -> Window:
    return stage.open().sign_in("nora")


def chats(stage: Stage) -> Window:
    return stage.open().sign_in()


def chat(stage: Stage) -> Window:
    return chats(stage).open_chat("mira")


def right_to_left(stage: Stage) -> Window:
    return stage.open(locale="ar").sign_in().open_chat("leila")


def offline(stage: Stage) -> Window:
    window = chat(stage)
    window.page.context.set_offline(True)
    window.page.get_by_text("Reconnecting").wait_for()
    return window.write("This one is sent when the connection is back")


def settings(stage: Stage) -> Window:
    return chat(stage).click("Menu").click("Settings", "menuitem")


def notification(stage: Stage) -> Window:
    window = chats(stage).open_chat("tomasz").write("Thank you")
    window.page.get_by_text("Get a notification").wait_for()
    return window


def phone(stage: Stage) -> Window:
    return stage.open(PHONE, has_touch=True, is_mobile=True).sign_in().open_chat("mira")


def dark(stage: Stage) -> Window:
    return stage.open(color_scheme="dark").sign_in().open_chat("mira")


def admin(stage: Stage) -> Window:
    subprocess.run([ROOKERY, "user", "admin", "ada"], env=stage.platform.environment, check=True)
    window = stage.open().sign_in()
    window.page.goto(f"{stage.platform.url}/admin")
    window.page.get_by_role("table").first.wait_for()
    return window


PICTURES = {
    "tour/01-sign-up": sign_up,
    "tour/02-empty": empty,
    "tour/03-chats": chats,
    "tour/04-chat": chat,
    "tour/05-right-to-left": right_to_left,
    "tour/06-offline": offline,
    "tour/07-settings": settings,
    "tour/08-notification": notification,
    "tour/09-phone": phone,
    "tour/10-dark": dark,
    "page": chat,
    "admin": admin,
}
"""By path below `docs/`, in this order: the admin's role comes last."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; all without a name")
    names = parser.parse_args().names or PICTURES
    with (
        TemporaryDirectory() as folder,
        running(Rookery(Path(folder) / "data")) as platform,
        sync_playwright() as playwright,
    ):
        trio.run(talk, platform.url)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name in names:
            PICTURES[name](Stage(browser, platform)).take(name)
        browser.close()


if __name__ == "__main__":
    main()
