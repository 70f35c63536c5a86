"""The accounts of a verification: made once, patiently, and with a word on long waits."""

import json
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from rookery.verify import Plan, VerifyError
from rookery.verify.accounts import REGISTER_DEADLINE, Accounts

NAMES = ["verify-00000", "verify-00001", "verify-00002"]


class StrictBff:
    """Takes so many new accounts, and then only one for each wait."""

    def __init__(self, free: int, wait_ms: int = 6_000) -> None:
        self.names: list[str] = []
        self.asked = 0
        self.down = False
        self._free = free
        self._wait_ms = wait_ms
        self._again_at = 0.0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        if self.down:
            raise httpx.ConnectError("down", request=request)
        name = json.loads(request.content)["name"]
        if request.url.path == "/v1/tokens":
            return self._sign_in(name)
        self.asked += 1
        if name in self.names:
            return httpx.Response(409, json={"code": "name_taken"})
        if len(self.names) >= self._free and trio.current_time() < self._again_at:
            return httpx.Response(429, json={"code": "rate_limited", "retry_after_ms": str(self._wait_ms)})
        self.names.append(name)
        self._again_at = trio.current_time() + self._wait_ms / 1000
        return httpx.Response(201, json=user(name))

    def _sign_in(self, name: str) -> httpx.Response:
        if name not in self.names:
            return httpx.Response(401, json={"code": "unauthenticated"})
        tokens = {"access_token": "a", "access_token_expires_at_ms": "1", "refresh_token": "r", "user": user(name)}
        return httpx.Response(200, json=tokens)


def user(name: str) -> dict[str, Any]:
    return {"user_id": "1", "name": name, "display_name": name}


async def make(bff: StrictBff) -> list[str]:
    """What was said."""
    said: list[str] = []
    await Accounts(Plan(), said.append, transport=httpx.MockTransport(bff.answer)).register(NAMES)
    return said


async def test_accounts_are_made_once() -> None:
    bff = StrictBff(free=3)
    assert await make(bff) == []
    assert sorted(bff.names) == NAMES
    assert await make(bff) == []
    assert bff.asked == 3


async def test_those_that_are_missing_are_made() -> None:
    bff = StrictBff(free=3)
    bff.names = NAMES[:2]
    await make(bff)
    assert sorted(bff.names) == NAMES


async def test_a_limit_is_waited_for_as_long_as_the_server_says(autojump_clock: MockClock) -> None:
    bff = StrictBff(free=1)
    began = trio.current_time()
    said = await make(bff)
    assert sorted(bff.names) == NAMES
    assert 12 <= trio.current_time() - began < 30
    assert "(rate_limited) by 6.0 s" in said[0]


async def test_a_limit_that_never_ends_is_told(autojump_clock: MockClock) -> None:
    with pytest.raises(VerifyError, match=f"within {REGISTER_DEADLINE:g} s"):
        await make(StrictBff(free=0, wait_ms=10**6))


async def test_a_server_that_does_not_answer_is_told() -> None:
    bff = StrictBff(free=3)
    bff.down = True
    with pytest.raises(VerifyError, match="no answer"):
        await make(bff)
