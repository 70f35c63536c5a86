"""Take the pictures of `docs/`: the page in Chromium, with accounts and chats on a platform of its own.

    python -m tools.pictures [NAME ...]

The thirteen pictures of `docs/tour/`, `docs/page.png` and `docs/admin.png`, or the named pictures. A picture shows the
real page: the script clicks and types, and changes nothing in the page.
"""

import argparse
import io
import subprocess
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self

import trio
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Browser, Page, sync_playwright

from rookery.client import Client, Mention, open_api, open_client
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
    "tomasz": [
        ("ada", "Did the rollback work?"),
        ("tomasz", "Rolled back, everything is green"),
        ("tomasz", "From the roof, right after"),
    ],
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

REPLIES = {
    "Shipping it tonight then 🎉": "Then I will take the last gateway down during lunch. If nobody notices, we ship.",
    "Yes, on Thursday. It takes `20 minutes`": "@Hiro Tanaka can you swap it before that?",
}
"""The texts of messages that answer another one, with the other one's text."""

EDITS = {"Writing the release note now": "Writing the **release note** now"}
"""The texts of messages that are edited, with the new text."""

PHOTOS = {
    "From the roof, right after": [
        "#2b4a7a #f2a65a #26323f",
        "#7a3b69 #f7c59f #33273a",
        "#1f5f74 #e8d8a0 #23363a",
    ]
}
"""The texts of messages with photos: the colours of the sky above, of the sky below, and of the hills."""

GROUP = "Night shift"

GROUP_TALK = [
    ("mira", "Who is on call on Friday?"),
    ("jonas", "I am, from six. The gateway in Oslo is still on the old disk"),
    ("ada", "@Hiro Tanaka can you swap it before that?"),
    ("hiro", "Yes, on Thursday. It takes `20 minutes`"),
    ("mira", "Oslo: Thursday at 10:00, Hiro and me"),
]
"""The messages of a group that Ada has created, oldest first, each by one of its members."""

PINNED, STARRED = "Oslo: Thursday at 10:00, Hiro and me", "I am, from six. The gateway in Oslo is still on the old disk"
"""The texts of the message that is pinned in the group, and of the one that Ada has starred."""

UNREAD = "jonas"
"""The sender of the messages that Ada has not read."""

RECORD_SECONDS = 1.0
"""Seconds until the last marks are in the archive."""

SETTLE_MS = 700
"""Milliseconds until a page has loaded its pictures and ended its transitions."""


async def talk(url: str) -> None:
    """Create the accounts and the group, and send all messages. The others read; Jonas' last messages stay unread."""
    async with AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        for name, display_name in PEOPLE.items():
            async with open_api(url, name, PASSWORD) as api:
                await api.register(display_name)
            clients[name] = await stack.enter_async_context(open_client(url, name, PASSWORD))
        ada = clients["ada"]
        await talk_in_group(clients)
        for other, messages in TALKS.items():
            ids: dict[str, int] = {}
            for sender, text in messages:
                recipient = clients[other] if sender == "ada" else ada
                chat_id = await send_text(clients[sender], recipient.me.user_id, text, ids)
                if text == REACTED:
                    for each in ("mira", "ada"):
                        await clients[each].react(chat_id, ids[text], "🔥")
                clients[other].mark(chat_id, read_up_to=ids[text])
                if other != UNREAD:
                    ada.mark(chat_id, read_up_to=ids[text])
        await trio.sleep(RECORD_SECONDS)


async def talk_in_group(clients: dict[str, Client]) -> None:
    members = {sender: clients[sender] for sender, _ in GROUP_TALK}
    others = [client.me.user_id for name, client in members.items() if name != "ada"]
    created = await clients["ada"].groups.create(GROUP, others)
    ids: dict[str, int] = {}
    for sender, text in GROUP_TALK:
        mentioned = [Mention(user_id=client.me.user_id, name=PEOPLE[name]) for name, client in members.items()]
        mentions = [mention for mention in mentioned if f"@{mention.name}" in text]
        await send_text(members[sender], created.chat_id, text, ids, mentions)
    await clients["ada"].toggle(created.chat_id, ids[PINNED], "pinned")
    await clients["ada"].toggle(created.chat_id, ids[STARRED], "starred")
    for client in members.values():
        client.mark(created.chat_id, read_up_to=ids[GROUP_TALK[-1][1]])


async def send_text(
    sender: Client, to: int | str, text: str, ids: dict[str, int], mentions: Iterable[Mention] = ()
) -> str:
    """Send a message, and edit it, by REPLIES and EDITS. Add its id to `ids`, by text; return the chat's id."""
    photos = [draw(colours) for colours in PHOTOS.get(text, ())]
    files = [await sender.files.upload(photo, name=f"IMG_20{at}.jpg") for at, photo in enumerate(photos)]
    replied = ids.get(REPLIES.get(text, ""), 0)
    accepted = await sender.send(to, text, reply_to=replied, mentions=mentions, files=files)
    ids[text] = accepted.event_id
    if text in EDITS:
        await sender.edit(accepted.chat_id, accepted.event_id, EDITS[text])
    return accepted.chat_id


def draw(colours: str) -> bytes:
    """A photo of an evening, as a JPEG."""
    above, below, hills = colours.split()
    sky = Image.linear_gradient("L").resize((1200, 900))
    photo = Image.composite(Image.new("RGB", sky.size, below), Image.new("RGB", sky.size, above), sky)
    pen = ImageDraw.Draw(photo)
    pen.ellipse((760, 420, 900, 560), "#fff3d6")
    photo = photo.filter(ImageFilter.GaussianBlur(3))
    pen = ImageDraw.Draw(photo)
    for left, top, width in ((-300, 620, 900), (250, 560, 700), (600, 660, 900)):
        pen.ellipse((left, top, left + width, top + 900), hills)
    content = io.BytesIO()
    photo.save(content, "JPEG", quality=90)
    return content.getvalue()


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

    def open_chat(self, chat: str) -> Self:
        """Open the chat with a person, or a group."""
        self.page.get_by_role("navigation").get_by_role("button", name=PEOPLE.get(chat, chat)).first.click()
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


def group(stage: Stage) -> Window:
    return chats(stage).open_chat(GROUP)


def group_info(stage: Stage) -> Window:
    window = group(stage)
    window.page.get_by_title("Group info").click()
    window.page.get_by_role("dialog").get_by_text(PEOPLE["hiro"]).wait_for()
    return window


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


def photos(stage: Stage) -> Window:
    window = chats(stage).open_chat("tomasz")
    window.page.locator("img[src*='/files/']").nth(2).wait_for()
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
    "tour/11-group": group,
    "tour/12-group-info": group_info,
    "tour/13-photos": photos,
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
        running(Rookery(Path(folder) / "data", settings={"ROOKERY_KAFKA__INSTANCE": "laptop"})) as platform,
        sync_playwright() as playwright,
    ):
        trio.run(talk, platform.url)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name in names:
            PICTURES[name](Stage(browser, platform)).take(name)
        browser.close()


if __name__ == "__main__":
    main()
