"""Measure the page in Chromium: its start on a slow line; CPU time per message and keystroke, elements, heap, lag and
frames; the time until an attached picture is shown.

    python -m benchmarks.page [start | channel | preview | MESSAGES] ...

`start` opens the page on a slow line, new and again: its modules, then their bundle, of which the rest is measured. For
a number of messages in the chat, it scrolls through all messages and returns to the newest message; `channel` does so
in a channel with 5,000 messages of 30 senders. `preview` pastes pictures. Default: `start 2000 100000`. The server is a
part of the page (`page.js`); CPU is the CPU time of the page's main thread.
"""

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from bff.site import Site
from tools.page.bundle import bundle

ROOT = Path(__file__).parent.parent
EVENTS = 200
"""Arriving messages and keystrokes of one measurement."""

BURST = (50, 60)
"""Messages a second, seconds."""

DIRECT, CHANNEL = "d-7-11", "g-5"
"""The chats of the server of `page.js`."""

CHANNEL_MESSAGES = 5_000

PASTED = {"a screenshot, PNG": (1920, 1080, "image/png"), "a photo of 12 megapixels, JPEG": (4000, 3000, "image/jpeg")}
"""Width, height and media type of the pictures of which previews are measured."""

PASTES = 20
"""Pictures that are pasted after the first one, which loads the modules of files."""

SIGN_IN = """localStorage['rookery.sign-in'] = JSON.stringify({ access_token: 'a', refresh_token: 'r', stored_at_ms: 0,
  access_token_expires_at_ms: '9999999999999', user: { user_id: '11', name: 'ada', display_name: 'Ada' } });"""


SLOW_LINE = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
"""Milliseconds of a round trip, and bytes a second: 400 kbit/s."""

SLOWER = 4
"""The factor by which the CPU is slowed down on the slow line."""


SHOWN = """new MutationObserver((_, observer) => {
  if (!document.querySelector('SELECTOR')) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => (globalThis.shown_ms = performance.now())));
}).observe(document, { childList: true, subtree: true });"""
"""The script that notes when an element is painted, in milliseconds since the request for the page."""


class Pages(BaseHTTPRequestHandler):
    """The page as the BFF serves it to a browser, without its policy."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        """Send the file, or 404."""
        path = urlsplit(self.path).path
        file = self.site.find(path.removeprefix("/"))
        self.send_response(200 if file else 404)
        body = file.compressed if file else b""
        if file:
            self.send_header("Content-Type", file.media_type)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Cache-Control", "max-age=3600" if path.startswith("/assets/") else "no-cache")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def metrics(session: CDPSession) -> dict[str, float]:
    """Chromium's counters of the page: times in seconds, the heap in bytes."""
    return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}


def cpu_ms(page: Page, session: CDPSession, work: str, events: int = EVENTS) -> float:
    """Milliseconds of CPU per event of the work."""
    before = metrics(session)["ThreadTime"]
    page.evaluate(f"bench.{work}({events})")
    return (metrics(session)["ThreadTime"] - before) * 1000 / events


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """Serve the page in this folder during the block; yield its address."""
    handler = type("PagesOfFolder", (Pages,), {"site": Site(root)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def measure_start(browser: Browser, url: str, form: str) -> None:
    """Print the seconds until the sign-in can be filled in and the chats are shown, at the first visit and again."""
    for name, script, selector in (("sign-in", "", "input"), ("chats", mocks(2_000), "rookery-chat-row")):
        context = browser.new_context(viewport={"width": 390, "height": 780})
        page = context.new_page()
        page.add_init_script(script + SHOWN.replace("SELECTOR", selector))
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", SLOW_LINE)
        session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        for visit in ("first visit", "again"):
            page.goto(url, wait_until="networkidle")  # no look at the page before, which would take its time
            page.wait_for_function("globalThis.shown_ms")
            print(f"{form}, {name}, {visit}: {page.evaluate('shown_ms') / 1000:.1f} s on a slow line")
        context.close()


def mocks(messages: int, chat: str = DIRECT) -> str:
    """The script that signs in and replaces the server, with this number of messages in the chat."""
    server = (ROOT / "benchmarks/page.js").read_text()
    return f"{SIGN_IN}\n{server}\nObject.assign(bench, {{ count: {messages}, chat: '{chat}' }});"


@contextmanager
def opened(browser: Browser, url: str, messages: int, chat: str = DIRECT) -> Iterator[Page]:
    """Open the chat with this number of messages during the block."""
    context = browser.new_context(viewport={"width": 1200, "height": 760}, service_workers="block")
    page = context.new_page()
    page.add_init_script(mocks(messages, chat))
    page.goto(f"{url}/#{chat}")
    page.wait_for_selector("rookery-message")
    yield page
    context.close()


def measure(page: Page, what: str) -> None:
    """Print the figures for the open chat."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.evaluate("bench.scrollUp(Infinity)")
    page.get_by_role("button", name="Go to the newest message").click()
    page.wait_for_function("bench.newest() === bench.count - 1")
    idle = cpu_ms(page, session, "idle")
    arrival = cpu_ms(page, session, "arrivals")
    keystroke = cpu_ms(page, session, "keystrokes")
    lag, frame = page.evaluate("([rate, seconds]) => bench.burst(rate, seconds)", BURST)
    elements = page.evaluate("document.querySelectorAll('*').length")
    session.send("HeapProfiler.collectGarbage")
    heap = metrics(session)["JSHeapUsedSize"] / 2**20
    print(f"{what}: CPU {arrival:.1f} ms per arriving message, {keystroke:.1f} ms per keystroke,")
    print(f"  {idle:.1f} ms per idle frame; {elements:,} elements, heap {heap:.1f} MiB;")
    print(f"  {BURST[0]} messages/s for {BURST[1]} s: {lag:.0f} ms late at most, longest frame {frame:.0f} ms")


def measure_previews(page: Page) -> None:
    """Print the frames and milliseconds from the paste of a picture until its preview is painted."""
    for what, picture in PASTED.items():
        page.evaluate("(picture) => bench.picture(...picture)", picture)
        first, *others = (page.evaluate("bench.preview()") for _ in range(PASTES + 1))
        frames, times = zip(*others, strict=True)
        print(f"{what}: {median(frames):.0f} frames, {median(times):.0f} ms (medians);")
        print(
            f"  at most {max(frames)} frames, {max(times):.0f} ms; the first one {first[0]} frames, {first[1]:.0f} ms"
        )


def main() -> None:
    """Serve the page, and measure it in Chromium."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        bundle(Path(folder) / "page")
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        with serving(ROOT / "web") as modules, serving(Path(folder) / "page") as url:
            for word in sys.argv[1:] or ["start", "2000", "100000"]:
                match word:
                    case "start":
                        measure_start(browser, modules, "modules")
                        measure_start(browser, url, "bundle")
                    case "channel":
                        with opened(browser, url, CHANNEL_MESSAGES, CHANNEL) as page:
                            measure(page, f"a channel with {CHANNEL_MESSAGES:,} messages")
                    case "preview":
                        with opened(browser, url, 100) as page:
                            measure_previews(page)
                    case _:
                        with opened(browser, url, int(word)) as page:
                            measure(page, f"{int(word):,} messages")
        browser.close()


if __name__ == "__main__":
    main()
