"""The public Python client sends files to another one, over a real platform that is killed meanwhile."""

import secrets
from contextlib import AsyncExitStack
from io import BytesIO
from pathlib import Path

import pytest
import trio
from PIL import Image

from rookery.client import Client, FileInfo, FileRef, Message, Refused, open_client, refs_in
from tests.waiting import until_read
from tools.launch.people import PASSWORD, PATIENCE, sign_up
from tools.launch.process import Rookery

LARGE = secrets.token_bytes(20 << 20)
"""Three parts."""


def picture() -> bytes:
    """A picture whose metadata names its camera."""
    exif = Image.Exif()
    exif[0x0110] = "Camera 7"
    content = BytesIO()
    Image.effect_noise((1_000, 500), 50).convert("RGB").save(content, "JPEG", exif=exif)
    return content.getvalue()


async def next_message(client: Client) -> Message:
    with trio.fail_after(PATIENCE):
        async for event in client.events():
            if isinstance(event, Message):
                return event
    raise AssertionError("the events of a client have no end")


async def read(client: Client, file: FileRef | FileInfo, rendition: int = 0) -> bytes:
    with trio.fail_after(PATIENCE):
        async with client.files.download(file, rendition=rendition) as chunks:
            return b"".join([chunk async for chunk in chunks])


async def check_refused(client: Client, *files: FileRef) -> None:
    for file in files:
        with pytest.raises(Refused) as caught:
            await read(client, file)
        assert caught.value.code == "not_found"


@pytest.mark.slow
async def test_files_reach_the_members_of_a_chat_over_a_kill_and_nobody_after_their_deletion(
    own_rookery: Rookery, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        ada, grace, eve = [
            await stack.enter_async_context(
                open_client(own_rookery.url, (await sign_up(own_rookery.url, name)).name, PASSWORD)
            )
            for name in ("ada", "grace", "eve")
        ]
        path = tmp_path / "large"
        path.write_bytes(LARGE)
        killed = trio.Event()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def kill() -> None:
                await killed.wait()
                await trio.to_thread.run_sync(own_rookery.kill)
                await trio.to_thread.run_sync(own_rookery.start)

            large = await ada.files.upload(path, progress=lambda done: killed.set() if done > len(LARGE) // 2 else None)
        assert (large.name, large.size, large.media_type) == ("large", len(LARGE), "application/octet-stream")
        photo = await ada.files.upload(original := picture(), name="photo.jpg")
        assert (photo.width, photo.height, list(photo.thumbnails)) == (1_000, 500, [320, 800])
        sent = await ada.send(grace.me.user_id, files=[large, photo])
        received = await next_message(grace)
        assert (received.text.body, list(received.files)) == ("", [large, photo])
        refs = refs_in(received)
        await grace.files.save(refs[0], tmp_path / "saved")
        assert (tmp_path / "saved").read_bytes() == LARGE
        clean = await read(grace, refs[1])
        assert len(clean) == photo.size
        assert (b"Camera 7" in original, b"Camera 7" in clean) == (True, False)
        assert Image.open(BytesIO(await read(grace, refs[1], rendition=320))).size == (320, 160)
        await check_refused(eve, *refs, FileRef(file_id=large.file_id))

        await grace.send(eve.me.user_id, "look", files=refs[1:], forwarded=True)
        forwarded = await next_message(eve)
        assert await read(eve, refs_in(forwarded)[0]) == clean
        media = (await eve.files.of_chat(forwarded.chat_id, "media")).messages
        assert [list(item.message.files) for item in media] == [[photo]]

        own = await ada.api.set_avatar(original)
        assert own.avatar == (await eve.api.find_user(ada.me.name)).avatar != ""
        group = await ada.groups.create("Engines", [grace.me.user_id])
        avatar = await ada.api.upload_avatar(original, group.chat_id)
        changed = await ada.groups.change_settings(group.chat_id, avatar=avatar)
        assert changed.control.settings.avatar == avatar
        await until_read(lambda: grace.api.chat(group.chat_id), lambda chat: chat.settings.avatar == avatar)
        assert (await ada.api.set_avatar(b"")).avatar == ""

        await ada.delete(sent.chat_id, sent.event_id)
        await grace.delete(forwarded.chat_id, forwarded.message_id)
        with trio.fail_after(PATIENCE):
            while await grace.files.links(refs[:1]) != [None]:
                await trio.sleep(0.1)
        await check_refused(grace, *refs)
        await check_refused(eve, *refs_in(forwarded))
        assert await read(ada, photo) == clean
