"""Drives Firefox over WebDriver BiDi, which Debian's Firefox speaks by itself: a window per user, and its problems."""

import itertools
import json
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import trio
import trio_websocket

FIREFOX = Path(os.environ.get("FIREFOX", "/usr/bin/firefox-esr"))

PATIENCE = 60.0
"""Seconds for a step; only ends a test that has failed."""

LISTENS = re.compile(r"WebDriver BiDi listening on (ws://\S+)")

PREFERENCES = {
    "browser.download.folderList": 2,  # that of `browser.download.dir`
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
}
"""Downloads go to a folder, and a microphone without a device is used without a question."""

KEYS = {"Enter": "\ue007", "ArrowUp": "\ue013", "Escape": "\ue00c"}
"""The key codes of WebDriver."""

FIND = """([role, name]) => {
  const roles = {button: "button, [role=button], [role=option]", textbox: "input, textarea, [role=textbox]"};
  const labels = (node) => [...(node.labels ?? [])].map((each) => each.textContent).join(" ");
  const nameOf = (node) =>
    node.getAttribute("aria-label") || labels(node) || node.placeholder || node.title || node.textContent;
  const top = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document;
  const shown = [...top.querySelectorAll(roles[role])].filter((node) => node.checkVisibility());
  return shown.find((node) => nameOf(node).includes(name)) ?? null;
}"""
"""The first visible element of a role whose name contains a text, in the open dialog if there is one."""


class Refused(AssertionError):
    """Firefox refused a command."""


IS_STILL = """(element) => new Promise((resolve) => {
  const place = () => JSON.stringify(element.getBoundingClientRect());
  const before = place();
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(place() === before)));
})"""
"""Whether an element stays in its place for two frames: a list that grows moves it away from the pointer."""


class Window:
    """A window with its own storage. Every step waits until it can be done."""

    def __init__(self, browser: "Firefox", context: str) -> None:
        self._browser = browser
        self._context = context

    async def open(self, url: str) -> None:
        await self._send("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, function: str, *arguments: object) -> dict[str, Any]:
        """Call a function of the page; return the remote value of its result."""
        answer = await self._send(
            "script.callFunction",
            functionDeclaration=function,
            arguments=[_local(each) for each in arguments],
            target={"context": self._context},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer
        value: dict[str, Any] = answer["result"]
        return value

    async def until(self, function: str, *arguments: object) -> dict[str, Any]:
        """Call a function of the page until it returns a true value; return that."""
        deadline = trio.current_time() + PATIENCE
        while True:
            value = await self.evaluate(function, *arguments)
            if value["type"] not in ("null", "undefined") and value.get("value", True):
                return value
            if trio.current_time() > deadline:
                page = await self.evaluate("() => document.body.innerText")
                raise AssertionError(f"{arguments or function} did not come: {page.get('value')}")
            await trio.sleep(0.05)

    async def until_shown(self, text: str) -> None:
        """Wait until the page shows a text."""
        await self.until("(text) => document.body.innerText.includes(text)", text)

    async def click(self, role: str, name: str) -> None:
        """Scroll to the element, if it is out of view, and click with the mouse."""
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        with trio.fail_after(PATIENCE):
            while True:
                element = await self._find(role, name)
                move = {"type": "pointerMove", "x": 0, "y": 0, "origin": {"type": "element", "element": element}}
                with suppress(Refused):  # the page has drawn another one in its place: nothing is clicked yet
                    await self.evaluate("(element) => element.scrollIntoView({ block: 'nearest' })", element)
                    await self._activate()  # others draw no frames
                    await self.until(IS_STILL, element)
                    return await self._act({"type": "pointer", "id": "mouse", "actions": [move, *press]})

    async def type(self, name: str, *keys: str) -> None:
        """Focus a field, and type texts or keys of KEYS."""
        await self.evaluate("(field) => field.focus()", await self._find("textbox", name))
        await self.press(*keys)

    async def press(self, *keys: str) -> None:
        """Type texts or keys of KEYS where the focus is."""
        codes = [code for key in keys for code in ([KEYS[key]] if key in KEYS else key)]
        strokes = [{"type": kind, "value": code} for code in codes for kind in ("keyDown", "keyUp")]
        await self._act({"type": "key", "id": "keyboard", "actions": strokes})

    async def attach(self, selector: str, *paths: Path) -> None:
        """Choose files in an input of the page, shown or not."""
        field = await self.until("(selector) => document.querySelector(selector)", selector)
        element, files = {"sharedId": field["sharedId"]}, [str(path) for path in paths]
        await self._send("input.setFiles", context=self._context, element=element, files=files)

    async def _find(self, role: str, name: str) -> dict[str, Any]:
        return {"sharedId": (await self.until(FIND, [role, name]))["sharedId"]}

    async def _activate(self) -> None:
        await self._send("browsingContext.activate", context=self._context)

    async def _act(self, source: Mapping[str, object]) -> None:
        """Do as a person does in the window: in the active one, since buttons of others ignore keys."""
        await self._activate()
        await self._send("input.performActions", context=self._context, actions=[source])

    async def _send(self, method: str, **parameters: object) -> dict[str, Any]:
        return await self._browser.send(method, **parameters)


class Firefox:
    """A session with a running Firefox."""

    def __init__(self, socket: trio_websocket.WebSocketConnection, downloads: Path) -> None:
        self._socket = socket
        self._downloads = downloads
        self._numbers = itertools.count(1)
        self._answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self.problems: list[str] = []
        """Errors that pages reported."""

    async def receive(self) -> None:
        """Receive answers and reports, until cancelled."""
        while True:
            frame = json.loads(await self._socket.get_message())
            if "id" in frame:
                self._answers.pop(frame["id"]).send_nowait(frame)
            elif frame["params"].get("level") == "error":
                self.problems.append(str(frame["params"]["text"]))

    async def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command; return its result."""
        number = next(self._numbers)
        self._answers[number], answer = trio.open_memory_channel[dict[str, Any]](1)
        await self._socket.send_message(json.dumps({"id": number, "method": method, "params": parameters}))
        with trio.fail_after(PATIENCE):
            frame = await answer.receive()
        if frame["type"] != "success":
            raise Refused(f"{method}: {frame.get('error')}: {frame.get('message')}")
        result: dict[str, Any] = frame["result"]
        return result

    async def downloaded(self, name: str) -> bytes:
        """Wait until a download is complete; return its bytes. Until then it has none under its name."""
        path = self._downloads / name
        with trio.fail_after(PATIENCE):
            while not (path.exists() and path.stat().st_size):
                await trio.sleep(0.05)
        return path.read_bytes()

    async def window(self) -> Window:
        """Open a window with its own storage."""
        user = (await self.send("browser.createUserContext"))["userContext"]
        created = await self.send("browsingContext.create", type="window", userContext=user)
        return Window(self, created["context"])


@asynccontextmanager
async def open_firefox(profile: Path) -> AsyncIterator[Firefox]:
    """Start a Firefox of its own, without a screen, and connect to it."""
    downloads = profile / "downloads"
    with _process(profile, downloads) as url:
        async with trio_websocket.open_websocket_url(f"{url}/session") as socket, trio.open_nursery() as nursery:
            browser = Firefox(socket, downloads)
            nursery.start_soon(browser.receive)
            await browser.send("session.new", capabilities={})
            await browser.send("session.subscribe", events=["log.entryAdded"])
            yield browser
            nursery.cancel_scope.cancel()


@contextmanager
def _process(profile: Path, downloads: Path) -> Iterator[str]:
    """A running Firefox; yields the address at which it listens."""
    downloads.mkdir(parents=True)
    preferences = PREFERENCES | {"browser.download.dir": str(downloads)}
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items())
    (profile / "user.js").write_text("".join(lines))
    log = profile / "log"
    command = [str(FIREFOX), "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not (found := LISTENS.search(log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield found[1]
        finally:
            process.terminate()


def _local(value: object) -> object:
    """The local value of an argument: an element, a list or a text."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return {"type": "array", "value": [_local(each) for each in value]}
    return {"type": "string", "value": value}
