"""The events that one client of a verification records."""

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from rookery.client import (
    Client,
    Connected,
    Disconnected,
    Event,
    Followed,
    Gap,
    ListChangesResponse,
    Message,
    Refused,
    Unreachable,
)
from rookery.client.events import EventQueue
from rookery.v1.archive_pb2 import ListChatsResponse
from rookery.v1.groups_pb2 import ROLE_MEMBER, Control, Member, Span
from rookery.verify.participant import Participant
from shared.contract.ids import first_id_at, wall_clock_ms

CHANNEL, ME, OTHER = "g-1", 7, 8


class Observer:
    """Ignores what is observed."""

    def accepted(self, sent: Any) -> None: ...

    def made(self, made: Any) -> None: ...

    def delivered(self, key: Any) -> None: ...


class FakeClient:
    """A client whose session has the events of the queue, and whose history has the messages of the channel."""

    def __init__(self) -> None:
        self.me = SimpleNamespace(user_id=ME)
        self.queue = EventQueue(wall_clock_ms)
        self.history: list[Message] = []
        self.api = self

    def events(self) -> EventQueue:
        return self.queue

    def follow(self, chat_ids: Any, open_chat_ids: Any) -> None: ...

    async def chats(self, **query: Any) -> ListChatsResponse:
        await trio.lowlevel.checkpoint()
        return ListChatsResponse(complete_up_to=first_id_at(wall_clock_ms()))

    async def changes(self, chat_id: str, *, after: int) -> ListChangesResponse:
        await trio.lowlevel.checkpoint()
        found = [Event(event_id=each.message_id, message=each) for each in self.history if each.message_id > after]
        return ListChangesResponse(events=found, complete_up_to=first_id_at(wall_clock_ms()))

    def post(self, sender_id: int, **fields: Any) -> Message:
        """A new message of the channel."""
        event_id = first_id_at(wall_clock_ms()) + len(self.history)
        message = Message(message_id=event_id, chat_id=CHANNEL, sender_id=sender_id, **fields)
        self.history.append(message)
        return message


@pytest.mark.usefixtures("wall_clock")
async def test_while_there_is_no_answer_one_reading_asks_for_all_openings_of_channels(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, participant, asked = FakeClient(), Participant(0, Observer()), []

    async def changes(chat_id: str, *, after: int) -> ListChangesResponse:
        asked.append(trio.current_time())
        raise Unreachable("no answer")

    monkeypatch.setattr(client, "changes", changes)
    nursery.start_soon(participant.listen, cast(Client, client))
    for _ in range(5):
        client.queue.put(Followed(wall_clock_ms(), (CHANNEL,), (CHANNEL,)), 0)
    await trio.sleep(60)
    assert len(asked) < 60


async def test_refusals_are_counted_by_their_code_and_their_message(nursery: trio.Nursery) -> None:
    participant = Participant(0, Observer())
    wait = "Try again in {} seconds."
    for message in ("History does not answer now.", wait.format(7), wait.format(11)):
        client = FakeClient()
        client.queue.fail(Refused("unavailable", message, retryable=True))
        await participant.listen(cast(Client, client))
    assert participant.refused == {
        "unavailable: History does not answer now.": 1,
        "unavailable: Try again in # seconds.": 2,
    }


@pytest.mark.usefixtures("wall_clock")
async def test_a_client_that_is_removed_before_it_follows_again_reads_what_was_sent_until_then(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client, participant = FakeClient(), Participant(0, Observer())
    participant.began_ms = wall_clock_ms()
    nursery.start_soon(participant.listen, cast(Client, client))
    spans = [Span(first=first_id_at(wall_clock_ms()))]
    added = Control(version=1, members=[Member(user_id=ME, role=ROLE_MEMBER, version=1, spans=spans)])
    added.settings.is_channel = True
    client.queue.put(client.post(OTHER, control=added), 0)
    client.queue.put(Followed(wall_clock_ms(), (CHANNEL,), (CHANNEL,)), 0)
    await trio.sleep(20)  # until all from before the Follow is read
    client.queue.put(Disconnected("killed"), 0)
    client.queue.put(Connected("s", 0), 0)
    missed = client.post(OTHER, client_message_id="missed")
    await trio.sleep(0.1)
    removed = Control(version=2, members=[Member(user_id=ME, version=2, former_role=ROLE_MEMBER)])
    client.queue.put(client.post(OTHER, control=removed), 0)
    await trio.sleep(20)
    assert missed.message_id in [each.copy.message_id for each in participant.deliveries]


@pytest.mark.usefixtures("wall_clock")
async def test_after_a_gap_the_session_must_have_the_events_of_an_open_channel_from_the_next_follow_on(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client, participant = FakeClient(), Participant(0, Observer())
    participant.began_ms, participant.opens_channels = wall_clock_ms(), True
    nursery.start_soon(participant.listen, cast(Client, client))
    spans = [Span(first=first_id_at(wall_clock_ms()))]
    added = Control(version=1, members=[Member(user_id=ME, role=ROLE_MEMBER, version=1, spans=spans)])
    added.settings.is_channel = True
    client.queue.put(client.post(OTHER, control=added), 0)
    assert participant.behind_until(CHANNEL) == -math.inf
    client.queue.put(Disconnected("killed"), 0)
    client.queue.put(Gap(at_ms=wall_clock_ms()), 0)
    await trio.sleep(20)
    assert participant.behind_until(CHANNEL) == math.inf
    client.post(OTHER, client_message_id="before the Follow")
    client.queue.put(Followed(wall_clock_ms(), (CHANNEL,), (CHANNEL,)), 0)
    await trio.sleep(20)
    assert participant.behind_until(CHANNEL) == trio.current_time() - 20
    client.post(OTHER, client_message_id="lost")
    await trio.sleep(20)
    await participant.read_rest(cast(Client, client))
    assert participant.read_at_end == {(OTHER, "lost")}
    assert [answer.is_last for answer in participant.answers][-1]
