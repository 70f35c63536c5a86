"""A session that is cancelled at any await leaves no session, nothing in flight, and no second message or change."""

import gc
import weakref
from functools import partial

import trio
import trio.testing

from messaging.gateway.frames import JsonEncoding
from messaging.gateway.gateway import Gateway
from messaging.gateway.session import Session
from messaging.gateway.transports.connection import Connection, SendUnsent
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import Authenticate, ClientFrame, Reacted
from shared.backplane import Assignment, Fetched
from tests.messaging.gateway.harness import ANN, BEN, Crew, Platform, change_frame, client_id_of, text_frame
from tests.stepping import cancel_at_step, is_below

SENDS = 6
"""The last two are a message to a group, whose roster is not cached, and a change."""


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
    assert await events_per_send(platform) == {f"{n}-{m}": 1 for n in range(1, step + 1) for m in range(SENDS)}


async def cancelled_at(platform: Platform, gateway: Gateway, step: int) -> bool:
    """Cancel Ann's session at the step, and retry on a new one. False if the session had ended before."""
    platform.history.add(99)
    crew = Crew(ANN, BEN)
    platform.history.groups[crew.chat_id] = crew.stored
    gateway.rosters.drop_unfollowed(())
    sends = [text_frame(f"{step}-{number}") for number in range(SENDS - 1)]
    sends[-1].send.chat_id = crew.chat_id
    sends.append(change_frame(f"{step}-{SENDS - 1}", 99, reacted=Reacted(emoji="🔥", set=True)))
    frames = [ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))), *sends]
    run = partial(scripted_session, platform, gateway, frames)
    has_cancelled = await cancel_at_step(step, is_below(trio.lowlevel.current_task()), run)
    async with platform.sign_in(gateway, ANN) as retry:
        for frame in sends:
            await retry.accepted(frame)
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

    def send(self, frames: list[bytes]) -> SendUnsent:
        return partial(self._send_unsent, frames)

    async def _send_unsent(self, frames: list[bytes]) -> None:
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


async def events_per_send(platform: Platform) -> dict[str, int]:
    """The number of messages and changes in the log by client id."""
    ids: dict[str, set[int]] = {}
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
                stored = Envelope.FromString(record.value).event
                if client_id := client_id_of(stored):
                    ids.setdefault(client_id, set()).add(stored.event_id)
    return {sent: len(made) for sent, made in ids.items()}


class EndedTransport:
    """A client that has ended, and still reads."""

    async def receive(self) -> None:
        await trio.lowlevel.checkpoint()

    def send(self, frames: list[bytes]) -> None:
        pass


async def test_a_session_that_has_ended_waits_for_no_collection_of_garbage(
    platform: Platform, gateway: Gateway
) -> None:
    ended = list[weakref.ref[Session]]()

    async def run_session() -> None:
        session = gateway.open_session(JsonEncoding())
        ended.append(weakref.ref(session))
        await Connection(gateway.dispatcher, session, EndedTransport(), platform.flusher).run()
        gateway.close_session(session)

    gc.disable()
    try:
        for _ in range(2):  # the flusher refers to the last one
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_session)
        assert ended[0]() is None
    finally:
        gc.enable()
