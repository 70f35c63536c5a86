"""An archive answers callers that have one of its tokens, and no others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rookery.client.http import open_api
from rookery.v1.archive_grpc import ArchiveServiceStub
from rookery.v1.archive_pb2 import GetChatRequest
from shared.rpc import RpcError, Status, call_unary, open_channel
from shared.rpc.client.prepare import send_token
from tools.launch.people import PASSWORD
from tools.launch.process import Rookery, port_of, running

OLD, NEW = "a-token-for-tests-only", "the-token-that-follows-it"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Rookery]:
    """A platform in the middle of a rotation: it sends the first token, and accepts both."""
    with running(Rookery(tmp_path / "data", settings={"ROOKERY_ARCHIVE_TOKEN": f"{OLD},{NEW}"})) as ready:
        yield ready


async def test_an_archive_accepts_each_of_its_tokens_and_no_other(guarded: Rookery) -> None:
    async with open_api(guarded.url, "ada", PASSWORD) as api:
        await api.register()
        await api.sign_in()
        assert not (await api.chats()).chats
    assert [await query(guarded, token) for token in (OLD, NEW)] == [None, None]
    refused = [await query(guarded, token) for token in (None, f"{OLD}x", f"{OLD},{NEW}")]
    assert refused == [Status.UNAUTHENTICATED] * 3
    assert OLD not in guarded.log.read_text()


async def query(rookery: Rookery, token: str | None) -> Status | None:
    """Send a query with a token; return its error status, None if it succeeds."""
    port = port_of(rookery.addresses["archive"])
    prepare = [send_token(token)] if token else []
    async with open_channel("127.0.0.1", port, prepare=prepare) as channel:
        request = GetChatRequest(user_id=1, chat_id="d-1-2")
        try:
            await call_unary(ArchiveServiceStub(channel).GetChat, request, timeout=30)
        except RpcError as error:
            return error.status
    return None
