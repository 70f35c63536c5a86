"""The budgets of the page, with the server of its benchmark: rows and elements are counted, CPU time is measured."""

import pytest
from playwright.sync_api import Browser, CDPSession, Page

from benchmarks.page import ROOT, SIGN_IN, metrics
from tests.browser.conftest import Platform

ELEMENTS, ROWS = 4_000, 200
CPU_MS = 8
"""Of the page's main thread, per arriving message and per keystroke."""

SCREENS = 70
"""Enough to load two thousand messages, which is as many as the page keeps."""

EVENTS, ROUNDS = 20, 3


def least_cpu_ms(page: Page, session: CDPSession, work: str) -> float:
    """CPU time per event in the best of some rounds: other programs on a busy machine only add to it."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = metrics(session)["ThreadTime"]
        page.evaluate(f"bench.{work}({EVENTS})")
        best = min(best, (metrics(session)["ThreadTime"] - before) * 1000 / EVENTS)
    return best


@pytest.mark.parametrize("messages", [2_000, 100_000])
def test_the_page_costs_the_same_whatever_is_loaded(platform: Platform, chromium: Browser, messages: int) -> None:
    with chromium.new_context(viewport={"width": 1200, "height": 760}, bypass_csp=True) as context:
        page = context.new_page()
        page.add_init_script(f"{SIGN_IN}\n{(ROOT / 'benchmarks/page.js').read_text()}\nbench.count = {messages};")
        page.goto(f"{platform.url}/#d-7-11")
        page.wait_for_selector("rookery-message")
        rows, elements = page.evaluate(f"bench.scrollUp({SCREENS})")
        assert rows <= ROWS
        assert elements <= ELEMENTS
        page.get_by_role("button", name="Go to the newest message").click()
        page.wait_for_function("bench.newest() === bench.count - 1")
        session = context.new_cdp_session(page)
        session.send("Performance.enable")
        assert least_cpu_ms(page, session, "arrivals") <= CPU_MS
        assert least_cpu_ms(page, session, "keystrokes") <= CPU_MS
