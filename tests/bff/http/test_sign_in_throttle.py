"""Limits of failed sign-ins: their buckets, and over HTTP."""

import pytest
from trio.testing import MockClock

from bff.http.sign_in_throttle import ADDRESS_FACTOR, HOURLY_FACTOR, SignInThrottle
from shared.accounts.links import new_link
from shared.configuration.model import LiveConfiguration
from shared.throttle import HOUR, Attempt
from tests.bff.conftest import PASSWORD, Api


def test_an_address_has_several_names_worth() -> None:
    throttle = SignInThrottle()
    attempts = [throttle.begin(f"name{number}", "address", None, 2, now=0.0) for number in range(30)]
    assert sum(isinstance(each, Attempt) for each in attempts) == 2 * ADDRESS_FACTOR
    assert isinstance(throttle.begin("name", "another", None, 2, now=0.0), Attempt)


def test_a_name_that_is_blocked_does_not_use_up_the_address() -> None:
    throttle = SignInThrottle()
    for _ in range(1_000):
        throttle.begin("name", "address", None, 2, now=0.0)
    assert isinstance(throttle.begin("other", "address", None, 2, now=0.0), Attempt)


def test_guesses_at_many_addresses_are_limited_per_name_and_hour() -> None:
    throttle = SignInThrottle()
    attempts = [throttle.begin("name", f"address {number}", None, 2, now=0.0) for number in range(30)]
    assert sum(isinstance(each, Attempt) for each in attempts) == 2 * HOURLY_FACTOR
    assert throttle.begin("name", "address", None, 2, now=0.0) == pytest.approx(HOUR / (2 * HOURLY_FACTOR))


def test_a_known_device_has_a_limit_of_its_own_and_is_then_unknown() -> None:
    throttle = SignInThrottle()
    for number in range(30):
        throttle.begin("name", f"address {number}", None, 2, now=0.0)
    for _ in range(2):
        assert isinstance(throttle.begin("name", "address", "device", 2, now=0.0), Attempt)
    assert not isinstance(throttle.begin("name", "address", "device", 2, now=0.0), Attempt)
    assert isinstance(throttle.begin("name", "address", "another device", 2, now=0.0), Attempt)


def test_a_forgiven_attempt_counts_nowhere() -> None:
    throttle = SignInThrottle()
    for device_id in (None, "device"):
        for _ in range(100):
            attempt = throttle.begin("name", "address", device_id, 1, now=0.0)
            assert isinstance(attempt, Attempt)
            attempt.forgive()


# ---- over HTTP


@pytest.fixture
def configuration() -> LiveConfiguration:
    return LiveConfiguration(sign_ins_per_minute=3, registrations_per_minute=2)


async def test_wrong_passwords_from_one_address_do_not_delay_the_user_at_another(
    api: Api, mock_clock: MockClock
) -> None:
    await api.register("alice")
    right, wrong = {"name": "alice", "password": PASSWORD}, {"name": "Alice", "password": "wrong password"}
    for _ in range(3):
        assert (await api.call("POST", "/v1/tokens", wrong)).status == 401
    reply = await api.call("POST", "/v1/tokens", right)
    assert reply.refusal == (429, "rate_limited", "")
    assert reply.headers["Retry-After"] == "20"
    assert reply.body["retry_after_ms"] == 20_000
    assert (await api.call("POST", "/v1/tokens", right, address="192.0.2.9")).status == 200
    mock_clock.jump(20)
    await api.sign_in()


async def test_wrong_passwords_from_many_addresses_do_not_delay_a_known_device(api: Api) -> None:
    await api.register("alice")
    await api.register("bob")
    device_token = (await api.sign_in())["device_token"]
    bobs = (await api.call("POST", "/v1/tokens", {"name": "bob", "password": PASSWORD})).body["device_token"]
    wrong, right = {"name": "alice", "password": "wrong password"}, {"name": "alice", "password": PASSWORD}
    for number in range(3 * HOURLY_FACTOR):
        assert (await api.call("POST", "/v1/tokens", wrong, address=f"192.0.2.{number}")).status == 401
    for unknown in ("", "forged", bobs, device_token[:-4]):
        body = right | {"device_token": unknown}
        assert (await api.call("POST", "/v1/tokens", body, address="192.0.2.200")).status == 429, unknown
    reply = await api.call("POST", "/v1/tokens", right | {"device_token": device_token})
    assert reply.status == 200
    assert reply.body["device_token"] != device_token


async def test_a_device_token_ends_with_the_password_and_its_change_returns_the_next_one(api: Api) -> None:
    await api.register("alice")
    tokens = await api.sign_in()
    change = {"current_password": PASSWORD, "new_password": "another password"}
    reply = await api.call("PUT", "/v1/me/password", change, token=tokens["access_token"])
    assert (reply.status, set(reply.body)) == (200, {"device_token"})
    wrong = {"name": "alice", "password": PASSWORD}
    for number in range(3 * HOURLY_FACTOR):
        assert (await api.call("POST", "/v1/tokens", wrong, address=f"192.0.2.{number}")).status == 401
    right = {"name": "alice", "password": "another password"}
    for device_token, status in ((tokens["device_token"], 429), (reply.body["device_token"], 200)):
        body = right | {"device_token": device_token}
        assert (await api.call("POST", "/v1/tokens", body, address="192.0.2.200")).status == status


async def test_a_link_for_a_new_password_makes_a_device_known(api: Api) -> None:
    user_id = int((await api.register("alice"))["user_id"])
    link = new_link(str(user_id))
    await api.accounts.add_password_reset(user_id, link.digest, api.clock.now_ms + 1_000)
    for number in range(3 * HOURLY_FACTOR):
        wrong = {"name": "alice", "password": "wrong password"}
        assert (await api.call("POST", "/v1/tokens", wrong, address=f"192.0.2.{number}")).status == 401
    reset = await api.call("POST", "/v1/password-resets", {"token": link.token, "password": "another password"})
    right = {"name": "alice", "password": "another password", "device_token": reset.body["device_token"]}
    assert (await api.call("POST", "/v1/tokens", right, address="192.0.2.200")).status == 200


async def test_a_device_token_gives_no_access(api: Api) -> None:
    await api.register("alice")
    device_token = (await api.sign_in())["device_token"]
    assert (await api.call("GET", "/v1/me", token=device_token)).status == 401


async def test_an_unknown_name_is_limited_like_a_known_one(api: Api) -> None:
    statuses = [(await api.call("POST", "/v1/tokens", {"name": "nobody", "password": "x"})).status for _ in range(4)]
    assert statuses == [401, 401, 401, 429]


async def test_good_sign_ins_are_not_limited(api: Api) -> None:
    await api.register("alice")
    for _ in range(10):
        await api.sign_in()


async def test_failed_sign_ins_of_an_address_are_limited_over_all_names(api: Api, mock_clock: MockClock) -> None:
    """While the clock stands: one more is allowed every two seconds."""
    body = {"password": "wrong password"}
    statuses = [(await api.call("POST", "/v1/tokens", {**body, "name": f"name{n}"})).status for n in range(31)]
    assert statuses == [401] * 30 + [429]
    other = await api.call("POST", "/v1/tokens", {**body, "name": "name0"}, address="198.51.100.1")
    assert other.status == 401


async def test_guessing_the_current_password_is_limited_by_sign_in(api: Api) -> None:
    await api.register("alice")
    token = (await api.sign_in())["access_token"]
    change = {"current_password": "wrong password", "new_password": "another password"}
    statuses = [(await api.call("PUT", "/v1/me/password", change, token=token)).status for _ in range(4)]
    assert statuses == [403, 403, 403, 429]


@pytest.mark.parametrize(
    ("addresses", "other"),
    [(["192.0.2.1"] * 3, "198.51.100.1"), ([f"2001:db8::{n}" for n in range(3)], "2001:db8:0:1::1")],
    ids=["ipv4", "ipv6 of one customer"],
)
async def test_registrations_of_an_address_are_limited(api: Api, addresses: list[str], other: str) -> None:
    async def register(name: str, address: str) -> int:
        invented = {"X-Forwarded-For": f"203.0.113.{len(name)}", "Forwarded": f"for=203.0.113.{len(name)}"}
        body = {"name": name, "password": PASSWORD}
        return (await api.call("POST", "/v1/users", body, address=address, headers=invented)).status

    assert [await register("x" * n, address) for n, address in enumerate(addresses, 3)] == [201, 201, 429]
    assert await register("other", other) == 201
