"""Previews of links, from an accepted message to the sessions of both users."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from messaging.gateway.gateway import Gateway
from messaging.gateway.previews import AT_ONCE, MAX_PER_MINUTE
from rookery.v1.group_service_pb2 import ChangeSettings
from rookery.v1.session_pb2 import (
    Change,
    ClientFrame,
    Deleted,
    Edited,
    Event,
    LinkPreview,
    Previewed,
    Send,
    Text,
    WithoutPreviews,
)
from shared.configuration import LiveConfiguration
from shared.contract.errors import Code, Refusal
from shared.contract.ids import MAX_ID
from tests.messaging.gateway.harness import (
    ANN,
    BEN,
    CAT,
    Client,
    Crew,
    Platform,
    ScriptedLog,
    change_frame,
    text_frame,
)
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


async def next_preview(client: Client) -> Event:
    while not (event := (await client.until("event")).event).change.HasField("previewed"):
        pass
    return event


async def previewed(client: Client) -> tuple[int, str]:
    """The message and the title of the next preview."""
    change = (await next_preview(client)).change
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
        assert await previewed(ben) == (message_id, "Page 2")
        await ann.accepted(change_frame("d", message_id, previewed=Previewed()))
        assert await previewed(ben) == (message_id, "")
    assert previewer.fetched == [f"{LINK}/1", f"{LINK}/3"]


async def test_a_preview_that_was_taken_away_does_not_come_back_at_any_time(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer
) -> None:
    """By an edit that keeps the link: neither the tail nor a look-up of the client id, which finds some days in
    Cassandra, knows the preview any more. Another link gets one."""
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        message_id = (await ann.accepted(text_frame("a", body=LINK))).event_id
        made = await next_preview(ben)
        await ann.accepted(change_frame("b", message_id, previewed=Previewed()))
        record(platform, gateway, message_id, [made, await next_preview(ben)])
        await ann.accepted(change_frame("c", message_id, edited=Edited(text=Text(body=f"{LINK} again"))))
        await ann.accepted(change_frame("d", message_id, edited=Edited(text=Text(body=f"{LINK}/other"))))
        assert await previewed(ben) == (message_id, "Page 2")
    assert previewer.fetched == [LINK, f"{LINK}/other"]


def record(platform: Platform, gateway: Gateway, message_id: int, versions: list[Event]) -> None:
    """Have history and not the gateway know Ann's message, and these of its previews."""
    tail = gateway.partitions.tail_of(ANN)
    assert tail is not None
    assert gateway.previews is not None
    tail.evict(older_than_ms=MAX_ID, max_bytes=0)
    tail.complete_from = 0
    gateway.previews._taken.clear()
    platform.history.add(message_id, ANN)
    platform.history.versions[message_id, "previewed"] = versions


@pytest.mark.parametrize("is_recorded", [True, False])
async def test_a_link_that_is_edited_away_and_back_has_a_preview_again_unless_it_was_taken_away(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer, is_recorded: bool
) -> None:
    other = f"{LINK}/other"
    async with platform.sign_in(gateway, ANN) as ann:
        message_id = (await ann.accepted(text_frame("a", body=LINK))).event_id
        versions = [await next_preview(ann)]

        async def edit(client_id: str, body: str) -> None:
            await ann.accepted(change_frame(client_id, message_id, edited=Edited(text=Text(body=body))))

        async def preview_of_edit(client_id: str, url: str) -> None:
            if is_recorded:
                record(platform, gateway, message_id, versions)
            await edit(client_id, url)
            versions.append(await next_preview(ann))
            assert versions[-1].change.previewed.preview.url == url

        await preview_of_edit("b", other)
        await preview_of_edit("c", LINK)
        async with platform.sign_in(gateway, ANN) as phone:
            await phone.accepted(change_frame("d", message_id, previewed=Previewed()))
        versions.append(await next_preview(ann))
        await preview_of_edit("e", other)
        if is_recorded:
            record(platform, gateway, message_id, versions)
        await edit("f", LINK)
        await edit("g", f"{LINK}/last")
        assert (await next_preview(ann)).change.previewed.preview.url == f"{LINK}/last"
    assert previewer.fetched == [LINK, other, LINK, other, f"{LINK}/last"]


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


async def test_a_slow_preview_of_a_former_link_does_not_come_after_the_newer_one(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer
) -> None:
    slow, held = "https://slow.example", trio.Event()
    fetch = previewer.fetch

    async def fetch_slowly(url: str) -> LinkPreview | None:
        if url == slow:
            await held.wait()
        return await fetch(url)

    previewer.fetch = fetch_slowly  # type: ignore[method-assign]
    async with platform.sign_in(gateway, ANN) as ann:
        first = (await ann.accepted(text_frame("a", body=slow))).event_id
        await ann.accepted(change_frame("b", first, edited=Edited(text=Text(body=LINK))))
        assert await previewed(ann) == (first, "Page 1")
        held.set()
        await wait_all_tasks_blocked(0.01)
        second = (await ann.accepted(text_frame("c", body=f"{LINK}/other"))).event_id
        assert (await previewed(ann))[0] == second
        assert slow not in [frame.event.change.previewed.preview.url for frame in ann.frames]


async def test_a_group_gets_its_preview_although_its_roster_was_dropped_meanwhile(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer
) -> None:
    crew = Crew(ANN, BEN)
    platform.history.groups[crew.chat_id] = crew.stored
    previewer.open = trio.Event()
    async with platform.sign_in(gateway, ANN) as ann:
        send = Send(client_message_id="a", chat_id=crew.chat_id, text=Text(body=LINK))
        sent = await ann.accepted(ClientFrame(send=send))
        await until(lambda: previewer.fetched)
        gateway.rosters.drop_unfollowed(())  # partitions have moved
        previewer.open.set()
        assert await previewed(ann) == (sent.event_id, "Page 1")


async def test_links_of_a_user_who_wants_no_previews_in_a_chat_are_not_fetched(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer
) -> None:
    """In messages and edits, until they want them again. Links of the other member, and in other chats, are."""
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.accepted(change_frame("a", without_previews=WithoutPreviews(set=True)))
        message_id = (await ann.accepted(text_frame("b", body=f"{LINK}/message"))).event_id
        await ann.accepted(change_frame("c", message_id, edited=Edited(text=Text(body=f"{LINK}/edit"))))
        await ann.accepted(text_frame("d", CAT, body=f"{LINK}/other"))
        await ben.accepted(text_frame("e", ANN, body=f"{LINK}/answer"))
        for title in ("Page 1", "Page 2"):
            assert (await previewed(ann))[1] == title
        await ann.accepted(change_frame("f", without_previews=WithoutPreviews()))
        message_id = (await ann.accepted(text_frame("g", body=f"{LINK}/again"))).event_id
        assert await previewed(ann) == (message_id, "Page 3")
    assert sorted(previewer.fetched[:2]) == [f"{LINK}/answer", f"{LINK}/other"]
    assert previewer.fetched[2:] == [f"{LINK}/again"]


async def test_the_next_gateway_knows_who_wants_no_previews(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer
) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.accepted(change_frame("a", without_previews=WithoutPreviews(set=True)))
    await gateway.drain()
    async with platform.sign_in(await platform.start_gateway(previewer=previewer), ANN) as ann:
        await ann.accepted(text_frame("b", body=LINK))
        message_id = (await ann.accepted(text_frame("c", CAT, body=f"{LINK}/other"))).event_id
        assert (await previewed(ann))[0] == message_id
    assert previewer.fetched == [f"{LINK}/other"]


async def test_who_wants_no_previews_is_known_before_the_gateway_has_read_it(
    platform: Platform, log: ScriptedLog, previewer: ScriptedPreviewer
) -> None:
    """The log acknowledges the changes, and its consumer gets no record."""
    gateway = await platform.start_gateway(previewer=previewer)
    async with platform.sign_in(gateway, ANN) as ann:
        for number, is_set in enumerate((True, False)):
            change = change_frame(f"change {number}", without_previews=WithoutPreviews(set=is_set))
            for frame in (change, text_frame(f"text {number}", body=f"{LINK}/{is_set}")):
                await ann.send(frame)
                await log.until_published()
                log.acknowledge()
                await ann.until("accepted")
        await until(lambda: previewer.fetched != [])
    assert previewer.fetched == [f"{LINK}/False"]


@pytest.mark.parametrize("is_set", [True, False])
async def test_who_wanted_no_previews_before_the_tail_begins_is_read_from_history(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer, is_set: bool
) -> None:
    change = Change(without_previews=WithoutPreviews(set=is_set))
    platform.history.own_changes["without_previews"] = Event(event_id=5, change=change)
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.accepted(text_frame("a", body="without a link"))
        await ann.accepted(text_frame("b", body=LINK))
        await wait_all_tasks_blocked(0.01)
    assert platform.history.own_finds == 1
    assert previewer.fetched == ([] if is_set else [LINK])


@pytest.mark.parametrize("is_away", [True, False])
async def test_no_page_is_fetched_while_history_does_not_tell_whether_the_sender_wants_it(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer, is_away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive is away, or has not recorded the changes that the tail has forgotten."""
    assert gateway.previews is not None
    is_without, answers = gateway.previews._is_without, list[bool]()

    async def ask(user_id: int, chat_id: str) -> bool:
        answers.append(await is_without(user_id, chat_id))
        return answers[-1]

    monkeypatch.setattr(gateway.previews, "_is_without", ask)
    async with platform.sign_in(gateway, ANN) as ann:
        tail = gateway.partitions.tail_of(ANN)
        assert tail is not None
        if is_away:
            platform.history.refusal = Refusal(Code.UNAVAILABLE, "away")
        else:
            tail.complete_from = MAX_ID
        await ann.accepted(text_frame("a", body=LINK))
        await until(lambda: answers)  # a thread reads the log
        assert answers == [True]
        platform.history.refusal, tail.complete_from = None, 0
        await ann.accepted(text_frame("b", body=f"{LINK}/again"))
        assert (await previewed(ann))[1] == "Page 1"
    assert previewer.fetched == [f"{LINK}/again"]


async def test_a_user_s_links_are_fetched_a_few_at_once_and_not_more_than_the_rate(
    platform: Platform, gateway: Gateway, previewer: ScriptedPreviewer, mock_clock: MockClock
) -> None:
    """Also around the end of a minute. The clock stands still."""
    previewer.open = trio.Event()
    mock_clock.jump(59 - mock_clock.current_time() % 60)
    async with platform.sign_in(gateway, ANN) as ann:
        for number in range(MAX_PER_MINUTE + 5):
            await ann.accepted(text_frame(str(number), body=f"{LINK}/{number}"))
        while len(previewer.fetched) < AT_ONCE:
            await wait_all_tasks_blocked(0.01)
        previewer.open.set()
        for _ in range(MAX_PER_MINUTE):
            await previewed(ann)
        await wait_all_tasks_blocked(0.01)
        assert len(previewer.fetched) == MAX_PER_MINUTE
        mock_clock.jump(60 / MAX_PER_MINUTE)
        for number in range(100, 105):
            await ann.accepted(text_frame(str(number), body=f"{LINK}/{number}"))
        while len(previewer.fetched) == MAX_PER_MINUTE:
            await wait_all_tasks_blocked(0.01)
        await wait_all_tasks_blocked(0.01)
        assert len(previewer.fetched) == MAX_PER_MINUTE + 1
