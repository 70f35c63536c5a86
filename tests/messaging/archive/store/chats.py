"""Shared by the tests of chat stores: conversations with events, and reads of a store."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from messaging.archive.store.protocol import ChatStore, Page
from rookery.v1.archive_pb2 import Chat, HistoryMessage
from rookery.v1.session_pb2 import Event, Message, Reaction, Receipt, Text
from shared.contract.chats import direct_chat_id
from shared.contract.ids import MAX_ID, first_id_at

hypothetical = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The examples share a database, in which each has its own chat. Each opens a session, so there are few."""

START = first_id_at(1_800_000_000_000)
STEP = 1 << 22  # a millisecond between ids


users = itertools.count(1_000)
new_ids = itertools.count(START, STEP)


@dataclass
class Conversation:
    """A new direct chat, and the events of its members."""

    members: tuple[int, int] = field(default_factory=lambda: (next(users), next(users)))

    @property
    def chat_id(self) -> str:
        return direct_chat_id(*self.members)

    def message(self, who: int = 0, client_message_id: str = "", body: str = "hello", message_id: int = 0) -> Event:
        message_id = message_id or next(new_ids)
        message = Message(
            message_id=message_id,
            chat_id=self.chat_id,
            sender_id=self.members[who],
            client_message_id=client_message_id or f"c{message_id}",
            text=Text(body=body),
        )
        return Event(event_id=message_id, message=message)

    def messages(self, count: int, who: int = 0) -> list[Event]:
        return [self.message(who) for _ in range(count)]

    def reaction(self, message_id: int, emoji: str = "👍", who: int = 0, *, set: bool = True) -> Event:
        reaction = Reaction(
            chat_id=self.chat_id, message_id=message_id, user_id=self.members[who], emoji=emoji, set=set
        )
        return Event(event_id=next(new_ids), reaction=reaction)

    def receipt(self, who: int = 0, *, delivered: int = 0, read: int = 0) -> Event:
        receipt = Receipt(chat_id=self.chat_id, user_id=self.members[who], delivered_up_to=delivered, read_up_to=read)
        return Event(event_id=next(new_ids), receipt=receipt)


async def newest_page(chats: ChatStore, chat_id: str, limit: int = 100) -> Page:
    return await chats.messages_before(chat_id, MAX_ID, limit)


def ids(messages: Sequence[HistoryMessage]) -> list[int]:
    return [each.message.message_id for each in messages]


def tallies(message: HistoryMessage) -> dict[str, list[int]]:
    return {tally.emoji: list(tally.user_ids) for tally in message.reactions}


async def state(chats: ChatStore, talk: Conversation) -> Any:
    """All data of a chat that can be read."""
    page = await newest_page(chats, talk.chat_id)
    seen = [await chats.get_chat(member, talk.chat_id) for member in talk.members]
    listed = [await all_chats(chats, member) for member in talk.members]
    return page, seen, listed


async def chat_of(chats: ChatStore, talk: Conversation, user_id: int) -> Chat:
    chat = await chats.get_chat(user_id, talk.chat_id)
    assert chat is not None
    return chat


async def all_chats(chats: ChatStore, user_id: int) -> Sequence[Chat]:
    return await chats.list_chats(user_id, changed_since_ms=0, limit=100, after=None)


steps = st.lists(
    st.tuples(st.sampled_from(["message", "reaction", "receipt"]), st.integers(0, 1), st.integers(0, 7), st.booleans()),
    max_size=25,
)


def history(talk: Conversation, steps: Sequence[tuple[str, int, int, bool]]) -> list[Event]:
    """Events of a chat: messages, some of them retried, reactions set and taken back, receipts."""
    events: list[Event] = []
    sent: list[int] = []
    for kind, who, choice, flag in steps:
        if kind == "message" or not sent:
            events.append(talk.message(who, client_message_id=f"c{choice}"))
            sent.append(events[-1].event_id)
        elif kind == "reaction":
            events.append(talk.reaction(sent[choice % len(sent)], "👍🎉"[choice % 2], who, set=flag))
        else:
            mark = sent[choice % len(sent)]
            events.append(talk.receipt(who, delivered=mark, read=mark * flag))
    return events
