"""Several BFFs for one client: one that is down costs nothing but a try."""

import httpx
import pytest

from rookery.client import Unreachable, open_api
from rookery.client.failover import Failover

URLS = ["http://one:1", "http://two:2", "https://three:3"]


class Bffs:
    """Answer with their own names, unless they are `down` or `silent`."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.silent: set[str] = set()
        self.asked: list[str] = []

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.host)
        if request.url.host in self.down:
            raise httpx.ConnectError("down", request=request)
        if request.url.host in self.silent:
            raise httpx.ReadTimeout("silent", request=request)
        where = f"{request.url.scheme}://{request.headers['Host']}"
        return httpx.Response(200, json={"user_id": "1", "name": where, "display_name": request.url.path})


async def ask(bffs: Bffs, first: int, times: int = 1) -> list[str]:
    """Who answered."""
    async with open_api("http://any", "ada", "pw", transport=Failover(URLS, first, transport=bffs.transport)) as api:
        return [(await api.register()).name for _ in range(times)]


async def test_clients_start_where_they_are_told_and_stay_there() -> None:
    assert [await ask(Bffs(), first, times=2) for first in range(4)] == [[url] * 2 for url in (*URLS, URLS[0])]


async def test_one_that_is_down_is_passed_over_and_not_asked_again() -> None:
    bffs = Bffs()
    bffs.down = {"one", "two"}
    assert await ask(bffs, 0, times=2) == ["https://three:3", "https://three:3"]
    assert bffs.asked == ["one", "two", "three", "three"]


async def test_without_any_it_says_so() -> None:
    bffs = Bffs()
    bffs.down = {"one", "two", "three"}
    with pytest.raises(Unreachable):
        await ask(bffs, 1)
    assert bffs.asked == ["two", "three", "one"]


async def test_what_was_sent_and_not_answered_is_not_sent_again_but_the_next_goes_elsewhere() -> None:
    bffs = Bffs()
    bffs.silent = {"one"}
    async with open_api("http://any", "ada", "pw", transport=Failover(URLS, transport=bffs.transport)) as api:
        with pytest.raises(Unreachable):
            await api.register()
        assert (await api.register()).name == "http://two:2"
    assert bffs.asked == ["one", "two"]


async def test_what_only_reads_is_asked_of_the_next_when_it_is_not_answered() -> None:
    bffs = Bffs()
    bffs.silent = {"two", "three"}
    async with httpx.AsyncClient(transport=Failover(URLS, 1, transport=bffs.transport)) as http:
        assert (await http.get("http://any/v1/me")).json()["name"] == "http://one:1"
        bffs.silent = {"one", "two", "three"}
        with pytest.raises(httpx.ReadTimeout):
            await http.get("http://any/v1/me")
    assert bffs.asked == ["two", "three", "one", "one", "two", "three"]
