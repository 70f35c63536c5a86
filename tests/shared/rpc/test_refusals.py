"""Refusals as statuses with details: our client gets back the refusal that was sent, a stock client can read it."""

from typing import Any

import grpc
import pytest
import trio
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from rookery.v1.archive_grpc import ArchiveServiceStub
from rookery.v1.archive_pb2 import GetChatRequest
from shared.contract.errors import Code, Refusal
from shared.rpc import RpcError, Status, call_unary, open_channel
from shared.rpc.protocol import DETAILS
from shared.rpc.refusals import DOMAIN, code_without_refusal, error_of, refusal_sent_with
from tests.shared.rpc.calling import PATIENCE
from tests.shared.rpc.conftest import Serve

REFUSALS = [Refusal(code, f"50 % of été: {code}.", "send.text.body", 2_500) for code in Code] + [
    Refusal(Code.NOT_FOUND, "There is no such chat."),
    Refusal(Code.UNAVAILABLE, "\N{CJK UNIFIED IDEOGRAPH-6CA1}" * 300, retry_after_ms=1),
]


async def test_a_refusal_that_a_handler_returns_reaches_the_client_whole(serve: Serve) -> None:
    async def get_chat(request: GetChatRequest) -> Any:
        await trio.lowlevel.checkpoint()
        return REFUSALS[request.user_id]

    received = []
    async with open_channel("127.0.0.1", (await serve(get_chat=get_chat)).port) as channel:
        for number in range(len(REFUSALS)):
            with pytest.raises(RpcError) as caught:
                await call_unary(ArchiveServiceStub(channel).GetChat, GetChatRequest(user_id=number), timeout=PATIENCE)
            received.append((refusal_sent_with(caught.value), caught.value.status))
    assert received == [(refusal, refusal.kind.grpc_status) for refusal in REFUSALS]


async def test_a_stock_client_reads_the_details(serve: Serve) -> None:
    async def get_chat(request: GetChatRequest) -> Any:
        await trio.lowlevel.checkpoint()
        return Refusal(Code.RATE_LIMITED, "Too many.", "limit", 2_500)

    port = (await serve(get_chat=get_chat)).port

    def use() -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/rookery.v1.ArchiveService/GetChat")(b"", timeout=PATIENCE)
        return caught.value

    error = await trio.to_thread.run_sync(use)
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many.")
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS])
    info, request, retry = ErrorInfo(), BadRequest(), RetryInfo()
    assert all(detail.Unpack(into) for detail, into in zip(status.details, (info, request, retry), strict=True))
    assert (status.code, status.message) == (code_pb2.RESOURCE_EXHAUSTED, "Too many.")
    assert (info.reason, info.domain) == ("rate_limited", "rookery")
    assert [(each.field, each.description) for each in request.field_violations] == [("limit", "Too many.")]
    assert retry.retry_delay.ToMilliseconds() == 2_500


@pytest.mark.parametrize(
    "details",
    [
        [],
        [RetryInfo()],
        [ErrorInfo(reason="not_found", domain="another.example")],
        [ErrorInfo(reason="of a later version", domain=DOMAIN)],
    ],
)
def test_other_details_are_no_refusal(details: list[Any]) -> None:
    assert refusal_sent_with(RpcError(Status.NOT_FOUND, "no", details=details)) is None


def test_a_negative_delay_is_none() -> None:
    error = error_of(Refusal(Code.UNAVAILABLE, "no", retry_after_ms=-5))
    assert refusal_sent_with(error) == Refusal(Code.UNAVAILABLE, "no")


def test_without_a_refusal_the_status_decides_about_a_retry() -> None:
    codes = {status: code_without_refusal(RpcError(status, "")) for status in Status}
    assert {status: code for status, code in codes.items() if code is not Code.INTERNAL} == {
        Status.UNAVAILABLE: Code.UNAVAILABLE,
        Status.RESOURCE_EXHAUSTED: Code.UNAVAILABLE,
        Status.DEADLINE_EXCEEDED: Code.TIMED_OUT,
    }
