"""Signals between users, on both platforms: presence, typing, marks in groups and changed profiles."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

import trio

from rookery.client import Client, GroupMarks, MemberMark, Presence, ProfileChanged, Typing, open_client
from tests.system.talk import TRANSPORTS
from tools.launch.people import PASSWORD, PATIENCE, open_http, sign_up
from tools.launch.process import Process

REPEAT_SECONDS = 3.0
"""More than the delay of any signal."""

Signal = TypeVar("Signal", GroupMarks, Presence, ProfileChanged, Typing)


async def next_of(client: Client, kind: type[Signal]) -> Signal:
    """The next event of this kind; ignores others."""
    with trio.fail_after(PATIENCE):
        async for event in client.events():
            if isinstance(event, kind):
                return event
    raise AssertionError


async def next_while(act: Callable[[], object], client: Client, kind: type[Signal]) -> Signal:
    """The next event of this kind, while its cause is repeated: a signal may be lost."""
    found: list[Signal] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive() -> None:
            found.append(await next_of(client, kind))
            nursery.cancel_scope.cancel()

        while True:
            act()
            await trio.sleep(REPEAT_SECONDS)
    return found[0]


async def test_users_see_who_is_online_types_and_changes_their_profile_unless_it_is_hidden(
    platform: tuple[str, Process],
) -> None:
    url, _ = platform
    people = [await sign_up(url, name) for name in ("ada", "grace")]
    async with AsyncExitStack() as stack:
        ada, grace = [
            await stack.enter_async_context(open_client(url, each.name, PASSWORD, transport=transport))
            for each, transport in zip(people, TRANSPORTS, strict=True)
        ]
        for viewer, watched in ((ada, grace.me.user_id), (grace, ada.me.user_id)):
            watch = partial(viewer.watch, [watched])
            assert await next_while(watch, viewer, Presence) == Presence(user_id=watched, is_online=True)
        type_ = partial(grace.typing, people[0].chat_with(people[1]))
        assert (await next_while(type_, ada, Typing)).user_id == grace.me.user_id
        async with open_http(url) as http:
            hidden = {"version": 1, "shows_presence": False}
            (await http.patch("/v1/me", json=hidden, headers=people[1].headers)).raise_for_status()
        for viewer, watched in ((ada, grace.me.user_id), (grace, ada.me.user_id)):
            assert (await next_of(viewer, ProfileChanged)).user_id == grace.me.user_id
            assert await next_of(viewer, Presence) == Presence(user_id=watched)


async def test_the_members_of_a_group_see_at_once_how_far_each_has_read(platform: tuple[str, Process]) -> None:
    url, _ = platform
    people = [await sign_up(url, name) for name in ("ada", "grace")]
    async with AsyncExitStack() as stack:
        ada, grace = [
            await stack.enter_async_context(open_client(url, each.name, PASSWORD, transport=transport))
            for each, transport in zip(people, TRANSPORTS, strict=True)
        ]
        message = await ada.groups.create("Engines", [grace.me.user_id])
        chat_id, message_id = message.chat_id, message.message_id
        delivered = MemberMark(user_id=grace.me.user_id, delivered_up_to=message_id)
        mark = partial(grace.mark, chat_id, delivered_up_to=message_id)
        assert delivered in (await next_while(mark, ada, GroupMarks)).marks
        read = MemberMark(user_id=ada.me.user_id, delivered_up_to=message_id, read_up_to=message_id)
        mark = partial(ada.mark, chat_id, read_up_to=message_id)
        assert read in (await next_while(mark, grace, GroupMarks)).marks
