"""A platform that people use, and the Prometheus that watches it."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from rookery.client.connection import connect_grpc
from rookery.v1 import session_pb2 as pb
from tests.system.sessions import Session, connect_websocket, open_session
from tools.engines.engine import running
from tools.launch.certificates import Authority
from tools.launch.people import PASSWORD, Person, open_http, read_history, sign_up
from tools.launch.process import Rookery, wait_until
from tools.launch.process import running as running_process
from tools.operations.prometheus import SECONDS, Prometheus

ENOUGH_SECONDS = 180.0
"""For Prometheus to have looked; only ends a test that has failed."""

ALIGNED_SECONDS = 0.002
"""That Prometheus may put between the moment of a look and the time that it says, so that these are in step."""

UNHURRIED = {
    "ROOKERY_KAFKA__SESSION_TIMEOUT_SECONDS": "30",
    "ROOKERY_CASSANDRA__TIMEOUT_SECONDS": "20",
    "ROOKERY_REDIS__TIMEOUT_SECONDS": "20",
}
"""Settings where each attempt is counted or traced: on a machine that has other things to do, none is made again."""

NOBODY = 1
"""No user has this id."""

MESSAGES = 20
"""That Ada sends in one go, and half as many that Grace does."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A platform in one process, another one with TLS that nobody uses, and their Prometheus."""

    rookery: Rookery
    secured: Rookery
    prometheus: Prometheus

    def wait_until_scraped(self, times: int = 1) -> None:
        """Wait until Prometheus has looked at all that is so now, as often as this."""
        for _ in range(times):
            wait_until_scraped(self.prometheus)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Started, and used by a few people: see `Use`."""
    issued = Authority(folder / "certificates").issue()
    tls = {"ROOKERY_TLS__CERTIFICATE_FILE": str(issued.certificate), "ROOKERY_TLS__KEY_FILE": str(issued.key)}
    with (
        running_process(Rookery(folder / "data")) as rookery,
        running_process(Rookery(folder / "secured", settings=tls)) as secured,
        running(Prometheus(folder / "prometheus", {"rookery": [rookery.url], "secured": [secured.url]})) as prometheus,
    ):
        yield Watched(rookery, secured, prometheus)


def wait_until_scraped(prometheus: Prometheus) -> None:
    """Wait until Prometheus has begun to look at all its targets after this moment, and has what they said."""
    now = time.time() + ALIGNED_SECONDS
    targets = sum(map(len, prometheus.jobs.values()))

    def has_looked() -> bool:
        looks = prometheus.query("timestamp(up) and (up == 1)")  # of `up == 1` itself, it would be that of the query
        return len(looks) == targets and all(at > now for _, at in looks)

    assert wait_until(has_looked, ENOUGH_SECONDS), prometheus.query("up")


def said_by(url: str) -> str:
    """What is at /metrics of the process at this URL."""
    return httpx.get(f"{url.rstrip('/')}/metrics", verify=False, timeout=SECONDS).raise_for_status().text


@dataclass(frozen=True, slots=True)
class Use:
    """Two people who are in a session each, of which one comes in a browser and one in a native app."""

    ada: Person
    grace: Person
    browser: Session
    app: Session

    async def chat(self) -> None:
        """Ada sends MESSAGES to Grace, who sends half as many back; all of them arrive."""
        before = [len([f for f in s.frames if f.event.HasField("message")]) for s in (self.browser, self.app)]
        for number in range(MESSAGES):
            await self.browser.send_text(self.grace.user_id, f"message {number}")
        for number in range(MESSAGES // 2):
            await self.app.send_text(self.ada.user_id, f"answer {number}")
        await self.app.hear_messages(before[1] + MESSAGES)
        await self.browser.hear_messages(before[0] + MESSAGES // 2)

    async def ask_too_much(self) -> None:
        """Three messages to nobody, and two without a word: all are refused."""
        for recipient_id, body in [(NOBODY, "hello?")] * 3 + [(self.grace.user_id, "")] * 2:
            send = pb.Send(client_message_id="refused", recipient_id=recipient_id, text=pb.Text(body=body))
            await self.browser.say(send=send)
            await self.browser.next("refused")


@asynccontextmanager
async def in_use(bff: str) -> AsyncIterator[Use]:
    """Two people sign up, and are in a session each, at the gateway that the BFF at this URL names."""
    async with AsyncExitStack() as stack:
        ada, grace = [await sign_up(bff, name) for name in ("ada", "grace")]
        browser = partial(connect_websocket, (await gateway_of(bff, ada))["websocket"])
        app = partial(connect_grpc, (await gateway_of(bff, grace))["grpc"])
        yield Use(
            ada,
            grace,
            await stack.enter_async_context(open_session(browser, ada)),
            await stack.enter_async_context(open_session(app, grace)),
        )


async def gateway_of(bff: str, person: Person) -> dict[str, str]:
    """Where this person's sessions go."""
    async with open_http(bff) as http:
        location: dict[str, str] = (await http.get("/v1/me/gateway", headers=person.headers)).raise_for_status().json()
    return location


async def use_http(url: str, person: Person, other: Person) -> None:
    """The name is taken, two passwords are wrong, a refresh token is used, and history is read."""
    async with open_http(url) as http:
        account = {"name": person.name, "password": PASSWORD}
        assert (await http.post("/v1/users", json=account)).status_code == httpx.codes.CONFLICT
        for _ in range(2):
            wrong = await http.post("/v1/tokens", json=account | {"password": "not the password"})
            assert wrong.status_code == httpx.codes.UNAUTHORIZED
        token = {"refresh_token": other.refresh_token}
        assert (await http.post("/v1/tokens/refresh", json=token)).is_success
        assert (await http.get("/nothing-here")).status_code == httpx.codes.NOT_FOUND
    await read_history(url, person, person.chat_with(other))
