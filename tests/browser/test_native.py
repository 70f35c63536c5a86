"""Two browsers and a native program, with the public Python client, chat with each other."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio
from playwright.sync_api import expect

from rookery.client import Message, open_client
from tests.browser.conftest import Account, Platform, Seats
from tools.launch.people import PASSWORD, PATIENCE

QUESTION = "Is anyone there?"
THUMB = "\N{THUMBS UP SIGN}"


async def answer_question(platform: Platform, person: Account, listening: Callable[[], None]) -> None:
    """Sign in, call back once listening, react to the QUESTION when it comes, and answer it."""
    async with open_client(platform.url, person.name, PASSWORD) as client:
        listening()
        async for event in client.events():
            if isinstance(event, Message) and event.text.body == QUESTION:
                await client.react(event.chat_id, event.message_id, THUMB)
                await client.send(event.chat_id, f"Heard: {event.text.body}")
                return


@pytest.mark.slow
def test_two_browsers_and_a_native_program_chat(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    """Mira has a page and a native program; both and Ada's page show each message."""
    platform.send(ada, ada.chat_with(mira), "Good morning")  # may be replayed to the program
    at_ada, at_mira = (
        seats(platform, ada, chat="Mira Okafor"),
        seats(platform, mira, size="phone", chat="Ada Lindqvist"),
    )

    listening = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(trio.run, answer_question, platform, mira, listening.set)
        assert listening.wait(PATIENCE)
        at_ada.write(QUESTION)
        done.result(PATIENCE)
    for page in (at_ada, at_mira):
        expect(page.message(f"Heard: {QUESTION}")).to_be_visible()
        expect(page.messages.filter(has_text=QUESTION).first.get_by_role("button", name=THUMB)).to_be_visible()
    at_mira.write("And from the page")
    expect(at_ada.message("And from the page")).to_be_visible()
