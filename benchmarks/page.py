"""Measure the page in Chromium: CPU time per arriving message and per keystroke, elements, heap and lag.

    python benchmarks/page.py [MESSAGES ...]

For each number of messages in the chat, 2,000 and 100,000 unless others are given, it scrolls through all of them and
returns to the newest. The server is a part of the page (`page.js`); CPU is that of the page's main thread.
"""

import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

ROOT = Path(__file__).parent.parent
EVENTS = 200
"""Arriving messages and keystrokes of one measurement."""

BURST = (50, 60)
"""Messages a second, seconds."""

SIGN_IN = """localStorage['rookery.sign-in'] = JSON.stringify({ access_token: 'a', refresh_token: 'r', stored_at_ms: 0,
  access_token_expires_at_ms: '9999999999999', user: { user_id: '11', name: 'ada', display_name: 'Ada' } });"""


class Quiet(SimpleHTTPRequestHandler):
    """A server of files without a log."""

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def metrics(session: CDPSession) -> dict[str, float]:
    """Chromium's counters of the page: times in seconds, the heap in bytes."""
    return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}


def cpu_ms(page: Page, session: CDPSession, work: str) -> float:
    """Milliseconds of CPU per event of the work."""
    before = metrics(session)["ThreadTime"]
    page.evaluate(f"bench.{work}({EVENTS})")
    return (metrics(session)["ThreadTime"] - before) * 1000 / EVENTS


def measure(browser: Browser, url: str, messages: int) -> None:
    """Print the figures for a chat with this number of messages."""
    context = browser.new_context(viewport={"width": 1200, "height": 760})
    page = context.new_page()
    page.add_init_script(f"{SIGN_IN}\n{(ROOT / 'benchmarks/page.js').read_text()}\nbench.count = {messages};")
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
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(ROOT / "web")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        for messages in [int(each) for each in sys.argv[1:]] or [2_000, 100_000]:
            measure(browser, f"http://127.0.0.1:{server.server_port}", messages)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
