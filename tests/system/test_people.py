"""Connections, blocks and reports on both platforms: gateways obey the change of a user, and sessions are told live."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

import httpx
import pytest
import trio

from rookery.client import Client, Connection, Event, Message, PeopleChanged, Presence, Refused, open_client
from tools.launch.people import PASSWORD, PATIENCE, sign_up
from tools.launch.process import Process

Received = TypeVar("Received")


async def next_of(
    events: AsyncIterator[object], kind: type[Received], is_wanted: Callable[[Received], bool] = lambda _: True
) -> Received:
    """The next of these events that is wanted."""
    with trio.fail_after(PATIENCE):
        async for event in events:
            if isinstance(event, kind) and is_wanted(event):
                return event
    raise AssertionError("the events ended")


async def people_changed(events: AsyncIterator[object]) -> int:
    """The user of the next PeopleChanged."""
    return (await next_of(events, PeopleChanged)).user_id


async def refusal_of(client: Client, user_id: int) -> Refused:
    """Send messages to the user until one is refused."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                await client.send(user_id, "Are you there?")
            except Refused as refused:
                return refused


async def test_users_connect_and_a_block_ends_their_direct_chat_until_it_ends(platform: tuple[str, Process]) -> None:
    url, _ = platform
    async with AsyncExitStack() as stack:
        people = [await sign_up(url, name) for name in ("ada", "grace")]
        ada, grace = [await stack.enter_async_context(open_client(url, each.name, PASSWORD)) for each in people]
        ada_id, grace_id = ada.me.user_id, grace.me.user_id
        first = await ada.send(grace_id, "Hello")
        events = grace.events()
        invited = await ada.people.connect(grace_id)
        assert await people_changed(events) == ada_id
        assert await grace.people.connections() == [Connection(ada_id, "invites_me", invited.since_ms)]
        assert (await grace.people.connect(ada_id)).state == "connected"
        assert await people_changed(events) == ada_id

        await grace.people.block(ada_id)
        assert await people_changed(events) == ada_id
        assert await ada.people.connections() == []
        for client, other_id, words in ((ada, grace_id, "accepts no messages"), (grace, ada_id, "You have blocked")):
            refused = await refusal_of(client, other_id)
            assert (refused.code, words in refused.message) == ("forbidden", True)
        with pytest.raises(Refused, match="accepts no messages"):
            await ada.react(first.chat_id, first.event_id, "👋")
        await grace.people.report(ada_id, "Writes too much", chat_id=first.chat_id, message_ids=[first.event_id])

        await grace.people.unblock(ada_id)
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    await ada.send(grace_id, "Again")
                    break
                except Refused:
                    await trio.sleep(0.05)


async def test_a_user_accepts_first_messages_from_connections_only(platform: tuple[str, Process]) -> None:
    url, _ = platform
    async with AsyncExitStack() as stack:
        people = [await sign_up(url, name) for name in ("ada", "grace", "alan")]
        ada, grace, alan = [await stack.enter_async_context(open_client(url, each.name, PASSWORD)) for each in people]
        await alan.send(grace.me.user_id, "Hello")
        async with httpx.AsyncClient(base_url=url, headers=people[1].headers, timeout=PATIENCE) as http:
            body = {"version": 1, "who_may_start": "connections"}
            assert (await http.patch("/v1/me", json=body)).raise_for_status().json()["who_may_start"] == "connections"
        assert (await refusal_of(ada, grace.me.user_id)).code == "forbidden"
        await alan.send(grace.me.user_id, "Still here")
        for client, other in ((ada, grace), (grace, ada)):
            await client.people.connect(other.me.user_id)
        await ada.send(grace.me.user_id, "Hello")


async def test_a_blocked_user_in_a_common_group_writes_reads_and_is_seen_as_before_and_starts_no_new_group(
    platform: tuple[str, Process],
) -> None:
    url, _ = platform
    async with AsyncExitStack() as stack:
        people = [await sign_up(url, name) for name in ("ada", "grace")]
        ada, grace = [await stack.enter_async_context(open_client(url, each.name, PASSWORD)) for each in people]
        chat_id = (await ada.groups.create("Engines", [grace.me.user_id])).chat_id
        await grace.people.block(ada.me.user_id)
        assert (await refusal_of(ada, grace.me.user_id)).code == "forbidden"
        await assert_shared(ada, grace, chat_id)
        await assert_shared(grace, ada, chat_id)


async def assert_shared(author: Client, other: Client, chat_id: str) -> None:
    """The other gets a message, the author a reaction to it and a mark, but no presence, and can't create a group."""
    sent, other_id = await author.send(chat_id, "Hello, all"), other.me.user_id
    await next_of(other.events(), Message, lambda message: message.message_id == sent.event_id)
    await other.react(chat_id, sent.event_id, "👍")
    other.mark(chat_id, read_up_to=sent.event_id)
    await next_of(author.events(), Event, lambda event: event.change.HasField("reacted"))
    with trio.fail_after(PATIENCE):
        while other_id not in await seen_by(author, chat_id, sent.event_id):
            await trio.sleep(0.05)
    author.watch([other_id])
    assert await next_of(author.events(), Presence) == Presence(user_id=other_id), "not online"
    with pytest.raises(Refused) as caught:
        await author.groups.create("Without asking", [other_id])
    assert (caught.value.code, caught.value.field) == ("forbidden", "user_ids[0]")


async def seen_by(client: Client, chat_id: str, message_id: int) -> set[int]:
    return {mark.user_id for mark in (await client.groups.marks(chat_id, from_id=message_id)).marks}
