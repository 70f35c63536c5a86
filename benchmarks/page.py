"""Measure the page in Chromium: its start on a slow line; CPU time per message and keystroke, elements, heap and lag.

    python -m benchmarks.page [start | MESSAGES ...]

It opens the page on a slow line, new and again: its modules, then their bundle, of which the rest is measured. For each
number of messages in the chat, 2,000 and 100,000 by default, it scrolls through all messages and returns to the newest
message. The server is a part of the page (`page.js`); CPU is the CPU time of the page's main thread.
"""

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from bff.site import Site
from tools.page.bundle import bundle

ROOT = Path(__file__).parent.parent
EVENTS = 200
"""Arriving messages and keystrokes of one measurement."""

BURST = (50, 60)
"""Messages a second, seconds."""

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


def mocks(messages: int) -> str:
    """The script that signs in and replaces the server, with this number of messages in the chat."""
    return f"{SIGN_IN}\n{(ROOT / 'benchmarks/page.js').read_text()}\nbench.count = {messages};"


def measure(browser: Browser, url: str, messages: int) -> None:
    """Print the figures for a chat with this number of messages."""
    context = browser.new_context(viewport={"width": 1200, "height": 760}, service_workers="block")
    page = context.new_page()
    page.add_init_script(mocks(messages))
    page.goto(f"{url}/#d-7-11")
    page.wait_for_selector("rookery-message")
    session = context.new_cdp_session(page)
    session.send("Performance.enable")
    page.evaluate("bench.scrollUp(Infinity)")
    page.get_by_role("button", name="Go to the newest message").click()
    page.wait_for_function("bench.newest() === bench.count - 1")
    idle = cpu_ms(page, session, "idle")
    arrival = cpu_ms(page, session, "arrivals")
    keystroke = cpu_ms(page, session, "keystrokes")
    lag = page.evaluate("([rate, seconds]) => bench.burst(rate, seconds)", BURST)
    elements = page.evaluate("document.querySelectorAll('*').length")
    session.send("HeapProfiler.collectGarbage")
    heap = metrics(session)["JSHeapUsedSize"] / 2**20
    print(f"{messages:,} messages: CPU {arrival:.1f} ms per arriving message, {keystroke:.1f} ms per keystroke,")
    print(f"  {idle:.1f} ms per idle frame; {elements:,} elements, heap {heap:.1f} MiB;")
    print(f"  {BURST[0]} messages/s for {BURST[1]} s: {lag:.0f} ms late at most")
    context.close()


def main() -> None:
    """Serve the page, and measure it in Chromium."""
    words = sys.argv[1:]
    counts = [] if words == ["start"] else [int(each) for each in words] or [2_000, 100_000]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        bundle(Path(folder) / "page")
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        with serving(ROOT / "web") as url:
            measure_start(browser, url, "modules")
        with serving(Path(folder) / "page") as url:
            measure_start(browser, url, "bundle")
            for messages in counts:
                measure(browser, url, messages)
        browser.close()


if __name__ == "__main__":
    main()
