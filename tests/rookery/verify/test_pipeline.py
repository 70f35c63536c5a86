"""In which order a client of `rookery verify` sends again. Runs of whole platforms are in test_run.py."""

from typing import Any, cast

import trio
from trio.testing import MockClock

from rookery.client import Client, Submission
from rookery.client.outbox import Outbox
from rookery.v1 import session_pb2 as pb
from rookery.verify.pipeline import ANSWER_DEADLINE, RETRY_PAUSE, Pipeline
from rookery.verify.records import Sent

LATER = 50


class SilentClient:
    """Its server answers nothing."""

    def __init__(self) -> None:
        self.outbox = Outbox()

    def submit(self, to: int, text: str, *, client_message_id: str, **_: Any) -> Submission:
        send = pb.Send(client_message_id=client_message_id, recipient_id=to, text=pb.Text(body=text))
        return Submission(self.outbox, pb.ClientFrame(send=send), client_message_id, None)

    def sent_on_a_new_connection(self) -> list[str]:
        self.outbox.begin()
        return [frame.send.client_message_id for frame in self.outbox.take(10 * LATER)]


async def test_no_later_message_is_sent_before_one_that_got_no_answer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Also if the client connects again in the moment in which the first message is given up."""
    client, at_once = SilentClient(), list[str]()
    token = trio.lowlevel.current_trio_token()

    def look_at_once(*_: object) -> None:
        token.run_sync_soon(lambda: at_once.extend(client.sent_on_a_new_connection()))

    pipeline = Pipeline(cast(Client, client), lambda _: None, look_at_once)
    keys = [f"{number:03}" for number in range(LATER)]
    nursery.start_soon(pipeline.run)
    for number, key in enumerate(keys):
        pipeline.put(Sent((1, key), "d-1-2", 2, "hi", number, at=0.0, at_ms=0))
        await trio.sleep(0.01)
    assert client.sent_on_a_new_connection() == keys
    await trio.sleep(ANSWER_DEADLINE - 0.01 * LATER + RETRY_PAUSE / 2)
    assert at_once == []
    await trio.sleep(RETRY_PAUSE)
    assert client.sent_on_a_new_connection() == keys
