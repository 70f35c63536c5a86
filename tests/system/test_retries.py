"""A message that is sent again long after its answer was lost."""

import trio

from rookery.v1.session_pb2 import Accepted, Change, Reacted, Send
from tests.system.conftest import TAIL_BYTES
from tests.system.sessions import Session, change_to, connector, open_session, text_to
from tools.launch.people import PATIENCE, read_history, sign_up
from tools.launch.process import Process

FILLER = "x" * 16_000


async def repeat(session: Session, first_sent_ms_ago: int | None, **command: Send | Change) -> Accepted:
    """Send a command until its answer is not retryable, since history lags by a second. Return the Accepted."""
    with trio.fail_after(PATIENCE):
        while True:
            answer = await session.answer(first_sent_ms_ago=first_sent_ms_ago, **command)
            if not answer.refused.retryable:
                answer.accepted.ClearField("frame")
                return answer.accepted
            await trio.sleep(0.05)


async def test_a_retry_that_the_tail_has_forgotten_is_answered_from_history(platform: tuple[str, Process]) -> None:
    url, gateway = platform
    ada, grace = await sign_up(url, "ada"), await sign_up(url, "grace")
    connect = connector(gateway, "grpc")
    send = text_to(grace.user_id, "once")
    async with open_session(connect, ada) as session:
        position = session.position
        first = await repeat(session, 0, send=send)
        thumb = change_to(first.chat_id, first.event_id, reacted=Reacted(emoji="👍", set=True))
        reacted = await repeat(session, 0, change=thumb)
        no_thumb = change_to(first.chat_id, first.event_id, reacted=Reacted(emoji="👍"))
        await repeat(session, 0, change=no_thumb)
        for _ in range(TAIL_BYTES // len(FILLER) + 1):
            await session.send_text(grace.user_id, FILLER)
    for ms_ago in (600_000, None):  # a client that does not know the field, too
        async with connect() as stream:
            session = Session(stream)
            await session.authenticate(ada.access_token, position)
            await session.next("gap")
            assert await repeat(session, ms_ago, send=send) == first
            assert await repeat(session, ms_ago, change=thumb) == reacted
    history = await read_history(url, ada, first.chat_id, until=lambda messages: any(each.changes for each in messages))
    (found,) = [each for each in history if each.message.text.body == "once"]
    assert found.message.message_id == first.event_id
    assert [(event.change.reacted.emoji, event.change.reacted.set) for event in found.changes] == [("👍", False)]
