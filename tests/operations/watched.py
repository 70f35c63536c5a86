"""Platforms under use, and the Prometheus that scrapes them."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import trio

from rookery.client.connection import connect_grpc
from rookery.v1 import session_pb2 as pb
from tests.system.sessions import Session, connect_websocket, open_session
from tools.launch.people import PASSWORD, PATIENCE, Person, open_http, read_history, sign_up
from tools.launch.process import Rookery, wait_until
from tools.operations.prometheus import SECONDS, Prometheus

ENOUGH_SECONDS = 180.0
"""Until Prometheus has scraped; only ends a test that has failed."""

ALIGNED_SECONDS = 0.002
"""Largest difference between the moment of a scrape and its timestamp: Prometheus aligns timestamps by it."""

NOBODY = 1
"""An id of no user."""

MESSAGES = 20
"""Sent by Ada; Grace sends half as many."""


@dataclass(frozen=True, slots=True)
class Platforms:
    """A platform in one process, and an unused one with TLS."""

    rookery: Rookery
    secured: Rookery


@dataclass(frozen=True, slots=True)
class Watched(Platforms):
    """Platforms and the Prometheus that scrapes them."""

    prometheus: Prometheus

    def wait_until_scraped(self, times: int = 1) -> None:
        """Wait until Prometheus has scraped the present state, this many times."""
        for _ in range(times):
            wait_until_scraped(self.prometheus)


def wait_until_scraped(prometheus: Prometheus) -> None:
    """Wait until Prometheus has scraped all its targets, beginning after this moment."""
    now = time.time() + ALIGNED_SECONDS
    targets = sum(map(len, prometheus.jobs.values()))

    def has_looked() -> bool:
        looks = prometheus.query("timestamp(up) and (up == 1)")  # `up == 1` alone has the timestamp of the query
        return len(looks) == targets and all(at > now for _, at in looks)

    assert wait_until(has_looked, ENOUGH_SECONDS), prometheus.query("up")


def metrics_at(url: str) -> str:
    """Return the text of /metrics of a process."""
    return httpx.get(f"{url.rstrip('/')}/metrics", verify=False, timeout=SECONDS).raise_for_status().text


@dataclass(frozen=True, slots=True)
class Use:
    """Two users with a session each: a browser's and a native app's."""

    ada: Person
    grace: Person
    browser: Session
    app: Session

    async def chat(self) -> None:
        """Ada sends MESSAGES to Grace, who sends half as many back; wait until all arrive."""
        before = [len([f for f in s.frames if f.event.HasField("message")]) for s in (self.browser, self.app)]
        for number in range(MESSAGES):
            await self.browser.send_text(self.grace.user_id, f"message {number}")
        for number in range(MESSAGES // 2):
            await self.app.send_text(self.ada.user_id, f"answer {number}")
        await self.app.receive_messages(before[1] + MESSAGES)
        await self.browser.receive_messages(before[0] + MESSAGES // 2)

    async def send_invalid(self) -> None:
        """Send three messages to an unknown user and two without text: all are refused."""
        for recipient_id, body in [(NOBODY, "hello?")] * 3 + [(self.grace.user_id, "")] * 2:
            send = pb.Send(client_message_id="refused", recipient_id=recipient_id, text=pb.Text(body=body))
            assert (await self.browser.answer(send=send)).HasField("refused")


@asynccontextmanager
async def in_use(bff: str) -> AsyncIterator[Use]:
    """Sign up two users and open their sessions at the gateways that the BFF at this URL names."""
    async with open_http(bff) as http:
        ada, grace = [await sign_up(bff, name) for name in ("ada", "grace")]
        connect_browser = partial(connect_websocket, (await gateway_of(http, ada))["websocket"])
        connect_app = partial(connect_grpc, (await gateway_of(http, grace))["grpc"])
    async with open_session(connect_browser, ada) as browser, open_session(connect_app, grace) as app:
        yield Use(ada, grace, browser, app)


async def gateway_of(http: Any, person: Person) -> dict[str, str]:
    """Return the addresses of the user's gateway."""
    answer = await http.get("/v1/me/gateway", headers=person.headers)
    addresses: dict[str, str] = answer.raise_for_status().json()
    return addresses


async def sign_up_at(http: Any, bff: str, address: str) -> Person:
    """Register users until one has the gateway whose addresses contain `address`; return that user."""
    with trio.fail_after(PATIENCE):
        while True:
            person = await sign_up(bff)
            if any(address in each for each in (await gateway_of(http, person)).values()):
                return person


async def use_http(url: str, person: Person, other: Person) -> None:
    """Register a taken name, sign in with two wrong passwords, refresh a token, and read history."""
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
