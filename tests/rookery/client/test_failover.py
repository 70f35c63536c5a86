"""Failover between several BFFs."""

import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rookery.client import Unreachable, open_api
from rookery.client.failover import Failover

URLS = ["http://one:1", "http://two:2", "https://three:3"]


class Bffs:
    """Respond with their own URLs, unless they are `down` or `silent`."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.silent: set[str] = set()
        self.answering = trio.Event()
        self.answering.set()
        self.requested: list[str] = []

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requested.append(request.url.host)
        await self.answering.wait()
        if request.url.host in self.down:
            raise httpx.ConnectError("down", request=request)
        if request.url.host in self.silent:
            raise httpx.ReadTimeout("silent", request=request)
        where = f"{request.url.scheme}://{request.headers['Host']}"
        return httpx.Response(200, json={"user_id": "1", "name": where, "display_name": request.url.path})


async def register(bffs: Bffs, first: int, times: int = 1) -> list[str]:
    """Return the URLs of the BFFs that responded."""
    async with open_api("http://any", "ada", "pw", transport=Failover(URLS, first, transport=bffs.transport)) as api:
        return [(await api.register()).name for _ in range(times)]


async def test_a_client_starts_with_its_first_bff_and_keeps_it() -> None:
    assert [await register(Bffs(), first, times=2) for first in range(4)] == [[url] * 2 for url in (*URLS, URLS[0])]


async def test_a_bff_that_is_down_is_skipped_and_not_retried() -> None:
    bffs = Bffs()
    bffs.down = {"one", "two"}
    assert await register(bffs, 0, times=2) == ["https://three:3", "https://three:3"]
    assert bffs.requested == ["one", "two", "three", "three"]


async def test_without_any_bff_the_request_is_unreachable() -> None:
    bffs = Bffs()
    bffs.down = {"one", "two", "three"}
    with pytest.raises(Unreachable):
        await register(bffs, 1)
    assert bffs.requested == ["two", "three", "one"]


async def test_a_post_without_an_answer_is_not_repeated_but_the_next_request_goes_to_the_next_bff() -> None:
    bffs = Bffs()
    bffs.silent = {"one"}
    async with open_api("http://any", "ada", "pw", transport=Failover(URLS, transport=bffs.transport)) as api:
        with pytest.raises(Unreachable):
            await api.register()
        assert (await api.register()).name == "http://two:2"
    assert bffs.requested == ["one", "two"]


async def test_a_get_without_an_answer_goes_to_the_next_bff() -> None:
    bffs = Bffs()
    bffs.silent = {"two", "three"}
    async with httpx.AsyncClient(transport=Failover(URLS, 1, transport=bffs.transport)) as http:
        assert (await http.get("http://any/v1/me")).json()["name"] == "http://one:1"
        bffs.silent = {"one", "two", "three"}
        with pytest.raises(httpx.ReadTimeout):
            await http.get("http://any/v1/me")
    assert bffs.requested == ["two", "three", "one", "one", "two", "three"]


async def test_requests_that_fail_together_go_to_the_same_next_bff() -> None:
    bffs = Bffs()
    bffs.down = {"one"}
    bffs.answering = trio.Event()
    answers: list[str] = []
    async with httpx.AsyncClient(transport=Failover(URLS[:2], transport=bffs.transport)) as http:

        async def get() -> None:
            answers.append((await http.get("http://any/v1/me")).json()["name"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            nursery.start_soon(get)
            await wait_all_tasks_blocked()
            bffs.answering.set()
        await get()
    assert answers == ["http://two:2"] * 3
    assert bffs.requested == ["one", "one", "two", "two", "two"]
