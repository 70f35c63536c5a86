"""Rotation of signing keys: no user is signed out, and tokens of a retired key are refused.

`tests/shared/accounts/test_tokens.py` proves on a mock clock that a running process reloads the keys within a
minute. Here the process is restarted instead, as in a rolling restart.
"""

import base64
import json

import httpx
import pytest
import trio

from tests.system.commands import command
from tests.system.sessions import TRANSPORTS, connector, open_session
from tools.launch.people import PATIENCE, Person, open_http, sign_in, sign_up
from tools.launch.process import POLL_SECONDS, Rookery


def key_of(person: Person) -> str:
    """The id of the key that signed the access token."""
    header = person.access_token.split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=="))["kid"])


async def restart(rookery: Rookery) -> None:
    assert await trio.to_thread.run_sync(rookery.terminate) == 0
    await trio.to_thread.run_sync(rookery.start)


async def status_of(rookery: Rookery, person: Person) -> int:
    async with open_http(rookery.url) as http:
        return (await http.get("/v1/me", headers=person.headers)).status_code


@pytest.mark.slow  # a new key rests for seconds before it signs
async def test_after_a_rotation_the_new_key_signs_and_every_token_stays_valid(own_rookery: Rookery) -> None:
    before = await sign_up(own_rookery.url)
    old = key_of(before)

    await command(own_rookery, "keys", "rotate")
    # Not at once: another process may have loaded the keys a moment before.
    during = await sign_in(own_rookery.url, before.name)
    assert key_of(during) == old
    new, other = [line.split()[0] for line in (await command(own_rookery, "keys", "list")).splitlines()]
    assert (new != old, other) == (True, old)
    await restart(own_rookery)
    with trio.fail_after(PATIENCE):
        while key_of(after := await sign_in(own_rookery.url, before.name)) != new:
            await trio.sleep(POLL_SECONDS * 10)

    for person in (before, during, after):
        assert await status_of(own_rookery, person) == httpx.codes.OK
        for transport in TRANSPORTS:
            async with open_session(connector(own_rookery, transport), person) as session:
                await session.check_alive()


@pytest.mark.slow
async def test_tokens_of_a_retired_key_are_rejected_and_the_sign_in_stays_valid(own_rookery: Rookery) -> None:
    before = await sign_up(own_rookery.url)
    old = key_of(before)
    await command(own_rookery, "keys", "rotate")
    during = await sign_in(own_rookery.url, before.name)
    assert key_of(during) == old
    assert [await status_of(own_rookery, person) for person in (before, during)] == [httpx.codes.OK] * 2
    refused = await trio.to_thread.run_sync(own_rookery.run, "keys", "retire", old)
    assert (refused.returncode, "may be valid for" in refused.stderr) == (1, True)
    await command(own_rookery, "keys", "retire", "--now", old)
    await restart(own_rookery)
    assert await status_of(own_rookery, before) == httpx.codes.UNAUTHORIZED
    async with open_http(own_rookery.url) as http:
        answer = await http.post("/v1/tokens/refresh", json={"refresh_token": before.refresh_token})
        assert answer.status_code == httpx.codes.OK
    after = await sign_in(own_rookery.url, before.name)
    assert key_of(after) != old
    assert await status_of(own_rookery, after) == httpx.codes.OK
