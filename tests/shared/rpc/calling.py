"""Calls that the client's tests make, and an archive that responds to them."""

# The generated base class calls every request `input_message`:
# pyright: reportIncompatibleMethodOverride=false

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from rookery.v1.archive_grpc import ArchiveServiceServicer, ArchiveServiceStub
from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from rookery.v1.session_grpc import SessionServiceStub
from rookery.v1.session_pb2 import ClientFrame, Ping
from shared.rpc import Channel, RpcError, call_unary, open_stream

PATIENCE = 30.0
"""Seconds that calls may take: only a test that has failed takes that long."""


async def get_chat(channel: Channel, chat_id: str = "d-1-2", **options: Any) -> str:
    """Call GetChat, and return the id of the chat in the response."""
    options = {"timeout": PATIENCE} | options
    response: GetChatResponse = await call_unary(
        ArchiveServiceStub(channel).GetChat, GetChatRequest(chat_id=chat_id), **options
    )
    return response.chat.chat_id


async def failure_of(channel: Channel, **options: Any) -> RpcError:
    """Return the error of such a call."""
    with pytest.raises(RpcError) as failure:
        await get_chat(channel, **options)
    return failure.value


GetChat = Callable[[GetChatRequest], Awaitable[GetChatResponse]]


async def echo_chat(request: GetChatRequest) -> GetChatResponse:
    """Respond with the requested chat id."""
    response = GetChatResponse()
    response.chat.chat_id = request.chat_id
    return response


def named(name: str) -> GetChat:
    """Return a GetChat that responds with a name as the chat id."""
    return lambda _: echo_chat(GetChatRequest(chat_id=name))


def failing(error: Exception) -> GetChat:
    """Return a GetChat that raises the error."""

    async def get_chat(_: GetChatRequest) -> GetChatResponse:
        raise error

    return get_chat


class Archive(ArchiveServiceServicer):
    """An archive with a test's GetChat."""

    def __init__(self, get_chat: GetChat = echo_chat) -> None:
        self._get_chat = get_chat

    async def GetChat(self, request: GetChatRequest) -> GetChatResponse:
        return await self._get_chat(request)


def ping(payload: bytes = b"") -> ClientFrame:
    """Return a frame whose answer is a pong."""
    return ClientFrame(ping=Ping(payload=payload))


async def listen(channel: Channel, *, timeout: float) -> None:  # noqa: ASYNC109 - the call's own
    """Hold a stream until the call's timeout ends it with an RpcError."""
    async with open_stream(SessionServiceStub(channel).Connect, timeout=timeout) as stream:
        await stream.receive()
        await trio.sleep_forever()
