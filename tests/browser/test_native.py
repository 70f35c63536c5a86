"""Two browsers and a native program chat with each other: the public Python client, and a stock grpcio client."""

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from playwright.sync_api import expect

from rookery.client import Message, open_client
from rookery.v1.session_pb2 import React
from tests.system.sessions import Session, connect_stock, make_stubs
from tools.launch.people import PASSWORD, PATIENCE

if TYPE_CHECKING:
    from tests.browser.conftest import Account, Platform, Seats

QUESTION = "Is anyone there?"
THUMB = "\N{THUMBS UP SIGN}"

Program = Callable[["Platform", "Account", Callable[[], None]], Awaitable[None]]
"""Signs in, calls back when it listens, likes the QUESTION when it comes, and answers it."""


async def python_client(platform: "Platform", person: "Account", listening: Callable[[], None]) -> None:
    async with open_client(platform.url, person.name, PASSWORD) as client:
        listening()
        async for event in client.events():
            if isinstance(event, Message) and event.text.body == QUESTION:
                await client.react(event.chat_id, event.message_id, THUMB)
                await client.send(event.chat_id, f"Heard: {event.text.body}")
                return


async def stock_client(platform: "Platform", person: "Account", listening: Callable[[], None], *, stubs: Path) -> None:
    async with connect_stock(platform.grpc, stubs) as stream:
        session = Session(stream)
        await session.authenticate(person.access_token)
        listening()
        message = (await session.next_where(lambda frame: frame.event.message.text.body == QUESTION)).event.message
        await session.say(react=React(chat_id=message.chat_id, message_id=message.message_id, emoji=THUMB))
        await session.send_text(message.chat_id, f"Heard: {message.text.body}")


@pytest.mark.parametrize("kind", ["python", "stock"])
def test_two_browsers_and_a_native_program_chat(
    kind: str, platform: "Platform", seats: "Seats", ada: "Account", mira: "Account", tmp_path: Path
) -> None:
    """Mira has a page and a native program; what either sends, the other and Ada's page show."""
    program: Program = python_client if kind == "python" else partial(stock_client, stubs=make_stubs(tmp_path))
    platform.say(ada, ada.chat_with(mira), "Good morning")  # which may be replayed to the program
    at_ada, at_mira = seats(platform), seats(platform, "phone")
    at_ada.sign_in(ada)
    at_mira.sign_in(mira)
    at_ada.open_chat("Mira Okafor")
    at_mira.open_chat("Ada Lindqvist")

    listening = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(trio.run, program, platform, mira, listening.set)
        assert listening.wait(PATIENCE)
        at_ada.write(QUESTION)
        done.result(PATIENCE)
    for page in (at_ada, at_mira):
        expect(page.message(f"Heard: {QUESTION}")).to_be_visible()
        expect(page.messages.filter(has_text=QUESTION).first.get_by_role("button", name=THUMB)).to_be_visible()
    at_mira.write("And from the page")
    expect(at_ada.message("And from the page")).to_be_visible()
