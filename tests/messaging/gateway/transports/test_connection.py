"""A session that is cancelled at any await leaves no session, no message in flight and no second message."""

from functools import partial

import trio
import trio.testing

from messaging.gateway.frames import JsonEncoding
from messaging.gateway.gateway import Gateway
from messaging.gateway.transports.connection import Connection, SendUnsent
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import Authenticate, ClientFrame, React, Send, Text
from shared.backplane import Assignment, Fetched
from tests.messaging.gateway.harness import ANN, BEN, Platform
from tests.stepping import cancel_at_step, is_below

SENDS = 4


async def test_a_session_may_be_cancelled_anywhere(platform: Platform, gateway: Gateway) -> None:
    step = 0
    has_cancelled = True
    while has_cancelled:
        step += 1
        has_cancelled = await cancelled_at(platform, gateway, step)
        assert len(gateway.registry) == 0, f"a session is left after step {step}"
        with trio.fail_after(20):
            await gateway.publisher.wait_idle()
    assert step > 12, "the session was cancelled in many places"
    assert await messages_per_send(platform) == {(ANN, f"{n}-{m}"): 1 for n in range(1, step + 1) for m in range(SENDS)}


async def cancelled_at(platform: Platform, gateway: Gateway, step: int) -> bool:
    """Cancel Ann's session at the step, and retry on a new one. False if the session had ended before."""
    frames = [ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN)))]
    for number in range(SENDS):
        text = Send(client_message_id=f"{step}-{number}", recipient_id=BEN, text=Text(body="hi"))
        frames.append(ClientFrame(send=text))
    frames.append(ClientFrame(react=React(chat_id="d-1-2", message_id=99, emoji="🔥")))
    platform.history.messages.add(99)
    run = partial(scripted_session, platform, gateway, frames)
    has_cancelled = await cancel_at_step(step, is_below(trio.lowlevel.current_task()), run)
    async with platform.sign_in(gateway, ANN) as retry:
        for number in range(SENDS):
            await retry.send_text(f"{step}-{number}", BEN)
            await retry.until("accepted")
    return has_cancelled


class ScriptedTransport:
    """A client that sends these frames, reads its answers, each time after a checkpoint, and ends."""

    def __init__(self, frames: list[ClientFrame]) -> None:
        self._frames = list(frames)
        self._answers = 0
        self._answered = trio.Event()

    async def receive(self) -> ClientFrame | None:
        await trio.lowlevel.checkpoint()
        if self._frames:
            return self._frames.pop(0)
        await self._answered.wait()
        return None

    def send(self, frames: list[str | bytes]) -> SendUnsent:
        return partial(self._send_unsent, frames)

    async def _send_unsent(self, frames: list[str | bytes]) -> None:
        await trio.lowlevel.checkpoint()
        self._answers += sum('"accepted"' in str(frame) for frame in frames)
        if self._answers == SENDS:
            self._answered.set()


async def scripted_session(platform: Platform, gateway: Gateway, frames: list[ClientFrame]) -> None:
    session = gateway.open_session(JsonEncoding())
    try:
        await Connection(gateway.dispatcher, session, ScriptedTransport(frames), platform.flusher).run()
    finally:
        gateway.close_session(session)


async def messages_per_send(platform: Platform) -> dict[tuple[int, str], int]:
    """The number of messages in the log by (sender, client_message_id)."""
    ids: dict[tuple[int, str], set[int]] = {}
    ends = {partition: await platform.backplane.end_offset(partition) for partition in range(4)}
    async with platform.backplane.consume("checker") as consumer:
        while any(ends.values()):
            event = await consumer.fetch()
            if isinstance(event, Assignment):
                continue
            assert isinstance(event, Fetched)
            for record in event.records:
                if record.offset + 1 >= ends[record.partition]:
                    ends[record.partition] = 0
                message = Envelope.FromString(record.value).event.message
                if message.message_id:
                    ids.setdefault((message.sender_id, message.client_message_id), set()).add(message.message_id)
    return {sent: len(made) for sent, made in ids.items()}
