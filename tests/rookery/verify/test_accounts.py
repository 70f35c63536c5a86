"""The accounts of a verification: registered once, with the waits that the server asks for."""

import json
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from rookery.verify import Plan, VerifyError
from rookery.verify.accounts import REGISTER_DEADLINE, Accounts
from tools.launch.people import PASSWORD

NAMES = ["verify-00000", "verify-00001", "verify-00002"]


class StrictBff:
    """Registers `free` accounts at once, and then one for each wait."""

    def __init__(self, free: int, wait_ms: int = 6_000) -> None:
        self.names: list[str] = []
        self.registrations = 0
        self.down = False
        self._free = free
        self._wait_ms = wait_ms
        self._again_at = 0.0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        if self.down:
            raise httpx.ConnectError("down", request=request)
        body = json.loads(request.content)
        name = body["name"]
        if request.url.path == "/v1/tokens":
            return self._sign_in(name, body["password"])
        self.registrations += 1
        if name in self.names:
            return httpx.Response(409, json={"code": "name_taken"})
        if len(self.names) >= self._free and trio.current_time() < self._again_at:
            return httpx.Response(429, json={"code": "rate_limited", "retry_after_ms": str(self._wait_ms)})
        self.names.append(name)
        self._again_at = trio.current_time() + self._wait_ms / 1000
        return httpx.Response(201, json=user(name))

    def _sign_in(self, name: str, password: str) -> httpx.Response:
        if name not in self.names or password != PASSWORD:
            return httpx.Response(401, json={"code": "unauthenticated"})
        tokens = {"access_token": "a", "access_token_expires_at_ms": "1", "refresh_token": "r", "user": user(name)}
        return httpx.Response(200, json=tokens)


def user(name: str) -> dict[str, Any]:
    return {"user_id": "1", "name": name, "display_name": name}


async def register(bff: StrictBff, password: str = PASSWORD) -> list[str]:
    """Register the accounts; return the reports."""
    reports: list[str] = []
    await Accounts(Plan(password=password), reports.append, transport=httpx.MockTransport(bff.answer)).register(NAMES)
    return reports


@pytest.mark.parametrize("existing", [0, 2])
async def test_missing_accounts_are_registered_once(existing: int) -> None:
    bff = StrictBff(free=3)
    bff.names = NAMES[:existing]
    for _ in range(2):
        assert await register(bff) == []
        assert sorted(bff.names) == NAMES
    assert bff.registrations == 3


@pytest.mark.parametrize("existing", [1, 3])
async def test_accounts_with_another_password_are_an_error_that_names_the_option(existing: int) -> None:
    bff = StrictBff(free=3)
    bff.names = NAMES[:existing]
    with pytest.raises(VerifyError, match="can't sign in: users that exist already need the --password-file"):
        await register(bff, "of another run")


async def test_registration_waits_for_a_limit_as_long_as_the_server_requests(autojump_clock: MockClock) -> None:
    bff = StrictBff(free=1)
    began = trio.current_time()
    reports = await register(bff)
    assert sorted(bff.names) == NAMES
    assert 12 <= trio.current_time() - began < 30
    assert "(rate_limited) by 6.0 s" in reports[0]


async def test_a_limit_that_never_ends_is_an_error(autojump_clock: MockClock) -> None:
    with pytest.raises(VerifyError, match=f"within {REGISTER_DEADLINE:g} s"):
        await register(StrictBff(free=0, wait_ms=10**6))


async def test_a_server_that_does_not_answer_is_an_error() -> None:
    bff = StrictBff(free=3)
    bff.down = True
    with pytest.raises(VerifyError, match="no answer"):
        await register(bff)
