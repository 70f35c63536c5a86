"""The bound of requests before a sign-in for whose clients the server waits, with and without a server."""

from functools import partial
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from bff.http import strangers
from bff.http.server import mark_authenticated
from bff.http.strangers import Strangers, mark_measured
from rookery.v1.archive_pb2 import GetFilesRequest, GetFilesResponse
from shared.contract.errors import Refusal
from tests.bff.conftest import Api
from tests.bff.http.connections import Receive, Send, connected, serving

HELD = "POST /v1/users HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"
"""A request whose body does not come. The response to its head says that the server has begun to serve it."""

SCOPE: Any = {"type": "http", "method": "POST", "path": "/"}


@pytest.fixture(autouse=True)
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "MAX_STRANGERS", 2)


class Requests:
    """Requests to an application that works until they end, after these steps: `body` receives the body,
    `token` accepts a token, `measured` makes the response, `response` begins it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.ended: list[int] = []
        self.statuses: dict[int, list[int]] = {}
        self._nursery = nursery
        self._strangers = Strangers({"X-Content-Type-Options": "nosniff"})

    async def begin(self, number: int, *steps: str) -> None:
        self._nursery.start_soon(self._serve, number, steps)
        await trio.testing.wait_all_tasks_blocked()

    async def _serve(self, number: int, steps: tuple[str, ...]) -> None:
        statuses = self.statuses.setdefault(number, [])

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(event: Any) -> None:
            if event["type"] == "http.response.start":
                assert (b"x-content-type-options", b"nosniff") in event["headers"] or event["status"] == 200
                statuses.append(event["status"])

        await self._strangers.serve(partial(_work, steps), SCOPE, receive, send)
        self.ended.append(number)


async def _work(steps: tuple[str, ...], scope: Any, receive: Receive, send: Send) -> None:
    if "token" in steps:
        mark_authenticated(scope, 1)
    if "body" in steps:
        await receive()
    if "measured" in steps:
        mark_measured(scope)
    if "response" in steps:
        await send({"type": "http.response.start", "status": 200, "headers": []})
    await trio.sleep_forever()


async def test_one_more_request_ends_the_oldest_whose_client_is_waited_for(nursery: trio.Nursery) -> None:
    requests = Requests(nursery)
    await requests.begin(1, "token")
    await requests.begin(2, "body")
    await requests.begin(3, "token", "response")
    for number in (4, 5, 6, 7):
        await requests.begin(number)
    assert requests.ended == [4, 5]
    assert (requests.statuses[4], requests.statuses[7]) == ([408], [])


async def test_an_ended_request_is_measured_once_and_ends_are_logged_once_a_minute(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[Any, ...]] = []
    monkeypatch.setattr(strangers, "measure_request", lambda *given: measured.append(given[:3]))
    requests = Requests(nursery)
    await requests.begin(1)
    await requests.begin(2, "measured")
    with structlog.testing.capture_logs() as logs:
        await requests.begin(3)
        await requests.begin(4)
    assert requests.ended == [1, 2]
    assert measured == [("POST", "", 408)]
    assert [(line["event"], line["total"]) for line in logs] == [("requests_evicted", 1)]


async def test_a_client_that_does_not_read_its_response_is_waited_for(nursery: trio.Nursery) -> None:
    requests = Requests(nursery)
    await requests.begin(1, "body", "response")
    await requests.begin(2)
    await requests.begin(3)
    assert (requests.ended, requests.statuses[1]) == ([1], [200])


async def test_many_bodies_that_do_not_come_end_the_oldest_and_no_upload(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_verified, get_files = trio.Event(), api.archive.get_files

    async def get_files_then(request: GetFilesRequest) -> GetFilesResponse | Refusal:
        is_verified.set()
        return await get_files(request)

    reserved = await api.call("POST", "/v1/files", {"client_file_id": "c", "name": "n", "size": 2}, token=token)
    monkeypatch.setattr(api.archive, "get_files", get_files_then)
    path, bearer = f"/v1/files/{reserved.body['file_id']}/parts/1", f"Authorization: Bearer {token}"
    async with serving(api.app) as server, connected(server) as user, connected(server) as oldest:
        await user.send(f"PUT {path} HTTP/1.1\r\nHost: x\r\n{bearer}\r\nContent-Length: 2\r\n\r\nx")
        await is_verified.wait()
        await oldest.send(HELD)
        await oldest.until(b"\r\n\r\n")
        async with connected(server) as second, connected(server) as third:
            for client in (second, third):
                await client.send(HELD)
            ended = await oldest.rest()
            assert ended.startswith(b"HTTP/1.1 408")
            assert b'"incomplete"' in ended
            assert b"content-security-policy: " in ended.lower()
        await user.send("y")
        assert (await user.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
