"""Previews of links, from an accepted message to the sessions of both users."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from messaging.gateway.gateway import Gateway
from messaging.gateway.previews import AT_ONCE, MAX_PER_MINUTE
from rookery.v1.group_service_pb2 import ChangeSettings
from rookery.v1.session_pb2 import ClientFrame, Deleted, Edited, LinkPreview, Previewed, Send, Text
from shared.configuration import LiveConfiguration
from tests.messaging.gateway.harness import ANN, BEN, Client, Crew, Platform, change_frame, text_frame
from tests.waiting import until

LINK = "https://example.org"


class ScriptedPreviewer:
    """Fetches while it is `open`."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.open = trio.Event()
        self.open.set()

    async def fetch(self, url: str) -> LinkPreview | None:
        self.fetched.append(url)
        await self.open.wait()
        return None if url.endswith("/none") else LinkPreview(url=url, title=f"Page {len(self.fetched)}")


@pytest.fixture
def previewer() -> ScriptedPreviewer:
    return ScriptedPreviewer()


@pytest.fixture
async def gateway(platform: Platform, previewer: ScriptedPreviewer) -> Gateway:
    return await platform.start_gateway(previewer=previewer)


async def previewed(client: Client) -> tuple[int, str]:
    """The message and the title of the next preview."""
    while not (change := (await client.until("event")).event.change).HasField("previewed"):
        pass
    return change.target_id, change.previewed.preview.title


async def test_the_first_link_gets_one_preview_at_all_sessions_and_an_edit_another(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer
) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        first = text_frame("a", body=f"{LINK}/1 {LINK}/2")
        message_id = (await ann.accepted(first)).event_id
        for client in (ann, ben):
            assert await previewed(client) == (message_id, "Page 1")
        await ann.accepted(first)
        await ann.accepted(change_frame("b", message_id, edited=Edited(text=Text(body=f"{LINK}/1 again"))))
        await ann.accepted(change_frame("c", message_id, edited=Edited(text=Text(body=f"{LINK}/3"))))
        assert await previewed(ben) == (message_id, "Page 3")
        await ann.accepted(change_frame("d", message_id, previewed=Previewed()))
        assert await previewed(ben) == (message_id, "")
    assert previewer.fetched == [f"{LINK}/1", f"{LINK}/1", f"{LINK}/3"]


async def test_a_message_without_a_page_or_that_is_deleted_meanwhile_gets_no_preview(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer
) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.accepted(text_frame("a", body=f"{LINK}/none"))
        previewer.open = trio.Event()
        message_id = (await ann.accepted(text_frame("b", body=LINK))).event_id
        await ann.accepted(change_frame("c", message_id, deleted=Deleted()))
        previewer.open.set()
        last = (await ann.accepted(text_frame("d", body=f"{LINK}/last"))).event_id
        assert await previewed(ben) == (last, "Page 3")


@pytest.mark.parametrize("is_off", [True, False])
async def test_a_group_or_the_platform_can_be_without_previews(platform: Platform, is_off: bool) -> None:
    crew, previewer = Crew(ANN, BEN), ScriptedPreviewer()
    if not is_off:
        crew.change(5, change_settings=ChangeSettings(without_previews=True))
    platform.history.groups[crew.chat_id] = crew.stored
    configuration = LiveConfiguration(link_previews="off" if is_off else "on")
    gateway = await platform.start_gateway(configuration, previewer)
    async with platform.sign_in(gateway, ANN) as ann:
        send = Send(client_message_id="a", chat_id=crew.chat_id, text=Text(body=LINK))
        await ann.accepted(ClientFrame(send=send))
        await ann.accepted(text_frame("b", body=LINK))
        await wait_all_tasks_blocked(0.01)
    assert len(previewer.fetched) == (not is_off)


async def test_a_user_s_links_are_fetched_a_few_at_once_and_not_more_than_the_rate(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer
) -> None:
    previewer.open = trio.Event()
    async with platform.sign_in(gateway, ANN) as ann:
        for number in range(MAX_PER_MINUTE + 5):
            await ann.accepted(text_frame(str(number), body=f"{LINK}/{number}"))
        await until(lambda: len(previewer.fetched) == AT_ONCE)
        previewer.open.set()
        for _ in range(MAX_PER_MINUTE):
            await previewed(ann)
        await wait_all_tasks_blocked(0.01)
    assert len(previewer.fetched) == MAX_PER_MINUTE
