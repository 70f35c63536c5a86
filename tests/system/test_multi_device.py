"""One user on several devices, and a sign-in that outlives its tokens."""

import time

import pytest
import trio

from rookery.v1 import session_pb2 as pb
from tests.system.sessions import TRANSPORTS, Session, SessionOver, connector, open_session
from tools.launch.people import Person, issue_token, sign_in, sign_up
from tools.launch.process import Rookery

SHORT_SECONDS = 10
"""Lifetime of a token that expires within a test: long enough to use it twice and to renew it on a busy machine."""


@pytest.fixture
async def ada(rookery: Rookery) -> Person:
    return await sign_up(rookery.url, "ada")


@pytest.fixture
async def grace(rookery: Rookery) -> Person:
    return await sign_up(rookery.url, "grace")


async def test_each_other_device_of_both_users_receives_a_message_once(
    rookery: Rookery, ada: Person, grace: Person
) -> None:
    phone = await sign_in(rookery.url, ada.name)
    tabs = connector(rookery, "websocket")
    async with (
        open_session(tabs, ada) as tab_1,
        open_session(tabs, ada) as tab_2,
        open_session(connector(rookery, "grpc"), phone) as app,
        open_session(tabs, grace) as grace_tab,
        open_session(connector(rookery, "grpc"), grace) as grace_app,
    ):
        first = await tab_1.send_text(grace.user_id, "from a tab")
        second = await app.send_text(ada.chat_with(grace), "from the app")
        for session, expected in (
            (tab_1, [second]),
            (app, [first]),
            (tab_2, [first, second]),
            (grace_tab, [first, second]),
            (grace_app, [first, second]),
        ):
            messages = await session.receive_messages(len(expected))
            assert [message.message_id for message in messages] == [each.event_id for each in expected]

        sessions = {app, tab_1, tab_2, grace_tab, grace_app}
        reacted = pb.Reacted(emoji="\N{PARTY POPPER}", set=True)
        accepted = await app.change(first.chat_id, first.event_id, reacted=reacted)
        for session in sessions - {app}:
            event = await session.next_event("change")
            assert (event.event_id, event.change.reacted) == (accepted.event_id, reacted)
            assert (event.change.actor_id, event.change.target_id) == (ada.user_id, first.event_id)
        await tab_2.change(first.chat_id, marked=pb.Marked(read_up_to=second.event_id))
        for session in sessions - {tab_2}:  # tab_2 has had no copy of its own change, and app none of the reaction
            change = (await session.next_event("change")).change
            assert (change.actor_id, change.marked.read_up_to) == (ada.user_id, second.event_id)


async def test_all_readers_receive_the_messages_of_two_tabs_in_one_order(
    rookery: Rookery, ada: Person, grace: Person
) -> None:
    count = 50
    connect = connector(rookery, "websocket")
    async with (
        open_session(connect, ada) as tab_1,
        open_session(connect, ada) as tab_2,
        open_session(connector(rookery, "grpc"), grace) as reader,
        open_session(connect, grace) as other_reader,
        trio.open_nursery() as nursery,
    ):
        for tab in (tab_1, tab_2):
            nursery.start_soon(send_many, tab, grace.user_id, count)
        order = [message.message_id for message in await reader.receive_messages(2 * count)]
        assert [message.message_id for message in await other_reader.receive_messages(2 * count)] == order


async def send_many(session: Session, to: int, count: int) -> None:
    for number in range(count):
        await session.send_text(to, f"number {number}")


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_session_ends_with_its_token_unless_it_is_renewed(
    rookery: Rookery, ada: Person, grace: Person, transport: str
) -> None:
    connect = connector(rookery, transport)
    token = await issue_token(rookery, ada, SHORT_SECONDS)
    async with open_session(connect, ada, token=token) as renewed, open_session(connect, ada, token=token) as left:
        ends_at_ms = renewed.frames[0].welcome.token_expires_at_ms
        for session in (renewed, left):
            assert (await session.next("expiring")).expiring.token_expires_at_ms == ends_at_ms
        await renewed.send_frame(renew=pb.Renew(access_token=await issue_token(rookery, grace, 600)))
        assert (await renewed.next("refused")).refused.code == "forbidden"
        await renewed.send_frame(renew=pb.Renew(access_token=ada.access_token))

        goodbye = (await left.next("goodbye")).goodbye
        assert (goodbye.code, "expired" in goodbye.message) == ("unauthenticated", True)
        with pytest.raises(SessionOver):
            await left.receive()
        assert time.time() * 1000 >= ends_at_ms
        await renewed.send_text(grace.user_id, "still here")
