"""Calls that the client's tests make, and an archive that responds to them."""

# The generated base class calls every request `input_message`:
# pyright: reportIncompatibleMethodOverride=false

from typing import TYPE_CHECKING, Any

import pytest

from rookery.v1.archive_grpc import ArchiveServiceServicer, ArchiveServiceStub
from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from rookery.v1.session_pb2 import ClientFrame, Ping
from shared.rpc import Channel, RpcError, call_unary

if TYPE_CHECKING:
    from tests.shared.rpc.conftest import GetChat

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


class Archive(ArchiveServiceServicer):
    """An archive that responds with its name as the chat id; without a name, with the requested chat id."""

    def __init__(self, name: str = "") -> None:
        self._name = name

    async def GetChat(self, request: GetChatRequest) -> GetChatResponse:
        response = GetChatResponse()
        response.chat.chat_id = self._name or request.chat_id
        return response


def named(name: str) -> "GetChat":
    """Return the GetChat of such an archive."""
    return Archive(name).GetChat


def ping(payload: bytes = b"") -> ClientFrame:
    """Return a frame that sessions answer with a pong."""
    return ClientFrame(ping=Ping(payload=payload))
