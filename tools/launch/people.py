"""Users of a running Rookery, and their HTTP requests."""

import base64
import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import trio

from rookery.client.trust import client_tls
from rookery.serve.folder import DataFolder
from rookery.v1.archive_pb2 import HistoryMessage, ListMessagesResponse
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.tokens import TokenIssuer
from shared.contract.chats import direct_chat_id
from shared.contract.errors import Refusal
from shared.contract.wire import from_json
from tools.launch.process import POLL_SECONDS, Rookery

PASSWORD = "correct horse battery"

PATIENCE = 30.0
"""Seconds of a wait. It only ends a test that has failed."""

PAGE = 100
"""Messages per request: the server's maximum."""


@dataclass(frozen=True, slots=True)
class Person:
    """A signed-in user."""

    name: str
    user_id: int
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}

    def chat_with(self, other: "Person") -> str:
        return direct_chat_id(self.user_id, other.user_id)


@asynccontextmanager
async def open_http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, verify=client_tls(None, "http/1.1")) as http:
        yield http


async def sign_up(url: str, name: str = "someone") -> Person:
    """Register an account whose name has this prefix, and sign in."""
    name = f"{name}-{secrets.token_hex(4)}"
    async with open_http(url) as http:
        (await http.post("/v1/users", json={"name": name, "password": PASSWORD})).raise_for_status()
    return await sign_in(url, name)


async def request_tokens(url: str, name: str) -> dict[str, Any]:
    """Sign in to an account, as on a further device; return the response, with tokens, user and device token."""
    async with open_http(url) as http:
        answer = await http.post("/v1/tokens", json={"name": name, "password": PASSWORD})
    tokens: dict[str, Any] = answer.raise_for_status().json()
    return tokens


async def sign_in(url: str, name: str) -> Person:
    """Sign in to an account, as on a further device."""
    tokens = await request_tokens(url, name)
    return Person(name, int(tokens["user"]["user_id"]), tokens["access_token"], tokens["refresh_token"])


async def sign_out(url: str, person: Person) -> None:
    async with open_http(url) as http:
        (await http.delete("/v1/tokens/current", headers=person.headers)).raise_for_status()


async def issue_token(rookery: Rookery, person: Person, lifetime_seconds: int) -> str:
    """Issue one more access token of the sign-in, with the server's key. A negative lifetime makes it expired."""
    payload = person.access_token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    async with open_sqlite_accounts(DataFolder(rookery.data).accounts) as accounts:
        issued = await TokenIssuer(accounts).issue(person.user_id, claims["sid"], lifetime_seconds)
    return issued.token


async def read_history(
    url: str, reader: Person, chat_id: str, *, until: Callable[[Sequence[HistoryMessage]], bool] = bool
) -> list[HistoryMessage]:
    """Read all pages of a chat, oldest first, until the condition holds; by default, until there is a message."""
    async with open_http(url) as http:
        with trio.fail_after(PATIENCE):
            while not until(await _read_pages(http, reader, chat_id)):
                await trio.sleep(POLL_SECONDS)
        return await _read_pages(
            http, reader, chat_id
        )  # again: a late message may belong to a page that was read before


async def _read_pages(http: httpx.AsyncClient, reader: Person, chat_id: str) -> list[HistoryMessage]:
    messages: list[HistoryMessage] = []
    page = await _read_page(http, reader, chat_id, 0)
    while page is not None:
        messages += page.messages
        page = await _read_page(http, reader, chat_id, messages[-1].message.message_id) if page.has_newer else None
    return messages


async def _read_page(
    http: httpx.AsyncClient, reader: Person, chat_id: str, after_id: int
) -> ListMessagesResponse | None:
    """The page after a message; None if the chat does not exist (yet)."""
    query = {"after_id": after_id, "limit": PAGE}
    answer = await http.get(f"/v1/chats/{chat_id}/messages", params=query, headers=reader.headers)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    page = from_json(ListMessagesResponse, answer.raise_for_status().content)
    assert not isinstance(page, Refusal), page
    return page
