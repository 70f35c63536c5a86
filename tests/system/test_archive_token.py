"""An archive with a token answers those who have it, and nobody else who reaches it."""

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

TOKEN = "a-token-for-tests-only"
NEXT = "the-token-that-follows-it"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Rookery]:
    with running(Rookery(tmp_path / "data", settings={"ROOKERY_ARCHIVE_TOKEN": TOKEN})) as ready:
        yield ready


async def test_an_archive_with_a_token_is_open_to_the_bff_and_closed_to_strangers(guarded: Rookery) -> None:
    async with open_api(guarded.url, "ada", PASSWORD) as api:
        await api.register()
        await api.sign_in()
        assert not (await api.chats()).chats
    port = port_of(guarded.addresses["archive"])
    for prepare, status in (
        ([send_token(TOKEN)], None),
        ([send_token(TOKEN + "x")], Status.UNAUTHENTICATED),
        ([], Status.UNAUTHENTICATED),
    ):
        async with open_channel("127.0.0.1", port, prepare=prepare) as channel:
            assert await ask(channel) is status
    assert TOKEN not in guarded.log.read_text()


@pytest.fixture
def with_two(tmp_path: Path) -> Iterator[Rookery]:
    with running(Rookery(tmp_path / "data", settings={"ROOKERY_ARCHIVE_TOKEN": f"{TOKEN},{NEXT}"})) as ready:
        yield ready


async def test_while_tokens_are_replaced_both_are_taken_and_the_first_is_sent(with_two: Rookery) -> None:
    async with open_api(with_two.url, "ada", PASSWORD) as api:
        await api.register()
        await api.sign_in()
        assert not (await api.chats()).chats
    port = port_of(with_two.addresses["archive"])
    for token, status in ((TOKEN, None), (NEXT, None), (f"{TOKEN},{NEXT}", Status.UNAUTHENTICATED)):
        async with open_channel("127.0.0.1", port, prepare=[send_token(token)]) as channel:
            assert await ask(channel) is status


async def ask(channel: object) -> Status | None:
    """What a query ends as; None if it is answered."""
    try:
        await call_unary(ArchiveServiceStub(channel).GetChat, GetChatRequest(user_id=1, chat_id="d-1-2"), timeout=30)
    except RpcError as error:
        return error.status
    return None
