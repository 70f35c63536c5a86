"""What a running process says of itself: probes on all three roles, and logs that keep secrets."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
import trio

from rookery.client import open_client
from rookery.v1 import session_pb2 as pb
from tests.system.sessions import TRANSPORTS, connector, open_session
from tools.launch.people import PASSWORD, Person, issue_token, open_http, sign_in, sign_out, sign_up
from tools.launch.process import Rookery, running

ROLES = ("page", "gateway_health", "archive_health")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("probe", ["livez", "readyz", "startupz"])
async def test_every_role_answers_every_probe_with_named_checks(rookery: Rookery, role: str, probe: str) -> None:
    async with open_http(urljoin(rookery.addresses[role], "/")) as http:
        answer = await http.get(f"/{probe}")
        assert answer.status_code == 200
        assert answer.json()["status"] == "ok"
        checks = answer.json()["checks"]
        assert checks
        assert all(check["ok"] and check["name"] and check["explanation"] for check in checks)
        assert (await http.head(f"/{probe}")).status_code == 200
        assert (await http.get("/v1/nothing")).status_code == 404


@pytest.fixture
def talkative(tmp_path: Path) -> Iterator[Rookery]:
    """One that logs all it can."""
    with running(Rookery(tmp_path / "data", settings={"ROOKERY_LOG_LEVEL": "debug"})) as ready:
        yield ready


async def test_passwords_tokens_and_texts_never_reach_the_log(talkative: Rookery) -> None:
    rookery, secret = talkative, "a text that is nobody's business"
    ada, grace = await sign_up(rookery.url, "ada"), await sign_up(rookery.url, "grace")
    expired = await issue_token(rookery, ada, -1)
    for transport in TRANSPORTS:
        async with open_session(connector(rookery, transport), ada) as session:
            await session.send_text(grace.user_id, secret)
            await session.say(send=pb.Send(text=pb.Text(body=secret)))
            await session.next("refused")
            await session.say(renew=pb.Renew(access_token=expired))
            await session.next("refused")
    async with open_client(rookery.url, grace.name, PASSWORD) as client:
        await client.send(ada.user_id, secret)
    fresh = await misbehave(rookery, ada, expired)
    await sign_out(rookery.url, fresh)
    assert await trio.to_thread.run_sync(rookery.terminate) == 0

    assert {"time", "level", "event", "logger"} <= set.intersection(*map(set, rookery.log_lines()))
    log = rookery.log.read_text()
    tokens = [token for person in (ada, grace, fresh) for token in (person.access_token, person.refresh_token)]
    assert [kept for kept in (PASSWORD, "wrong password", secret, expired, *tokens) if kept in log] == []


async def misbehave(rookery: Rookery, person: Person, expired: str) -> Person:
    """Do over HTTP what is refused, and refresh; the newest sign-in."""
    async with open_http(rookery.url) as http:
        await http.post("/v1/tokens", json={"name": person.name, "password": "wrong password"})
        await http.post("/v1/users", json={"name": person.name, "password": PASSWORD, "token": expired})
        await http.post("/v1/users", content=f'{{"name": "{PASSWORD}')
        await http.get("/v1/me", headers={"Authorization": f"Bearer {expired}"})
        await http.get(f"/v1/profiles?name_contains={PASSWORD}&token={expired}", headers=person.headers)
        await http.get(f"/{expired}")
        passwords = {"current_password": "wrong password", "new_password": PASSWORD}
        await http.put("/v1/me/password", json=passwords, headers=person.headers)
        renewed = (await http.post("/v1/tokens/refresh", json={"refresh_token": person.refresh_token})).json()
        await http.post("/v1/tokens/refresh", json={"refresh_token": person.refresh_token})
    assert renewed["refresh_token"]
    return await sign_in(rookery.url, person.name)
