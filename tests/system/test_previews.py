"""A link gets a preview on a real platform, which fetches the page by the test's server as its proxy."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from rookery.client import Client, Event, open_client
from rookery.v1.session_pb2 import LinkPreview
from shared.contract.chats import direct_chat_id
from tests.messaging.previews.conftest import PAGE, Server, response, server
from tests.messaging.previews.test_previewer import png
from tests.waiting import until_read
from tools.launch.people import PASSWORD, PATIENCE, sign_up
from tools.launch.process import Rookery, stop_all

__all__ = ["server"]

URL = "http://example.com/"

ATTEMPTS = 3
"""On a busy machine a worker may take longer than the seconds that it has."""


@pytest.fixture
async def rookery(server: Server, tmp_path: Path) -> AsyncIterator[Rookery]:
    """A platform whose proxy of previews is the test's server."""
    proxy = {"ROOKERY_PREVIEWS__PROXY": f"http://127.0.0.1:{server.port}"}
    rookery = Rookery(tmp_path / "data", settings=proxy)
    try:
        yield await trio.to_thread.run_sync(rookery.start)
    finally:
        stop_all([rookery])


async def preview_of(reader: Client, message_id: int) -> LinkPreview:
    """The preview of a message, empty if none comes."""
    with trio.move_on_after(PATIENCE):
        async for event in reader.events():
            if isinstance(event, Event) and event.change.target_id == message_id:
                return event.change.previewed.preview
    return LinkPreview()


async def test_the_first_link_of_a_message_gets_a_preview(server: Server, rookery: Rookery) -> None:
    links = [f"{URL}{attempt}" for attempt in range(ATTEMPTS)]
    server.answers = {link: response(PAGE) for link in links}
    server.answers[f"{URL}picture.png"] = response(png(300, 150), "image/png")
    url = rookery.url
    ada, grace = [open_client(url, (await sign_up(url, name)).name, PASSWORD) for name in ("ada", "grace")]
    async with ada as sender, grace as reader:
        chat_id = direct_chat_id(sender.me.user_id, reader.me.user_id)
        link, preview = "", LinkPreview()
        for link in links:
            sent = await sender.send(reader.me.user_id, f"see {link}")
            if (preview := await preview_of(reader, sent.event_id)).picture:
                break
        assert (preview.url, preview.title) == (link, "Title")
        assert (preview.picture[8:12], preview.picture_width, preview.picture_height) == (b"WEBP", 240, 120)
        page = await until_read(lambda: reader.api.history(chat_id, limit=1), lambda page: page.messages[0].changes)
        (message,) = page.messages
        assert [each.change.previewed.preview for each in message.changes] == [preview]
