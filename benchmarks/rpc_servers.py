"""The servers that `benchmarks/rpc.py` compares, each doing the same with the same messages:

python -m benchmarks.rpc_servers NAME    prints its port, and serves on loopback until it is killed

The first frame of a `Connect` is a ping whose payload names the mode of the stream.
"""

import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import anyio
import grpc
import trio

from rookery.v1.archive_grpc import ArchiveServiceServicer
from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from rookery.v1.session_grpc import SessionServiceServicer
from rookery.v1.session_pb2 import ClientFrame, Pong, ServerFrame
from shared.rpc import Limits, ServerStream, Servicer, serve_rpc, stream_handler
from shared.rpc.server.interceptors import count_calls, log_calls, trace_calls
from shared.telemetry.logs import configure_logs

HOST = "127.0.0.1"

COUNT, SEND, ECHO, IDLE = b"count", b"send", b"echo", b"idle"
"""The modes of a stream: count the frames and send the count at the end; send the given number of pongs; answer each
ping; send one pong and stay open."""

PONG = ServerFrame(pong=Pong(payload=b"x" * 256))

THREADS = 600
"""Threads of grpcio's blocking server, each of which serves one stream."""


def purpose_of(first: ClientFrame) -> tuple[bytes, int]:
    """Return the mode of a stream, and its number."""
    word, _, number = first.ping.payload.partition(b" ")
    return word, int(number or 0)


def answer_to(frame: ClientFrame) -> ServerFrame:
    return ServerFrame(pong=Pong(payload=frame.ping.payload))


def total(count: int) -> ServerFrame:
    return ServerFrame(pong=Pong(payload=b"%d" % count))


def chat_of(request: GetChatRequest) -> GetChatResponse:
    response = GetChatResponse()
    response.chat.chat_id = request.chat_id
    return response


class Archive(ArchiveServiceServicer):
    async def GetChat(self, request: GetChatRequest) -> GetChatResponse:  # pyright: ignore[reportIncompatibleMethodOverride]
        return chat_of(request)


class Sessions(SessionServiceServicer):
    @stream_handler
    async def Connect(self, stream: ServerStream[ClientFrame, ServerFrame]) -> None:
        first = await stream.receive()
        word, number = purpose_of(first or ClientFrame())
        if word == COUNT:
            while await stream.receive() is not None:
                number += 1
            await stream.send(total(number))
        elif word == SEND:
            for _ in range(number):
                await stream.send(PONG)
        elif word == ECHO:
            while (frame := await stream.receive()) is not None:
                await stream.send(answer_to(frame))
        elif word == IDLE:
            await stream.send(PONG)
            await trio.sleep_forever()


async def respond(frames: AsyncIterator[ClientFrame]) -> AsyncIterator[ServerFrame]:
    """The service for servers with asynchronous generators as handlers."""
    word, number = purpose_of(await anext(frames))
    if word == COUNT:
        async for _ in frames:
            number += 1
        yield total(number)
    elif word == SEND:
        for _ in range(number):
            yield PONG
    elif word == ECHO:
        async for frame in frames:
            yield answer_to(frame)
    elif word == IDLE:
        yield PONG
        await anyio.sleep_forever()


def respond_blocking(frames: Iterator[ClientFrame], context: grpc.ServicerContext) -> Iterator[ServerFrame]:
    """The service for grpcio's threads."""
    word, number = purpose_of(next(frames))
    if word == COUNT:
        yield total(sum(1 for _ in frames))
    elif word == SEND:
        for _ in range(number):
            yield PONG
    elif word == ECHO:
        yield from map(answer_to, frames)
    elif word == IDLE:
        yield PONG
        left = threading.Event()
        context.add_callback(left.set)
        left.wait()


async def serve_ours(*, as_gateways_do: bool) -> None:
    listeners = await trio.open_tcp_listeners(0, host=HOST)
    announce(listeners[0].socket.getsockname()[1])
    configure_logs("info")
    interceptors = [count_calls, log_calls, trace_calls] if as_gateways_do else []
    await serve_rpc([Archive(), Sessions()], listeners, interceptors=interceptors, limits=Limits())


async def serve_purerpc() -> None:
    from purerpc.server import ConnectionHandler, Server  # not before rookery.purerpc_compat, which lets it be imported

    class PurerpcSessions(SessionServiceServicer):
        async def Connect(self, frames: AsyncIterator[ClientFrame]) -> AsyncIterator[ServerFrame]:
            async for frame in respond(frames):
                yield frame

    services: list[Servicer] = [Archive(), PurerpcSessions()]
    by_name = {servicer.service.name: servicer.service for servicer in services}
    # Its `serve_async` listens on every address.
    listener = await anyio.create_tcp_listener(local_host=HOST)
    announce(listener.extra(anyio.abc.SocketAttribute.local_port))
    await listener.serve(ConnectionHandler(by_name, Server()))  # type: ignore[no-untyped-call]


def handlers(get_chat: Callable[..., Any], connect: Callable[..., Any]) -> list[grpc.GenericRpcHandler]:
    """Return the methods for grpcio, as its own code generator defines them."""
    unary = grpc.unary_unary_rpc_method_handler(
        get_chat, request_deserializer=GetChatRequest.FromString, response_serializer=GetChatResponse.SerializeToString
    )
    stream = grpc.stream_stream_rpc_method_handler(
        connect, request_deserializer=ClientFrame.FromString, response_serializer=ServerFrame.SerializeToString
    )
    return [
        grpc.method_handlers_generic_handler("rookery.v1.ArchiveService", {"GetChat": unary}),
        grpc.method_handlers_generic_handler("rookery.v1.SessionService", {"Connect": stream}),
    ]


def serve_grpcio() -> None:
    server = grpc.server(ThreadPoolExecutor(THREADS))
    server.add_generic_rpc_handlers(handlers(lambda request, _: chat_of(request), respond_blocking))
    announce(server.add_insecure_port(f"{HOST}:0"))
    server.start()
    server.wait_for_termination()


async def serve_grpcio_on_asyncio() -> None:
    async def get_chat(request: GetChatRequest, _: object) -> GetChatResponse:
        return chat_of(request)

    async def connect(frames: AsyncIterator[ClientFrame], _: object) -> AsyncIterator[ServerFrame]:
        async for frame in respond(frames):
            yield frame

    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers(get_chat, connect))
    announce(server.add_insecure_port(f"{HOST}:0"))
    await server.start()
    await server.wait_for_termination()


def announce(port: int) -> None:
    print(port, flush=True)


SERVERS: dict[str, Callable[[], object]] = {
    "ours": lambda: trio.run(partial(serve_ours, as_gateways_do=False)),
    "ours, logged and traced": lambda: trio.run(partial(serve_ours, as_gateways_do=True)),
    "purerpc": lambda: anyio.run(serve_purerpc, backend="trio"),
    "grpcio, threads": serve_grpcio,
    "grpcio, asyncio": lambda: anyio.run(serve_grpcio_on_asyncio),
}
"""The servers by name."""

if __name__ == "__main__":
    SERVERS[sys.argv[1]]()
