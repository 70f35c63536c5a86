"""Cancellation at every step of a task: after that of a stream its connection goes on, after that of a call its
channel, and a connection or a channel leaves nothing behind."""

from contextlib import suppress
from functools import partial

import pytest
import trio
import trustme

from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from rookery.v1.session_grpc import SessionServiceStub
from rookery.v1.session_pb2 import ClientFrame, Ping, Pong, ServerFrame
from shared.rpc import Channel, Limits, RpcError, Status, open_balancer, open_channel, open_stream, serve_rpc
from shared.rpc.server.server import Server
from shared.rpc.server.standard_services import standard_services
from shared.telemetry.health import Health
from tests.shared.rpc.calling import get_chat
from tests.shared.rpc.conftest import Serve, SessionStream, eventually, make_services, ready
from tests.shared.rpc.servers import showing, trusting
from tests.stepping import CancelAtStep, cancel_at_step, is_below

LARGE = bytes(140_000)
"""Bytes that exceed a window and a buffer together, so that the sender waits."""


class Handler:
    """A Connect that uses every wait of a stream. Cancels itself at this step."""

    def __init__(self, step: int | None = None) -> None:
        self.inside = 0
        self.finished = False
        self._step = step

    async def __call__(self, stream: SessionStream) -> None:
        self.inside += 1
        task = trio.lowlevel.current_task()
        instrument = CancelAtStep(self._step or 0, stream.scope, lambda stepping: stepping is task)
        trio.lowlevel.add_instrument(instrument)
        try:
            while (frame := await stream.receive()) is not None:
                await stream.send(ServerFrame(pong=Pong(payload=frame.ping.payload)))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send, ServerFrame(pong=Pong(payload=LARGE)))
                await stream.send(ServerFrame(pong=Pong(payload=LARGE)))
            self.finished = True
        finally:
            self.inside -= 1
            trio.lowlevel.remove_instrument(instrument)


async def talk(channel: Channel) -> None:
    """Make a whole call of the handler. Raises RpcError if the call is cut off."""
    async with open_stream(SessionServiceStub(channel).Connect, timeout=30) as stream:
        for payload in (b"small", LARGE):
            await stream.send(ClientFrame(ping=Ping(payload=payload)))
            answer = await stream.receive()
            assert answer is not None
            assert answer.pong.payload == payload
        await stream.end()
        while await stream.receive() is not None:
            pass


async def prove_alive(channel: Channel) -> None:
    """Fail unless the first connection of the channel still serves."""
    await get_chat(channel)
    (connection,) = channel.connections
    assert not connection.streams


async def test_a_stream_that_is_cancelled_at_any_step_leaves_its_connection_whole(serve: Serve) -> None:
    handler, step = Handler(), 0

    async def connect(stream: SessionStream) -> None:
        await handler(stream)

    server = await serve(connect=connect)
    async with open_channel("127.0.0.1", server.port) as channel:
        while not handler.finished:
            step += 1
            handler = Handler(step)
            with suppress(RpcError):
                await talk(channel)
            assert handler.inside == 0
            await prove_alive(channel)
    assert step > 5


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.slow)])
async def test_a_connection_that_is_cancelled_at_any_step_leaves_nothing_behind(stride: int) -> None:
    fired, step = True, 0
    while fired:
        step += stride
        handler = Handler()
        server = Server(make_services(connect=handler), Limits())
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(talk_or_fail, listener.socket.getsockname()[1])
            fired = await serve_one_until_step(server, await listener.accept(), step)
        assert handler.inside == 0
        assert not server.connections
        assert handler.finished or fired
    assert step > 20


async def test_a_message_that_is_cut_off_ends_its_stream(serve: Serve) -> None:
    cut = trio.Event()

    async def connect(stream: SessionStream) -> None:
        try:
            with trio.move_on_after(0.01):
                await stream.send(ServerFrame(pong=Pong(payload=LARGE)))
        finally:
            cut.set()
        await stream.send(ServerFrame(pong=Pong(payload=b"never")))

    server = await serve(connect=connect)
    async with open_channel("127.0.0.1", server.port) as channel:
        async with open_stream(SessionServiceStub(channel).Connect, timeout=30) as stream:
            await cut.wait()
            with pytest.raises(RpcError) as failure:
                await stream.receive()
        assert failure.value.status is Status.INTERNAL
        await prove_alive(channel)


async def talk_or_fail(port: int) -> None:
    async with open_channel("127.0.0.1", port) as channel:
        with suppress(RpcError):
            await talk(channel)


async def serve_one_until_step(server: Server, transport: trio.SocketStream, step: int) -> bool:
    """Serve a connection, and cancel it at this step of its tasks. Returns whether it got that far."""
    return await cancel_at_step(
        step, is_below(trio.lowlevel.current_task()), partial(server.serve_connection, transport)
    )


async def test_a_call_that_is_cancelled_at_any_step_leaves_its_channel_whole(serve: Serve) -> None:
    """On a new channel each time: before, while and after it connects."""
    handler = Handler()
    server = await serve(connect=handler)
    task = trio.lowlevel.current_task()
    fired, step = True, 0
    while fired:
        step += 1
        async with open_channel("127.0.0.1", server.port) as channel:
            fired = await cancel_at_step(step, lambda stepping: stepping is task, partial(talk, channel))
            await prove_alive(channel)
            assert channel.statistics().calls_under_way == channel.statistics().calls_waiting == 0
            while handler.inside:
                await trio.sleep(0.001)
    assert step > 5


async def test_a_call_that_is_cancelled_at_any_step_of_its_retries_leaves_its_channel_whole(serve: Serve) -> None:
    async def fail(request: GetChatRequest) -> GetChatResponse:
        if request.chat_id == "fails":
            raise RpcError(Status.UNAVAILABLE, "", retry_after=0.001)
        return GetChatResponse()

    async def call() -> None:
        with suppress(RpcError):
            await get_chat(balancer, "fails", attempts=3)

    servers = [await serve(get_chat=fail) for _ in range(2)]
    task = trio.lowlevel.current_task()
    fired, step = True, 0
    async with open_balancer([f"127.0.0.1:{server.port}" for server in servers]) as balancer:
        await eventually(ready(balancer, 2))  # until then, its own calls are under way
        while fired:
            step += 1
            fired = await cancel_at_step(step, lambda stepping: stepping is task, call)
            await get_chat(balancer)
            assert balancer.statistics().calls_under_way == balancer.statistics().calls_waiting == 0
            assert not any(connection.streams for connection in balancer.connections)
    assert step > 5


async def test_a_channel_that_is_cancelled_at_any_step_leaves_nothing_behind(
    authority: trustme.CA, nursery: trio.Nursery
) -> None:
    """Over TLS, with a health watch, a second server that is unreachable, and a call."""
    health, tls = Health(), trusting(authority)
    health.mark_started()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listening = trio.SSLListener(listener, showing(authority.issue_cert("localhost"), "h2"))
    server: Server = await nursery.start(serve_rpc, standard_services([], health), [listening])
    port = listener.socket.getsockname()[1]

    async def use() -> None:
        async with open_balancer([f"localhost:{port}", "localhost:1"], tls=tls) as balancer:
            with suppress(RpcError):
                await get_chat(balancer, wait_for_ready=True)

    root = trio.lowlevel.current_task()
    fired, step = True, 0
    while fired:
        step += 1
        fired = await cancel_at_step(step, is_below(root), use)
        with trio.fail_after(30):
            while server.connections:
                await trio.sleep(0.001)
    assert step > 20
