"""Long list headers and queries of strangers cost no more than short ones."""

import cProfile

import pytest

from bff.http.list_headers import MAX_LIST_BYTES
from shared.contract.avatars import new_avatar
from tests.bff.conftest import Api

STEPS = 2_800
"""Calls of functions for a request, which hardly depend on the machine's speed; the page takes some 2,500, of which the
random order of Trio's tasks changes some 50."""

BYTES = 16_000
"""As many as a head may have."""


def filled(item: str) -> str:
    return item * (BYTES // len(item))


async def steps_of(api: Api, path: str, headers: dict[str, str]) -> int:
    with cProfile.Profile() as profile:
        await api.call("GET", path, headers=headers)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/none", {"Accept": filled("a/b,")}),
        ("/none", {"Accept": filled(";q=0.1,")}),
        ("/none", {"accept": filled("a/b,")}),
        ("/", {"Accept-Encoding": filled("a,")}),
        ("/", {"If-None-Match": filled('"a",')}),
        ("/none", {"Accept-Language": filled("a,")}),
        (f"/avatars/{new_avatar('1')}?{filled('a&')}", {}),
        (f"/none?{filled('a&')}", {}),
        (f"/files/1/a?{filled('a&')}", {}),
        ("/v1/me", {"Cookie": filled("a;"), "Content-Type": filled("a;"), "Range": filled("1-2,")}),
    ],
)
async def test_a_stranger_s_request_takes_few_steps(api: Api, path: str, headers: dict[str, str]) -> None:
    await api.call("GET", path)
    assert await steps_of(api, path, headers) < STEPS


async def test_a_list_that_is_too_long_is_ignored(api: Api) -> None:
    for size, is_compressed in ((MAX_LIST_BYTES, True), (MAX_LIST_BYTES + 1, False)):
        reply = await api.call("GET", "/", headers={"Accept-Encoding": "gzip,".ljust(size, "a")})
        assert ("Content-Encoding" in reply.headers) == is_compressed
