"""Errors of one stream on the server: the stream ends with a status, and its connection goes on."""

import math

import pytest
import trio
from h2.errors import ErrorCodes
from h2.events import ResponseReceived, StreamEnded
from structlog.testing import capture_logs
from trio.testing import MockClock

from rookery.v1.session_grpc import SessionServiceStub
from rookery.v1.session_pb2 import ClientFrame, Ping, ServerFrame
from shared.rpc import Limits, RpcError, Status, open_channel, open_stream
from shared.rpc.framing import PREFIX
from tests.shared.rpc.conftest import CONNECT, GET_CHAT, Connect, ConnectRaw, IdleHandler, Serve, SessionStream
from tests.waiting import PATIENCE


async def test_a_stream_that_ends_with_its_headers_gets_a_status(connect_raw: ConnectRaw) -> None:
    client = await connect_raw()
    unary = await client.call(GET_CHAT, end=True)
    assert (await client.status_of(unary))[0] == Status.UNIMPLEMENTED
    streaming = await client.call(end=True)
    assert await client.status_of(streaming) == (Status.OK, "")
    await client.prove_alive()


@pytest.mark.parametrize(
    "header",
    [
        pytest.param((":method", "PUT"), id="method"),
        pytest.param((":path", "nothing"), id="path"),
        pytest.param((":path", "/a/b/c"), id="long-path"),
        pytest.param((":scheme", "ftp"), id="scheme"),
        pytest.param(("grpc-timeout", "1 second"), id="timeout"),
        pytest.param(("grpc-timeout", "123456789S"), id="timeout-of-nine-digits"),
        pytest.param(("grpc-timeout", "-1S"), id="timeout-below-zero"),
        pytest.param(("name", b"\xff\xfe"), id="not-utf-8"),
        pytest.param(("name-bin", "A"), id="not-base64"),
    ],
)
async def test_headers_that_are_wrong_fail_their_call_alone(
    header: tuple[str, str | bytes], connect_raw: ConnectRaw
) -> None:
    client = await connect_raw()
    stream_id = await client.call(client_path(header), header)
    assert (await client.status_of(stream_id))[0] == Status.INTERNAL
    await client.prove_alive()


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(("te", "gzip"), id="te"),
        pytest.param(("Upper", "case"), id="upper-case"),
        pytest.param(("connection", "close"), id="connection"),
        pytest.param(("name", "two\nlines"), id="line-break"),
        pytest.param((":path", ""), id="no-path"),
        pytest.param((":other", "x"), id="unknown-pseudo-header"),
    ],
)
async def test_headers_that_http2_does_not_allow_reset_their_call_alone(
    header: tuple[str, str], connect_raw: ConnectRaw
) -> None:
    """RFC 9113, 8.1.1."""
    client = await connect_raw()
    stream_id = await client.call(GET_CHAT, header)
    assert await client.reset_of(stream_id) is ErrorCodes.PROTOCOL_ERROR
    await client.prove_alive()
    assert client.server.statistics().calls_refused == 1


@pytest.mark.parametrize("trailer", [("Upper", "case"), ("connection", "close"), (":path", "/"), ("te", "gzip")])
async def test_trailers_that_http2_does_not_allow_reset_their_call_alone(
    trailer: tuple[str, str], connect_raw: ConnectRaw
) -> None:
    client = await connect_raw()
    stream_id = await client.call()
    await client.ping(stream_id)
    await client.data_of(stream_id)
    client.http2.send_headers(stream_id, [trailer], end_stream=True)
    await client.flush()
    assert await client.reset_of(stream_id) is ErrorCodes.PROTOCOL_ERROR
    await client.prove_alive()
    assert client.server.statistics().calls == 0


async def test_valid_trailers_of_a_request_end_it(connect_raw: ConnectRaw) -> None:
    client = await connect_raw()
    stream_id = await client.call()
    client.http2.send_headers(stream_id, [("name", "value")], end_stream=True)
    await client.flush()
    assert (await client.status_of(stream_id))[0] == Status.OK


@pytest.mark.parametrize("content_type", ["application/grpc+proto", "application/grpc;charset=utf-8"])
async def test_a_call_may_name_its_message_format(content_type: str, connect_raw: ConnectRaw) -> None:
    client = await connect_raw()
    stream_id = await client.call(CONNECT, ("content-type", content_type))
    await client.ping(stream_id)
    assert await client.data_of(stream_id)


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/grpc-web", "application/grpcX", "application/grpc-web+proto"]
)
async def test_a_request_that_is_no_call_gets_an_http_response(content_type: str, connect_raw: ConnectRaw) -> None:
    client = await connect_raw()
    stream_id = await client.call("/", (":method", "GET"), ("content-type", content_type), end=True)
    response = await client.receive_until(lambda event: isinstance(event, ResponseReceived))
    assert dict(response.headers)[":status"] == "415"
    assert b"gRPC" in await client.data_of(stream_id)
    await client.receive_until(lambda event: isinstance(event, StreamEnded))
    await client.prove_alive()


async def test_a_request_that_is_no_call_and_does_not_end_is_reset(
    connect_raw: ConnectRaw, autojump_clock: MockClock
) -> None:
    client = await connect_raw(limits=Limits(close_timeout=1))
    stream_id = await client.call("/upload", ("content-type", "text/html"))
    await client.send(stream_id, bytes(10_000))
    assert b"gRPC" in await client.data_of(stream_id)
    assert await client.reset_of(stream_id) is ErrorCodes.NO_ERROR
    assert trio.current_time() == pytest.approx(1)
    await client.prove_alive()


async def test_a_request_that_is_not_a_call_and_is_reset_at_once_leaves_nothing_behind(connect_raw: ConnectRaw) -> None:
    client = await connect_raw()
    for _ in range(50):
        client.http2.reset_stream(client.begin("/", ("content-type", "text/html")), ErrorCodes.CANCEL)
    await client.flush()
    await client.prove_alive()
    (connection,) = client.server.connections
    assert not connection.streams


def client_path(header: tuple[str, str | bytes]) -> str:
    return str(header[1]) if header[0] == ":path" else GET_CHAT


async def test_headers_over_the_limit_fail_their_call_alone(connect_raw: ConnectRaw) -> None:
    client = await connect_raw(limits=Limits(max_header_bytes=1_000))
    stream_id = await client.call(GET_CHAT, ("name", "x" * 1_000))
    assert (await client.status_of(stream_id))[0] == Status.RESOURCE_EXHAUSTED
    assert await client.reset_of(stream_id) is ErrorCodes.NO_ERROR
    await client.prove_alive()


async def test_headers_far_over_the_limit_end_the_connection(connect_raw: ConnectRaw) -> None:
    client = await connect_raw(limits=Limits(max_header_bytes=1_000))
    await client.call(GET_CHAT, ("name", "x" * 10_000))
    while await client.receive():
        pass
    await client.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert not client.server.connections
    assert client.server.statistics().connections_abused == 1


@pytest.mark.parametrize(
    ("data", "end", "status"),
    [
        pytest.param(b"\7\0\0\0\1x", False, Status.INTERNAL, id="flag"),
        pytest.param(PREFIX.pack(0, 1_001), False, Status.RESOURCE_EXHAUSTED, id="too-large"),
        pytest.param(PREFIX.pack(0, 4) + b"\xff\xff\xff\xff", False, Status.INTERNAL, id="not-the-message"),
        pytest.param(PREFIX.pack(0, 10) + b"short", True, Status.INTERNAL, id="ends-within"),
        pytest.param(PREFIX.pack(1, 4) + b"gzip", False, Status.INTERNAL, id="compressed-without-encoding"),
    ],
)
async def test_messages_that_are_wrong_fail_their_call_alone(
    data: bytes, end: bool, status: Status, connect_raw: ConnectRaw
) -> None:
    client = await connect_raw(limits=Limits(max_message_bytes=1_000))
    stream_id = await client.call()
    await client.send(stream_id, data, end=end)
    assert (await client.status_of(stream_id))[0] == status
    await client.prove_alive()


async def test_another_compression_is_unimplemented(connect_raw: ConnectRaw) -> None:
    client = await connect_raw()
    stream_id = await client.call(GET_CHAT, ("grpc-encoding", "snappy"))
    assert (await client.status_of(stream_id))[0] == Status.UNIMPLEMENTED
    await client.prove_alive()


async def test_an_rpc_error_reaches_the_client_whole(connect_raw: ConnectRaw) -> None:
    async def connect(stream: SessionStream) -> None:
        async with trio.open_nursery():  # wraps the error in an ExceptionGroup
            raise RpcError(Status.NOT_FOUND, "100 % gone: é\n", [("why", "moved"), ("why-bin", b"\0\1")])

    client = await connect_raw(connect=connect)
    stream_id = await client.call()
    assert await client.status_of(stream_id) == (Status.NOT_FOUND, "100%20%25%20gone:%20%C3%A9%0A")
    await client.prove_alive()


async def test_the_text_of_an_unexpected_exception_stays_in_the_log(connect_raw: ConnectRaw) -> None:
    async def connect(stream: SessionStream) -> None:
        raise RuntimeError("the password is swordfish")

    client = await connect_raw(connect=connect)
    with capture_logs() as logs:
        stream_id = await client.call()
        status, message = await client.status_of(stream_id)
    (entry,) = logs
    assert status == Status.INTERNAL
    assert "swordfish" not in message
    assert message == f"internal%20error%20{entry['error_id']}"
    assert "swordfish" in str(entry["exc_info"])
    await client.prove_alive()


async def fail_beside_an_expected_error(stream: SessionStream) -> None:
    raise ExceptionGroup("both", [RpcError(Status.NOT_FOUND, "gone"), ValueError("and broken")])


async def set_invalid_metadata(stream: SessionStream) -> None:
    stream.trailing_metadata = [("Bad Name", "value")]


@pytest.mark.parametrize("connect", [fail_beside_an_expected_error, set_invalid_metadata])
async def test_any_other_failure_is_internal(connect: Connect, connect_raw: ConnectRaw) -> None:
    client = await connect_raw(connect=connect)
    with capture_logs() as logs:
        assert (await client.status_of(await client.call()))[0] == Status.INTERNAL
    assert len(logs) == 1
    await client.prove_alive()


async def test_a_stream_can_not_be_used_after_its_handler(connect_raw: ConnectRaw) -> None:
    streams: list[SessionStream] = []

    async def connect(stream: SessionStream) -> None:
        streams.append(stream)

    client = await connect_raw(connect=connect)
    assert (await client.status_of(await client.call()))[0] == Status.OK
    with pytest.raises(RpcError):
        await streams[0].send(ServerFrame())
    with pytest.raises(RpcError):
        await streams[0].receive()
    await client.prove_alive()


async def test_a_stream_that_is_reset_at_once_never_reaches_its_handler(
    idle_handler: IdleHandler, connect_raw: ConnectRaw
) -> None:
    client = await connect_raw(connect=idle_handler)
    for _ in range(20):  # in one slice
        client.http2.reset_stream(client.begin(), ErrorCodes.CANCEL)
    await client.flush()
    await trio.testing.wait_all_tasks_blocked()
    await client.prove_alive()
    assert idle_handler.entered == 0


async def test_a_message_that_waits_for_the_server_is_not_sent_once_the_call_has_ended(
    serve: Serve,
) -> None:
    async def connect(stream: SessionStream) -> None:
        await stream.receive()  # and end the call with OK

    server = await serve(connect=connect)
    async with (
        open_channel("127.0.0.1", server.port) as channel,
        open_stream(SessionServiceStub(channel).Connect) as stream,
    ):
        await stream.send(ClientFrame(ping=Ping()))
        with trio.fail_after(PATIENCE), pytest.raises(RpcError, match="has ended the call"):
            await stream.send(ClientFrame(ping=Ping(payload=bytes(1_000_000))))
        assert stream.outcome is Status.OK
        assert await stream.receive() is None


async def test_a_stream_has_its_method_peer_and_deadline(serve: Serve) -> None:
    seen: list[SessionStream] = []

    async def connect(stream: SessionStream) -> None:
        seen.append(stream)

    server = await serve(connect=connect)
    async with (
        open_channel("127.0.0.1", server.port) as channel,
        open_stream(SessionServiceStub(channel).Connect) as stream,
    ):
        assert await stream.receive() is None
    assert seen[0].method == CONNECT
    assert seen[0].peer.startswith("127.0.0.1:")
    assert seen[0].deadline == math.inf
