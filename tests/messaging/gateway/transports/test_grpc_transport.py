"""Native apps' sessions over gRPC: ends of streams, their statuses, and undisturbed others."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest
import trio
import trio.testing

from messaging.gateway.gateway import Gateway
from messaging.gateway.role import GRPC_LIMITS
from messaging.gateway.session import State
from messaging.gateway.transports import grpc_transport as module
from messaging.gateway.transports.connection import Flusher
from messaging.gateway.transports.grpc_transport import SessionService
from rookery.v1.session_grpc import SessionServiceStub
from rookery.v1.session_pb2 import Authenticate, ClientFrame, Ping, Send, ServerFrame, Text
from shared.background import open_background
from shared.configuration import LiveConfiguration
from shared.net.admission import Admission, ConnectionBudget
from shared.rpc import Channel, ClientStream, RpcError, Status, open_channel, open_stream, serve_rpc
from tests.messaging.gateway.harness import ANN, BEN, PATIENCE, Platform, ScriptedLog
from tests.waiting import until

Stream = ClientStream[ServerFrame, ClientFrame]


@dataclass
class Server:
    platform: Platform
    gateway: Gateway
    channel: Channel
    admission: Admission
    service: SessionService


@asynccontextmanager
async def serving(platform: Platform, configuration: LiveConfiguration | None = None) -> AsyncIterator[Server]:
    gateway, flusher = await platform.start_gateway(configuration), Flusher()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    admission = ConnectionBudget().add_listener()
    serve = partial(serve_rpc, limits=GRPC_LIMITS, admission=admission)
    async with open_background() as nursery:
        nursery.start_soon(flusher.run)
        service = SessionService(gateway, flusher)
        await nursery.start(serve, [service], listeners)
        async with open_channel("127.0.0.1", listeners[0].socket.getsockname()[1]) as channel:
            yield Server(platform, gateway, channel, admission, service)


@asynccontextmanager
async def signed_in(server: Server, user_id: int) -> AsyncIterator[Stream]:
    async with open_stream(SessionServiceStub(server.channel).Connect) as stream:
        token = await server.platform.token(user_id)
        await stream.send(ClientFrame(authenticate=Authenticate(access_token=token)))
        await expect(stream, "welcome")
        yield stream


async def expect(stream: Stream, kind: str) -> ServerFrame:
    with trio.fail_after(PATIENCE):
        frame = await stream.receive()
    assert frame is not None
    assert frame.WhichOneof("frame") == kind, frame
    return frame


async def test_a_connection_is_authenticated_while_a_session_is_signed_in(platform: Platform) -> None:
    async with serving(platform) as server:
        unauthenticated, registry = server.admission.unauthenticated, server.gateway.registry
        async with signed_in(server, ANN):
            async with signed_in(server, ANN):
                assert not unauthenticated
            await until(lambda: len(registry) == 1)
            assert not unauthenticated
        await until(lambda: unauthenticated)


async def test_one_session_too_many_ends_the_oldest_that_has_not_signed_in(platform: Platform) -> None:
    async with serving(platform) as server, signed_in(server, ANN) as ann, AsyncExitStack() as stack:
        server.service.max_unsigned = 2
        connect, registry = SessionServiceStub(server.channel).Connect, server.gateway.registry
        unsigned = []
        for number in (2, 3, 4):
            unsigned.append(await stack.enter_async_context(open_stream(connect)))
            if number < 4:
                await until(partial(lambda most: len(registry) == most, number))
        with trio.fail_after(PATIENCE), pytest.raises(RpcError, match="connect again") as ended:
            await unsigned[0].receive()
        assert ended.value.status is Status.UNAVAILABLE
        await ann.send(ClientFrame(ping=Ping(payload=b"x")))
        await expect(ann, "pong")
        assert [stream.outcome for stream in unsigned[1:]] == [None, None]
        async with signed_in(server, BEN):  # ends another one, and then counts no more
            assert unsigned[2].outcome is None


async def test_sessions_without_a_token_end_none_that_waits_for_its_owner(platform: Platform, log: ScriptedLog) -> None:
    async with serving(platform) as server, AsyncExitStack() as stack:
        server.service.max_unsigned = 2
        partition, registry = server.gateway.partitions.partition_of(ANN), server.gateway.registry
        log.assign(frozenset(), frozenset([partition]), 2)
        waiting = await open_waiting(server, stack)
        await until_authenticating(server, 1)
        for _ in range(4):
            await stack.enter_async_context(open_stream(SessionServiceStub(server.channel).Connect))
        await until(lambda: len(registry) == 3)
        assert waiting.outcome is None
        log.assign(frozenset([partition]), frozenset(), 3)
        await expect(waiting, "welcome")


async def open_waiting(server: Server, stack: AsyncExitStack) -> Stream:
    """Open a session of Ann, and send her token."""
    stream = await stack.enter_async_context(open_stream(SessionServiceStub(server.channel).Connect))
    await stream.send(ClientFrame(authenticate=Authenticate(access_token=await server.platform.token(ANN))))
    return stream


async def until_authenticating(server: Server, sessions: int) -> None:
    """Wait until so many sessions wait for the owner of their user's partition."""
    registry = server.gateway.registry
    await until(lambda: [session.state for session in registry].count(State.AUTHENTICATING) == sessions)
    await trio.testing.wait_all_tasks_blocked(0.01)


async def test_one_session_too_many_of_a_user_that_signs_in_ends_the_users_oldest(
    platform: Platform, log: ScriptedLog
) -> None:
    configuration = LiveConfiguration(max_sessions_per_user=2)
    async with serving(platform, configuration) as server, AsyncExitStack() as stack:
        log.assign(frozenset(), frozenset([server.gateway.partitions.partition_of(ANN)]), 2)
        waiting = []
        for number in (1, 2):
            waiting.append(await open_waiting(server, stack))
            await until_authenticating(server, number)
        waiting.append(await open_waiting(server, stack))
        with trio.fail_after(PATIENCE), pytest.raises(RpcError, match="connect again"):
            await waiting[0].receive()
        assert [stream.outcome for stream in waiting[1:]] == [None, None]


async def test_one_session_too_many_ends_the_oldest_of_the_address_with_the_most(platform: Platform) -> None:
    async with serving(platform) as server, AsyncExitStack() as stack:
        server.service.max_unsigned = 3
        unsigned = []
        for number, client in enumerate(("192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.3"), 1):
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(module, "address_key", lambda _, key=client: key)
            unsigned.append(await stack.enter_async_context(open_stream(SessionServiceStub(server.channel).Connect)))
            if number < 4:
                await until(partial(lambda most: len(server.gateway.registry) == most, number))
        with trio.fail_after(PATIENCE), pytest.raises(RpcError, match="connect again"):
            await unsigned[1].receive()
        assert [unsigned[place].outcome for place in (0, 2, 3)] == [None] * 3


async def test_two_apps_chat(platform: Platform) -> None:
    async with serving(platform) as server, signed_in(server, ANN) as ann, signed_in(server, BEN) as ben:
        await ann.send(ClientFrame(send=Send(client_message_id="a", recipient_id=BEN, text=Text(body="hé"))))
        accepted = (await expect(ann, "accepted")).accepted
        message = (await expect(ben, "event")).event.message
        assert (message.message_id, message.text.body) == (accepted.event_id, "hé")


async def test_a_frame_over_the_limit_is_refused_and_the_session_lives(platform: Platform) -> None:
    async with serving(platform, LiveConfiguration(max_frame_bytes=2048)) as server, signed_in(server, ANN) as ann:
        await ann.send(ClientFrame(ping=Ping(payload=b"x" * 3000)))
        refused = (await expect(ann, "refused")).refused
        assert (refused.code, refused.frame) == ("too_large", 2)
        assert "2048 bytes" in refused.message
        await ann.send(ClientFrame(ping=Ping(payload=b"x")))
        await expect(ann, "pong")


async def test_a_message_that_no_limit_allows_ends_its_stream_alone(platform: Platform) -> None:
    async with serving(platform) as server, signed_in(server, ANN) as ann, signed_in(server, BEN) as ben:
        with trio.fail_after(PATIENCE), pytest.raises(RpcError) as ended:  # noqa: PT012 - either may raise
            await ann.send(ClientFrame(ping=Ping(payload=b"x" * 2 * 1024 * 1024)))
            await ann.receive()
        assert ended.value.status is Status.RESOURCE_EXHAUSTED
        await ben.send(ClientFrame(ping=Ping(payload=b"x")))
        await expect(ben, "pong")


async def test_bytes_that_are_no_frame_end_their_stream_alone(platform: Platform) -> None:
    async with serving(platform) as server, signed_in(server, ANN) as ann, signed_in(server, BEN) as ben:
        await ann.send_encoded([b"\xff\xff\xff"])
        with trio.fail_after(PATIENCE), pytest.raises(RpcError, match="not a message"):
            await ann.receive()
        await ben.send(ClientFrame(ping=Ping(payload=b"x")))
        await expect(ben, "pong")


async def test_a_stream_that_is_reset_leaves_nothing(platform: Platform) -> None:
    async with serving(platform) as server:
        for _ in range(20):
            async with signed_in(server, ANN):
                assert len(server.gateway.registry) == 1
            with trio.fail_after(PATIENCE):
                await server.gateway.registry.wait_empty()


async def test_a_client_that_is_done_ends_with_ok(platform: Platform) -> None:
    async with serving(platform) as server, signed_in(server, ANN) as ann:
        await ann.end()
        with trio.fail_after(PATIENCE):
            assert await ann.receive() is None
