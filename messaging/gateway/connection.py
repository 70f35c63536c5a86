"""What both transports do with a session: read its frames one after the other, and write whatever waits in one go."""

from collections.abc import Awaitable, Callable

import trio

from messaging.gateway.gateway import Gateway
from messaging.gateway.session import Session, State
from rookery.v1.session_pb2 import ClientFrame
from shared.errors import Refusal

SEND_DEADLINE = 30.0
"""Seconds that a client may leave what it was sent unread, before it is taken for dead."""

GOODBYE_DEADLINE = 2.0
"""Seconds that a client has to read the last frames of a session that has ended."""

Receive = Callable[[], Awaitable[ClientFrame | Refusal | None]]
"""The client's next frame, or why its bytes were none; None when it is done."""

Send = Callable[[list[str | bytes]], Awaitable[None]]
"""Writes frames, in order, in as few writes as can be."""


class ConnectionLost(Exception):
    """The client's connection is gone: nothing can be sent, and nothing will come."""


async def converse(gateway: Gateway, session: Session, receive: Receive, send: Send) -> None:
    """Serve the session until it ends or its connection is lost. Opens and closes nothing."""
    changed = trio.lowlevel.ParkingLot()

    def wake() -> None:
        changed.unpark_all()

    session.on_change = wake
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read, gateway, session, receive, changed)
        try:
            await _write(session, send, changed)
        except (ConnectionLost, trio.TooSlowError):
            session.abandon()
        nursery.cancel_scope.cancel()


async def _read(gateway: Gateway, session: Session, receive: Receive, changed: trio.lowlevel.ParkingLot) -> None:
    try:
        while (frame := await receive()) is not None:
            request = session.receive(frame, trio.current_time())
            if request is not None:
                await gateway.handle(session, request)
            while not session.may_receive:
                await changed.park()
            if session.state is State.ENDED:
                return
    except ConnectionLost:
        pass
    session.abandon()


async def _write(session: Session, send: Send, changed: trio.lowlevel.ParkingLot) -> None:
    while True:
        frames = session.take()
        ended = session.state is State.ENDED
        if frames:
            changed.unpark_all()  # the reader may go on
            with trio.fail_after(GOODBYE_DEADLINE if ended else SEND_DEADLINE):
                await send(frames)
        elif ended:
            return
        else:
            await changed.park()
