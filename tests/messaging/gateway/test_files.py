"""Messages with files, from a session to the sessions of both users."""

import pytest

from messaging.gateway import access
from messaging.gateway.gateway import Gateway
from rookery.v1.archive_pb2 import FILE_STATE_BLOCKED, FILE_STATE_UPLOADING, FileState, GetMessageResponse
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.session_pb2 import ClientFrame, Deleted, Edited, Event, Send, Text
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
    file_frame,
    text_frame,
)

OWN, OTHER = FileRef(file_id=5), FileRef(file_id=6)


@pytest.fixture
def files(platform: Platform) -> list[FileInfo]:
    return [platform.history.add_file(each.file_id) for each in (OWN, OTHER)]


async def event_of(client: Client) -> Event:
    return (await client.until("event")).event


async def test_a_message_carries_its_files_to_live_sessions_and_replays(
    platform: Platform, gateway: Gateway, files: list[FileInfo]
) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        for frame in (file_frame("a", OTHER, OWN), text_frame("b")):
            frame.first_sent_ms_ago = 0
            await ann.accepted(frame)
        live = (await event_of(ben)).message
    assert (list(live.files), live.HasField("text"), live.text.body) == (files[::-1], True, "")
    assert platform.history.finds == 1, "a message without files needs no look-up"
    async with platform.sign_in(gateway, BEN) as ben:
        assert (await event_of(ben)).message == live


@pytest.mark.parametrize("forwards", [True, False])
async def test_a_deletion_removes_the_files_from_replays_and_ends_forwards(
    platform: Platform, gateway: Gateway, files: list[FileInfo], forwards: bool
) -> None:
    """The message is in the tail only: before the deletion its files can be forwarded, by both users."""
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        first = await ann.accepted(file_frame("a", OWN, OTHER))
        await event_of(ben)
        platform.history.files.clear()
        refs = [FileRef(file_id=file.file_id, chat_id=first.chat_id, message_id=first.event_id) for file in files]
        if forwards:
            for client in (ann, ben):
                await client.accepted(file_frame("f", refs[1], body="look", to=CAT))
        await ann.accepted(change_frame("d", first.event_id, deleted=Deleted()))
        await event_of(ben)
        refused = await ben.refused(file_frame("g", refs[1], to=CAT))
        assert (refused.code, refused.field) == ("not_found", "send.files[0]")
    async with platform.sign_in(gateway, BEN) as ben, platform.sign_in(gateway, CAT) as cat:
        stub = (await event_of(ben)).message
        assert (stub.message_id, stub.HasField("text"), list(stub.files)) == (first.event_id, False, [])
        for _ in range(2 * forwards):
            assert list((await event_of(cat)).message.files) == files[1:]


async def test_a_file_is_not_forwarded_if_history_has_the_deletion_that_the_tail_lacks(
    platform: Platform, gateway: Gateway, files: list[FileInfo]
) -> None:
    """As of a former member: deletions do not reach partitions in which a group has no member."""
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        first = await ann.accepted(file_frame("a", OWN))
        await event_of(ben)
        platform.history.files.clear()
        platform.history.add(first.event_id, ANN, deleted=Deleted())
        ref = FileRef(file_id=OWN.file_id, chat_id=first.chat_id, message_id=first.event_id)
        assert (await ben.refused(file_frame("f", ref, to=CAT))).code == "not_found"


async def test_an_accepted_message_s_file_is_forwarded_before_the_message_is_read(
    platform: Platform, log: ScriptedLog, files: list[FileInfo]
) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send(file_frame("a", OWN))
        await log.until_published()
        log.acknowledge()
        first = (await ann.expect("accepted")).accepted
        platform.history.files.clear()
        ref = FileRef(file_id=OWN.file_id, chat_id=first.chat_id, message_id=first.event_id)
        await ann.send(file_frame("f", ref, to=CAT))
        await log.until_published()
        log.acknowledge()
        await ann.expect("accepted")


async def test_a_file_of_a_channel_s_message_is_forwarded_by_its_members_before_it_is_recorded(
    platform: Platform, gateway: Gateway, files: list[FileInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "JOIN_SECONDS", 0.05)
    crew = Crew(ANN, BEN, is_channel=True)
    platform.history.groups[crew.chat_id] = crew.stored
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        send = Send(client_message_id="a", chat_id=crew.chat_id, files=[OWN])
        message_id = (await ann.accepted(ClientFrame(send=send))).event_id
        await ann.accepted(text_frame("b"))
        await event_of(ben)
        platform.history.files.clear()
        ref = FileRef(file_id=OWN.file_id, chat_id=crew.chat_id, message_id=message_id)
        await ben.accepted(file_frame("c", ref, to=ANN))
        assert list((await event_of(ann)).message.files) == files[:1]
        async with platform.sign_in(gateway, CAT) as cat:
            assert (await cat.refused(file_frame("d", ref))).code == "not_found"


async def test_a_user_names_few_groups_that_were_never_theirs_in_references_to_files(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a group that does not exist, or of other users; the archive answers nothing about their messages. One that
    was the user's is no such group."""
    crew, left = Crew(BEN, CAT), Crew(BEN, ANN, number=8)
    left.remove(2, ANN)
    for each in (crew, left):
        platform.history.groups[each.chat_id] = each.stored
    find_message = platform.history.find_message

    async def find_own(user_id: int, chat_id: str, message_id: int) -> GetMessageResponse | Refusal:
        is_own = chat_id == left.chat_id
        found = await find_message(user_id, chat_id, message_id)
        return found if is_own else Refusal(Code.UNAVAILABLE, "History does not answer now.", retry_after_ms=1_000)

    monkeypatch.setattr(platform.history, "find_message", find_own)
    monkeypatch.setattr(access, "JOIN_SECONDS", 0.05)
    gateway = await platform.start_gateway(LiveConfiguration(unknown_chats_per_minute=2))
    async with platform.sign_in(gateway, ANN) as ann:
        for chat_id, code in (
            (left.chat_id, Code.NOT_FOUND),
            (crew.chat_id, Code.NOT_FOUND),
            ("g-101", Code.NOT_FOUND),
            (crew.chat_id, Code.RATE_LIMITED),
        ):
            refused = await ann.refused(file_frame("a", FileRef(file_id=8, chat_id=chat_id, message_id=9)))
            assert refused.code == code, chat_id
            assert refused.field == ("send.files[0]" if code is Code.NOT_FOUND else "")


@pytest.mark.parametrize("state", [FILE_STATE_UPLOADING, FILE_STATE_BLOCKED, None])
async def test_only_complete_files_that_the_user_may_read_are_sent(
    platform: Platform, gateway: Gateway, files: list[FileInfo], state: FileState | None
) -> None:
    if state is None:
        del platform.history.files[OTHER.file_id]
    else:
        platform.history.files[OTHER.file_id].state = state
    async with platform.sign_in(gateway, ANN) as ann:
        refused = await ann.refused(file_frame("a", OWN, OTHER, body="text"))
        assert (refused.code, refused.field) == ("not_found" if state is None else "invalid", "send.files[1]")
        assert not refused.retryable
        await ann.accepted(file_frame("b", OWN))


async def test_a_file_is_refused_for_now_if_the_archive_is_away_or_behind(
    platform: Platform, gateway: Gateway, files: list[FileInfo]
) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        platform.history.complete_up_to = 0
        behind = file_frame("a", FileRef(file_id=8, chat_id="d-1-2", message_id=9))
        assert (await ann.refused(behind)).retryable
        platform.history.complete_up_to = MAX_ID
        assert (await ann.refused(behind)).code == "not_found"
        platform.history.refusal = Refusal(Code.UNAVAILABLE, "away", retry_after_ms=500)
        refused = await ann.refused(file_frame("b", OWN))
        assert (refused.code, refused.retryable, refused.retry_after_ms) == ("unavailable", True, 500)
        platform.history.refusal = None
        await ann.accepted(file_frame("b", OWN))


async def test_only_a_message_with_files_can_be_edited_to_an_empty_text(
    platform: Platform, gateway: Gateway, files: list[FileInfo]
) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        with_file = (await ann.accepted(file_frame("a", OWN, body="caption"))).event_id
        without = (await ann.accepted(text_frame("b"))).event_id
        refused = await ann.refused(change_frame("d", without, edited=Edited(text=Text())))
        assert (refused.code, refused.field) == ("invalid", "change.edited.text.body")
        await ann.accepted(change_frame("e", with_file, edited=Edited(text=Text())))
