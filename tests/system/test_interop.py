"""A stock grpcio client, a WebSocket and the public Python client chat, each with each other."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Protocol, TypeVar

import httpx
import pytest
import trio

from rookery.client import Client, Gap, HistoryMessage, open_client
from rookery.v1 import session_pb2 as pb
from tests.system.sessions import Connect, Session, connect_stock, connect_websocket, open_session, open_sessions
from tools.launch.people import PASSWORD, PATIENCE, Person, open_http, read_history, sign_up
from tools.launch.process import POLL_SECONDS, Rookery

EMOJI = "\N{THUMBS UP SIGN}"

Received = TypeVar("Received", pb.Message, pb.Event)


class Chatter(Protocol):
    """A user with a client of any kind."""

    person: Person

    async def send(self, to: int, text: str) -> int:
        """Send to a user; return the message's id when it is accepted."""
        ...

    async def react(self, chat_id: str, message_id: int) -> None: ...

    async def mark_read(self, chat_id: str, message_id: int) -> None: ...

    async def receive(self, kind: type[Received]) -> Received:
        """The next message, or the next event of a change, from another user."""
        ...


class AtSession:
    """A user with a client that sends and receives frames."""

    def __init__(self, person: Person, session: Session) -> None:
        self.person = person
        self.session = session

    async def send(self, to: int, text: str) -> int:
        return (await self.session.send_text(to, text)).event_id

    async def react(self, chat_id: str, message_id: int) -> None:
        await self.session.change(chat_id, message_id, reacted=pb.Reacted(emoji=EMOJI, set=True))

    async def mark_read(self, chat_id: str, message_id: int) -> None:
        await self.session.change(chat_id, marked=pb.Marked(read_up_to=message_id))

    async def receive(self, kind: type[Received]) -> Received:
        event = await self.session.next_event("message" if kind is pb.Message else "change")
        received = event.message if kind is pb.Message else event
        assert isinstance(received, kind)
        return received


class AtClient:
    """A user with the public Python client."""

    def __init__(self, person: Person, client: Client) -> None:
        self.person = person
        self.client = client

    async def send(self, to: int, text: str) -> int:
        return (await self.client.send(to, text)).event_id

    async def react(self, chat_id: str, message_id: int) -> None:
        await self.client.react(chat_id, message_id, EMOJI)

    async def mark_read(self, chat_id: str, message_id: int) -> None:
        self.client.mark(chat_id, read_up_to=message_id)

    async def receive(self, kind: type[Received]) -> Received:
        with trio.fail_after(PATIENCE):
            async for event in self.client.events():
                assert not isinstance(event, Gap), event
                if isinstance(event, kind) and author_of(event) != self.person.user_id:
                    return event
        raise AssertionError("the events of a client have no end")


def author_of(event: pb.Message | pb.Event) -> int:
    return event.sender_id if isinstance(event, pb.Message) else event.change.actor_id


@asynccontextmanager
async def open_chatters(rookery: Rookery, stubs: Path) -> AsyncIterator[Sequence[Chatter]]:
    """A chatter of each kind: stock grpcio, WebSocket, Python client."""
    people = [await sign_up(rookery.url, name) for name in ("native", "browser", "python")]
    connects: list[Connect] = [
        partial(connect_stock, rookery.grpc, stubs),
        partial(connect_websocket, rookery.websocket),
    ]
    async with (
        open_sessions(*zip(connects, people, strict=False)) as sessions,
        open_client(rookery.url, people[2].name, PASSWORD) as client,
    ):
        yield [*map(AtSession, people, sessions), AtClient(people[2], client)]


async def test_clients_of_every_kind_chat_with_each_other(rookery: Rookery, stubs: Path) -> None:
    async with open_chatters(rookery, stubs) as chatters:
        for sender, receiver in permutations(chatters, 2):
            chat_id = sender.person.chat_with(receiver.person)
            text = f"{sender.person.name} to {receiver.person.name}: grüß dich \N{WAVING HAND SIGN}"
            message_id = await sender.send(receiver.person.user_id, text)
            message = await receiver.receive(pb.Message)
            assert (message.message_id, message.chat_id, message.text.body) == (message_id, chat_id, text)

            await receiver.react(chat_id, message_id)
            reaction = (await sender.receive(pb.Event)).change
            assert (reaction.target_id, reaction.reacted.emoji, reaction.reacted.set) == (message_id, EMOJI, True)

            await receiver.mark_read(chat_id, message_id)
            assert (await sender.receive(pb.Event)).change.marked.read_up_to == message_id
        for sender, receiver in permutations(chatters, 2):
            await check_history(rookery, sender.person, receiver.person)


async def check_history(rookery: Rookery, reader: Person, other: Person) -> None:
    """Check the history of a chat in which each has sent one message, and reacted to and read the other's."""
    chat_id = reader.chat_with(other)
    first, second = await read_history(rookery.url, reader, chat_id, until=is_reacted_to)
    assert {first.message.sender_id, second.message.sender_id} == {reader.user_id, other.user_id}
    for item, reacting in ((first, second), (second, first)):
        (event,) = item.changes
        assert (event.change.actor_id, event.change.reacted.emoji) == (reacting.message.sender_id, EMOJI)
    expected = {
        str(second.message.sender_id): str(first.message.message_id),
        str(first.message.sender_id): str(second.message.message_id),
    }
    async with open_http(rookery.url) as http:
        with trio.fail_after(PATIENCE):
            while await read_marks(http, reader, chat_id) != expected:
                await trio.sleep(POLL_SECONDS)


def is_reacted_to(messages: Sequence[HistoryMessage]) -> bool:
    return len(messages) == 2 and all(item.changes for item in messages)


async def read_marks(http: httpx.AsyncClient, reader: Person, chat_id: str) -> dict[str, str]:
    """Read marks by user."""
    chat = (await http.get(f"/v1/chats/{chat_id}", headers=reader.headers)).raise_for_status().json()
    return {mark["user_id"]: mark["read_up_to"] for mark in chat["marks"]}


@pytest.mark.parametrize("kind", ["stock", "websocket"])
async def test_a_client_that_reconnects_receives_missed_events(rookery: Rookery, stubs: Path, kind: str) -> None:
    connect: Connect = partial(connect_websocket, rookery.websocket)
    away: Connect = partial(connect_stock, rookery.grpc, stubs) if kind == "stock" else connect
    ada, grace = await sign_up(rookery.url, "ada"), await sign_up(rookery.url, "grace")
    chat_id = ada.chat_with(grace)
    async with open_session(connect, ada) as sender:
        async with open_session(away, grace) as session:
            await sender.send_text(chat_id, "seen")
            await session.next_event("message")
        for text in ("missed 1", "missed 2", "missed 3"):
            await sender.send_text(chat_id, text)
        async with open_session(away, grace, position=session.position) as session:
            await sender.send_text(chat_id, "live")
            messages = await session.receive_messages(4)
    assert session.frames[0].welcome.replayed == 3
    assert [message.text.body for message in messages] == ["missed 1", "missed 2", "missed 3", "live"]
    assert not any(frame.HasField("gap") for frame in session.frames)
