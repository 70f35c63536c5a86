"""A link gets a preview on a real platform, which fetches the page by the test's server as its proxy."""

import trio

from rookery.client import Event, open_client
from tests.messaging.previews.conftest import PAGE, Server, response, server
from tests.messaging.previews.test_previews import png
from tests.waiting import until_read
from tools.launch.people import PASSWORD, PATIENCE, sign_up
from tools.launch.process import Rookery

__all__ = ["server"]

URL = "http://example.com/"


async def test_the_first_link_of_a_message_gets_a_preview(server: Server, own_rookery: Rookery) -> None:
    server.answers = {URL: response(PAGE), f"{URL}picture.png": response(png(300, 150), "image/png")}
    await trio.to_thread.run_sync(own_rookery.kill)
    own_rookery.environment["ROOKERY_PREVIEWS__PROXY"] = f"http://127.0.0.1:{server.port}"
    await trio.to_thread.run_sync(own_rookery.start)
    url = own_rookery.url
    ada, grace = [open_client(url, (await sign_up(url, name)).name, PASSWORD) for name in ("ada", "grace")]
    async with ada as sender, grace as reader:
        sent = await sender.send(reader.me.user_id, f"see {URL}")
        with trio.fail_after(PATIENCE):
            while not isinstance(event := await anext(reader.events()), Event):
                pass
        preview = event.change.previewed.preview
        assert (event.change.target_id, preview.url, preview.title) == (sent.event_id, URL, "Title")
        assert (preview.picture[8:12], preview.picture_width, preview.picture_height) == (b"WEBP", 240, 120)
        page = await until_read(
            lambda: reader.api.history(sent.chat_id, limit=1), lambda page: page.messages[0].changes
        )
        (message,) = page.messages
        assert [each.change.previewed.preview for each in message.changes] == [preview]
