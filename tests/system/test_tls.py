"""TLS on every listener, with third-party clients: addresses, certificates, reloads."""

import json
import re
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
import trio
from websockets.trio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from rookery.client import open_client
from rookery.client.reconnector import Transport
from rookery.v1 import session_pb2
from tests.system.commands import check_refused
from tools.launch.certificates import Authority
from tools.launch.people import PASSWORD, PATIENCE
from tools.launch.process import ANNOUNCED, Process, Rookery, port_of, running, wait_until


class Secured(Rookery):
    """A Rookery with TLS on every listener; its archive requires client certificates."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "certificates")
        self.issued = self.authority.issue()
        super().__init__(folder / "data", settings=self.issued.environment(client_ca_file=self.authority.file))

    def http(self, token: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, verify=self.authority.trusting(), headers=headers, timeout=PATIENCE)

    def sign_up(self, name: str) -> dict[str, Any]:
        """Register and sign in; return the tokens and the user."""
        account = {"name": f"{name}-{secrets.token_hex(4)}", "password": PASSWORD}
        with self.http() as http:
            http.post("/v1/users", json=account).raise_for_status()
            signed_in: dict[str, Any] = http.post("/v1/tokens", json=account).raise_for_status().json()
        return signed_in

    def channel(self, address: str) -> grpc.Channel:
        """A grpcio channel to `grpcs://host:port`."""
        credentials = grpc.ssl_channel_credentials(self.authority.file.read_bytes())
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(address.removeprefix("grpcs://"), credentials, options)

    @asynccontextmanager
    async def websocket_of(self, user: dict[str, Any]) -> AsyncIterator[ClientConnection]:
        """Open and authenticate a session with the `websockets` library.

        Not of its client for threads: that one reads and writes in two of them at once, which OpenSSL forbids. It lost
        one new connection in some 3,000, where a plain `ssl.SSLSocket` lost none.
        """
        protocol = Subprotocol("rookery.v1.json")
        trusting = self.authority.trusting()
        async with connect(self.websocket, ssl=trusting, subprotocols=[protocol], open_timeout=PATIENCE) as websocket:
            await websocket.send(json.dumps({"authenticate": {"access_token": user["access_token"]}}))
            assert "welcome" in await receive(websocket)
            yield websocket

    def certificate_of(self, name: str) -> bytes | None:
        return self.authority.certificate_at(self.addresses[name])


@pytest.fixture(scope="module")
def rookery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with running(Secured(tmp_path_factory.mktemp("secured"))) as ready:
        yield ready


@pytest.fixture
def own_rookery(tmp_path: Path) -> Iterator[Secured]:
    with running(Secured(tmp_path)) as ready:
        yield ready


async def receive(websocket: ClientConnection) -> dict[str, Any]:
    """The next frame."""
    with trio.fail_after(PATIENCE):
        frame: dict[str, Any] = json.loads(await websocket.recv())
    return frame


async def send_text(websocket: ClientConnection, recipient_id: str, text: str) -> None:
    """Send a message, and wait until it is accepted."""
    key = secrets.token_hex(8)
    send = {"client_message_id": key, "recipient_id": recipient_id, "text": {"body": text}}
    await websocket.send(json.dumps({"send": send}))
    while (answer := await receive(websocket)).get("accepted", {}).get("client_id") != key:
        assert "refused" not in answer


# ---- announced addresses


def test_every_announced_address_has_tls(rookery: Secured) -> None:
    schemes = {name: urlsplit(address).scheme for name, address in rookery.addresses.items()}
    assert schemes == {
        "page": "https",
        "websocket": "wss",
        "grpc": "grpcs",
        "archive": "grpcs",
        "gateway_health": "https",
        "archive_health": "https",
    }


def test_clients_get_addresses_with_tls(rookery: Secured) -> None:
    with rookery.http(rookery.sign_up("ada")["access_token"]) as http:
        gateway = http.get("/v1/me/gateway").raise_for_status().json()
        policy = http.get("/").headers["Content-Security-Policy"]
    assert gateway == {"websocket": rookery.websocket, "grpc": rookery.grpc}
    assert f"connect-src 'self' wss://127.0.0.1:{port_of(rookery.websocket)};" in policy


# ---- third-party clients


async def test_websockets_and_grpcio_chat_over_tls(rookery: Secured) -> None:
    ada, grace = rookery.sign_up("ada"), rookery.sign_up("grace")
    outgoing: SimpleQueue[session_pb2.ClientFrame | None] = SimpleQueue()  # None ends the stream
    authenticate = session_pb2.Authenticate(access_token=grace["access_token"], client_name="grpcio")
    outgoing.put(session_pb2.ClientFrame(authenticate=authenticate))
    with rookery.channel(rookery.grpc) as channel:
        frames = channel.stream_stream(
            "/rookery.v1.SessionService/Connect",
            request_serializer=session_pb2.ClientFrame.SerializeToString,
            response_deserializer=session_pb2.ServerFrame.FromString,
        )(iter(outgoing.get, None), timeout=PATIENCE)
        assert next(frames).HasField("welcome")
        async with rookery.websocket_of(ada) as websocket:
            await send_text(websocket, grace["user"]["user_id"], "over TLS")
        assert next(frame for frame in frames if frame.HasField("event")).event.message.text.body == "over TLS"
        outgoing.put(None)


@pytest.mark.parametrize("transport", ["grpc", "websocket"])
async def test_our_client_chats_over_tls_and_reads_history(rookery: Secured, transport: Transport) -> None:
    ada, grace = (f"{name}-{secrets.token_hex(4)}" for name in ("ada", "grace"))
    trusts = rookery.authority.file
    async with (
        open_client(rookery.url, ada, PASSWORD, register=True, transport=transport, ca_file=trusts) as here,
        open_client(rookery.url, grace, PASSWORD, register=True, transport=transport, ca_file=trusts) as there,
    ):
        with trio.fail_after(PATIENCE):
            accepted = await here.send(there.me.user_id, "over TLS")
            while not (await there.api.history(accepted.chat_id)).messages:  # which the BFF queries from the archive
                await trio.sleep(0.05)


# ---- commands


@pytest.mark.slow
def test_a_probe_beside_the_process_needs_no_authority(rookery: Secured, tmp_path: Path) -> None:
    for name in ("page", "gateway_health", "archive_health"):
        url = f"https://127.0.0.1:{port_of(rookery.addresses[name])}/readyz"
        assert rookery.run("probe", url).returncode == 0
    elsewhere = Process("up", tmp_path / "elsewhere.log", {})
    assert elsewhere.run("probe", url).returncode == 1
    assert elsewhere.run("probe", "--ca-file", str(rookery.authority.file), url).returncode == 0


def test_the_doctor_checks_the_certificate(rookery: Secured) -> None:
    examined = rookery.run("doctor")
    assert examined.returncode == 0, examined.stdout
    assert "a Rookery is running" in examined.stdout
    assert re.search(
        r"ok +the certificate in .*server\.pem, for 127\.0\.0\.1, localhost, is valid until", examined.stdout
    )


@pytest.mark.slow
def test_a_chat_in_the_terminal_trusts_the_given_authority(rookery: Secured, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    words = [
        "chat",
        f"ada-{secrets.token_hex(4)}",
        "--url",
        rookery.url,
        "--password-file",
        str(password),
        "--register",
    ]
    assert rookery.run(*words, "--ca-file", str(rookery.authority.file), typed="/quit\n").returncode == 0
    refused = rookery.run(*words, typed="/quit\n")
    assert refused.returncode == 1
    assert "certificate verify failed" in refused.stderr
    assert rookery.run(*words, "--ca-file", str(password), typed="/quit\n").returncode == 2


# ---- certificates that change


async def test_a_new_certificate_is_used_and_sessions_go_on(rookery: Secured) -> None:
    ada, grace = rookery.sign_up("ada"), rookery.sign_up("grace")
    async with rookery.websocket_of(ada) as before:
        old = rookery.issued.newest
        assert {rookery.certificate_of(name) for name in ANNOUNCED} == {old}
        rookery.authority.issue()
        rookery.signal(signal.SIGHUP)
        assert wait_until(lambda: "tls_reloaded" in _events(rookery))
        assert {rookery.certificate_of(name) for name in ANNOUNCED} == {rookery.issued.newest} != {old}
        await send_text(before, grace["user"]["user_id"], "still here")
        async with rookery.websocket_of(ada) as after:
            await send_text(after, grace["user"]["user_id"], "and here")
    with rookery.http(ada["access_token"]) as http:  # over an earlier connection to the archive
        # The archive records with a delay.
        assert wait_until(lambda: bool(http.get("/v1/chats").raise_for_status().json()["chats"]))


def _events(rookery: Process) -> set[str]:
    return {line["event"] for line in rookery.log_lines()}


# ---- starts that are refused


@pytest.mark.parametrize(
    ("role", "section"),
    [
        ("up", "BFF"),
        *(pytest.param(role, role.upper(), marks=pytest.mark.slow) for role in ("bff", "gateway", "archive")),
    ],
)
def test_plain_text_for_others_is_refused_at_the_start(tmp_path: Path, role: Any, section: str) -> None:
    settings = {f"ROOKERY_{section}__HOST": "0.0.0.0", "ROOKERY_ENGINES": "kafka,cassandra,redis"}
    refused = Process(role, tmp_path / "refused.log", settings).run(role)
    check_refused(refused, 2, f"ROOKERY_{section}__HOST", "tls.certificate_file", "ROOKERY_TLS__PLAINTEXT")
