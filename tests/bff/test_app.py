"""The BFF as it is opened, with an archive over gRPC, and how the application reports errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from bff.app import Bff, open_bff
from bff.services import Services
from rookery.v1.archive_grpc import ArchiveServiceServicer
from rookery.v1.archive_pb2 import Chat, ListChatsRequest, ListChatsResponse, ListMessagesRequest
from shared.archive import ArchiveClient
from shared.contract.errors import Code, Refusal
from shared.platform import Platform
from shared.rpc import open_channel, serve_rpc
from shared.settings import BffSettings
from shared.signals.memory import LocalSignals
from tests.bff.conftest import PASSWORD, Api

PATIENCE = 60.0
"""Seconds; only ends a test that has failed."""


class ArchiveFake(ArchiveServiceServicer):
    """Has one chat, whose id names the user of the request."""

    async def ListChats(self, input_message: ListChatsRequest) -> ListChatsResponse:
        return ListChatsResponse(chats=[Chat(chat_id=f"of {input_message.user_id}")])

    async def ListMessages(self, input_message: ListMessagesRequest) -> Refusal:
        return Refusal(Code.NOT_FOUND, "There is no such chat.")


@pytest.fixture
async def archive_port(nursery: trio.Nursery) -> int:
    """The gRPC port of an archive."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(serve_rpc, [ArchiveFake()], listeners)
    return int(listeners[0].socket.getsockname()[1])


@asynccontextmanager
async def open_on(services: Services, archive_port: int, web_root: Path, settings: BffSettings) -> AsyncIterator[Bff]:
    """A BFF with listeners, on the stores of `services`."""
    async with (
        open_channel("127.0.0.1", archive_port) as channel,
        open_bff(
            settings,
            Platform(
                backplane=services.publisher,
                accounts=services.accounts,
                configuration=services.configuration,
                directory=services.directory,
                ids=services.ids,
                live=services.live,
                processes=services.processes,
                signals=LocalSignals(),
            ),
            archive=ArchiveClient(channel, timeout=PATIENCE),
            groups=services.groups,
            files=services.files,
            health=services.health,
            web_root=web_root,
        ) as bff,
    ):
        yield bff


@pytest.fixture
async def bff(api: Api, archive_port: int, web_root: Path) -> AsyncIterator[Bff]:
    async with open_on(api.services, archive_port, web_root, BffSettings(port=0)) as bff:
        yield bff


async def test_a_user_registers_signs_in_and_sees_chats(bff: Bff) -> None:
    async with httpx.AsyncClient(base_url=f"http://{bff.host}:{bff.port}", timeout=PATIENCE) as client:
        user = (await client.post("/v1/users", json={"name": "alice", "password": PASSWORD})).json()
        tokens = (await client.post("/v1/tokens", json={"name": "alice", "password": PASSWORD})).json()
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        chats = await client.get("/v1/chats")
        messages = await client.get("/v1/chats/d-1-2/messages")
        page = await client.get("/")
        gone = await client.delete("/v1/tokens/current")
        after = await client.get("/v1/chats")
    assert chats.json() == {"chats": [{"chat_id": f"of {user['user_id']}"}], "next_cursor": "", "complete_up_to": "0"}
    assert (messages.status_code, messages.json()["detail"]) == (404, "There is no such chat.")
    assert page.text.startswith("<!doctype html>")
    assert (gone.status_code, after.status_code) == (204, 401)


@pytest.mark.parametrize("path", ["/metrics", "/%6Detrics"])
async def test_with_a_health_port_metrics_are_there_alone_and_probes_at_both(
    api: Api, archive_port: int, web_root: Path, path: str
) -> None:
    async with (
        open_on(api.services, archive_port, web_root, BffSettings(port=0, health_port=0)) as bff,
        httpx.AsyncClient(base_url=f"http://{bff.host}:{bff.port}", timeout=PATIENCE) as public,
        httpx.AsyncClient(base_url=f"http://{bff.host}:{bff.health_port}", timeout=PATIENCE) as health,
    ):
        assert (await public.get(path)).status_code == 404
        assert 'rookery_ready{role="bff"} 1' in (await health.get("/metrics")).text
        for each in (public, health):
            assert (await each.get("/readyz")).json()["status"] == "ok"


async def test_an_unknown_path_is_not_found(api: Api, token: str) -> None:
    for path in ("/v1", "/v1/", "/v1/nothing", "/v1/users/", "/v1//users", "/nothing", "/v2/me", "/v1/me/"):
        reply = await api.call("GET", path, token=token)
        assert reply.refusal == (404, "not_found", ""), path
        assert reply.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/users"), ("POST", "/v1/me"), ("DELETE", "/v1/chats"), ("PUT", "/livez")]
)
async def test_a_wrong_method_is_refused_with_the_right_ones(api: Api, token: str, method: str, path: str) -> None:
    reply = await api.call(method, path, token=token)
    assert reply.refusal == (405, "method_not_allowed", "")
    assert reply.headers["Allow"]
    assert reply.headers["Allow"].split(", ")[0] in reply.body["detail"]


async def test_a_fault_discloses_only_an_id(api: Api, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("secret internals")

    monkeypatch.setattr(type(api.accounts), "users", fail)
    reply = await api.call("GET", "/v1/me", token=token)
    assert reply.refusal == (500, "internal", "")
    assert b"secret" not in reply.text
