"""Streamed bodies: read as they are wanted, discarded after a refusal, and given up with their client."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from bff.http.bodies import (
    DISCARD_SECONDS,
    LEAST_RATE,
    PIECE_SECONDS,
    ClientGone,
    StreamedBody,
    TooSlow,
    slowest,
    stream_body,
)
from tests.bff.conftest import Api
from tests.bff.http.connections import connected, serving

PIECE = {"type": "http.request", "body": b"x", "more_body": True}
LAST = {"type": "http.request", "body": b"y", "more_body": False}
GONE = {"type": "http.disconnect"}
START = {"type": "http.response.start", "status": 404}


class Connection:
    """A client that sends these events and is silent then, and the body of its request."""

    def __init__(self, *events: Any) -> None:
        self.events = list(events)
        self.sent: list[Any] = []
        self.body = StreamedBody(self.receive, self.send)

    async def receive(self) -> Any:
        if not self.events:
            await trio.sleep_forever()
        return self.events.pop(0)

    async def send(self, event: Any) -> None:
        self.sent.append((event, len(self.events)))


async def test_a_piece_is_received_when_it_is_wanted_and_quart_gets_none() -> None:
    client = Connection(PIECE, LAST, GONE)
    assert await client.body.receive() == {"type": "http.request", "body": b"", "more_body": False}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.body.receive)
        await trio.testing.wait_all_tasks_blocked()
        assert await client.body.__anext__() == b"x"
        assert client.events == [LAST, GONE]
        assert [piece async for piece in client.body] == [b"y"]
        assert client.events == [GONE]
        await client.body.send(START)
    assert client.events == []


async def test_a_refused_body_is_read_before_the_response_begins() -> None:
    client = Connection(PIECE, PIECE, LAST)
    await client.body.send(START)
    assert client.sent == [(START, 0)]


async def test_a_refused_body_takes_no_turn_of_files_and_is_read_up_to_the_size_of_a_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []

    async def take_piece() -> None:
        taken.append(1)

    monkeypatch.setattr("bff.http.bodies.FILES.take_piece", take_piece)
    monkeypatch.setattr("bff.http.bodies.MAX_PART_BYTES", 3)
    client = Connection(PIECE, PIECE, PIECE, PIECE, LAST)
    await client.body.send(START)
    assert (taken, client.sent) == ([], [(START, 2)])


async def test_a_body_ends_with_its_client_and_quart_learns_of_it() -> None:
    client = Connection(PIECE, GONE)
    await client.body.receive()
    assert await client.body.__anext__() == b"x"
    for _ in range(2):
        with pytest.raises(ClientGone):
            await client.body.__anext__()
    assert await client.body.receive() == GONE


async def test_a_silent_client_is_too_slow_and_delays_its_response_by_a_limited_time(autojump_clock: Any) -> None:
    client = Connection(PIECE)
    began = trio.current_time()
    with pytest.raises(TooSlow):
        [piece async for piece in client.body]
    assert trio.current_time() - began == pytest.approx(PIECE_SECONDS)
    await client.body.send(START)
    assert trio.current_time() - began == pytest.approx(PIECE_SECONDS + DISCARD_SECONDS)


@pytest.mark.parametrize(("size", "is_enough"), [(LEAST_RATE * 5 - 2_000, False), (LEAST_RATE * 5, True)])
async def test_a_client_that_sends_too_little_is_too_slow(size: int, is_enough: bool, autojump_clock: Any) -> None:
    """One piece each 5 seconds, for ten minutes."""
    client = Connection(*[PIECE | {"body": bytes(size)}] * 120, LAST)
    receive = client.receive

    async def receive_slowly() -> Any:
        await trio.sleep(5)
        return await receive()

    body = StreamedBody(receive_slowly, client.send)
    received = 0
    try:
        async for piece in body:
            received += len(piece)
            await trio.sleep(30)  # the store is slow, which is not the client's fault
    except TooSlow:
        assert not is_enough
    else:
        assert is_enough
        assert received == 120 * size + 1


async def test_the_slowest_body_is_the_one_with_the_fewest_bytes_while_its_client_was_waited_for(
    autojump_clock: Any,
) -> None:
    fast, slow, young = Connection(PIECE, PIECE, PIECE), Connection(PIECE, PIECE), Connection(PIECE)
    whole = Connection(LAST)

    async def read(body: StreamedBody) -> None:
        async for _ in body:
            pass

    bodies = [each.body for each in (fast, slow, young, whole)]
    async with trio.open_nursery() as nursery:
        for body in (fast.body, slow.body, whole.body):
            nursery.start_soon(read, body)
        await trio.sleep(10)
        nursery.start_soon(read, young.body)
        await trio.sleep(5)
        assert slowest(bodies, 15.0) is slow.body
        assert slowest(bodies, 5.0) is slow.body
        assert slowest([young.body, whole.body], 6.0) is None
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("method", "path", "is_streamed"),
    [
        ("PUT", "/v1/files/1/parts/2", True),
        ("PUT", "/v1/files/x/parts/y", True),
        ("POST", "/v1/files/1/parts/2", False),
        ("PUT", "/v1/files/1/parts/2/3", False),
        ("PUT", "/v1/me/password", False),
    ],
)
def test_only_bodies_of_parts_are_streamed(method: str, path: str, is_streamed: bool) -> None:
    scope: Any = {"type": "http", "method": method, "path": path}
    client: Any = Connection()
    assert (stream_body(scope, client.receive, client.send) is not None) == is_streamed


def put(number: int, token: str, sent: bytes, size: int, headers: Sequence[str] = ()) -> bytes:
    lines = [
        f"PUT /v1/files/1/parts/{number} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {token}",
        f"Content-Length: {size}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + sent


async def test_a_connection_outlives_a_refused_part(api: Api, token: str) -> None:
    async with serving(api.app) as server, connected(server) as client:
        for _ in range(2):
            await client.send(put(1, token, bytes(1_000_000), 1_000_000))
            assert b"404" in await client.until(b"no such file")
        await client.send(put(1, token, b"", 9, ["Expect: 100-continue"]))
        assert b"100 " in await client.until(b"\r\n\r\n")


async def test_a_part_of_a_client_that_is_gone_is_not_stored(api: Api, token: str) -> None:
    body = {"client_file_id": "c", "name": "n", "size": 1_000_000}
    file_id = (await api.call("POST", "/v1/files", body, token=token)).body["file_id"]
    async with serving(api.app) as server, connected(server) as client:
        await client.send(put(1, token, bytes(500_000), 1_000_000).replace(b"files/1/", f"files/{file_id}/".encode()))
    assert (await api.call("GET", f"/v1/files/{file_id}", token=token)).body["parts"] == []
