"""The TLS contract of every listener of a platform: BFF, WebSocket, gRPC of gateway and archive, and health."""

import json
import os
import re
import signal
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rookery.serve.platform import open_up
from shared.net.trust import client_context, trust_itself
from shared.rpc import call_unary, open_channel
from shared.rpc.standard.health_grpc import HealthStub
from shared.rpc.standard.health_pb2 import HealthCheckRequest, HealthCheckResponse
from shared.settings import Settings, TlsSettings
from shared.telemetry.metrics.catalogue import HTTP_CONNECTIONS, RPC_CONNECTIONS, WEBSOCKET_HANDSHAKES
from tools.launch.certificates import Authority, Issued
from tools.launch.process import ANNOUNCED, port_of

PATIENCE = 20.0
"""Seconds; only ends a test that has failed."""

LATE = 60.0
"""Seconds; longer than the handshake deadline of every listener."""

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
CLIENT_HELLO_BEGUN = b"\x16\x03\x01\x02\x00\x01"

ADDRESSES = {name: pattern for name, (pattern, _) in ANNOUNCED.items()} | {"bff_health": r"health +(\S+),"}
"""Patterns of the lines that a platform prints, the BFF having a health port."""

GRPC = ("grpc", "archive")

TlsStream = trio.SSLStream[trio.SocketStream]


@dataclass
class Secured:
    """A platform with TLS, whose archive accepts clients of the authority alone."""

    authority: Authority
    issued: Issued
    client: Issued
    ports: dict[str, int] = field(default_factory=dict)

    def settings(self, folder: Path, **others: Any) -> Settings:
        free: dict[str, Any] = {
            "bff": {"port": 0, "health_port": 0},
            "gateway": {"websocket_port": 0, "grpc_port": 0, "health_port": 0},
            "archive": {"grpc_port": 0, "health_port": 0},
            "tls": self.issued.settings(client_ca_file=self.authority.file),
        }
        return Settings(data=folder / "data", **(free | others))

    @asynccontextmanager
    async def open(self, folder: Path, **others: Any) -> AsyncIterator["Secured"]:
        async with open_up(self.settings(folder, **others)) as lines:
            for name, pattern in ADDRESSES.items():
                found = re.search(pattern, "\n".join(lines))
                assert found is not None
                self.ports[name] = port_of(found[1])
            yield self

    def context(self, *alpn: str, shown: Issued | None = None) -> ssl.SSLContext:
        """Of a client that trusts the authority, and shows a certificate."""
        context = self.authority.trusting(*alpn)
        context.load_cert_chain((shown or self.client).certificate, (shown or self.client).key)
        return context

    async def connect(self, name: str) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.ports[name])

    @asynccontextmanager
    async def connected(self, name: str, context: ssl.SSLContext | None = None) -> AsyncIterator[TlsStream]:
        """A connection after its handshake, in which the end must be announced by TLS."""
        tls = context or self.context(*alpn_of(name))
        stream = trio.SSLStream(await self.connect(name), tls, server_hostname="localhost")
        try:
            await stream.do_handshake()
            yield stream
        finally:
            await trio.aclose_forcefully(stream)

    async def certificate_of(self, name: str) -> bytes | None:
        """The certificate that a new connection gets."""
        async with self.connected(name) as stream:
            certificate: bytes | None = stream.getpeercert(True)
        return certificate


def alpn_of(name: str) -> tuple[str]:
    return ("h2",) if name in GRPC else ("http/1.1",)


async def is_served(name: str, stream: trio.abc.Stream) -> bool:
    """Whether the protocol's first request is answered."""
    await stream.send_all(PREFACE if name in GRPC else GET)
    received = b""
    while len(received) < 12 and (data := await stream.receive_some()):
        received += data
    return received[3:4] == b"\4" if name in GRPC else received.startswith(b"HTTP/1.1 ")


async def rest(stream: trio.abc.Stream) -> bytes:
    """The bytes up to the end of the connection, orderly or not."""
    received = b""
    try:
        while data := await stream.receive_some():
            received += data
    except trio.BrokenResourceError:
        pass
    return received


def open_connections(name: str) -> float:
    gauge = {"page": HTTP_CONNECTIONS, "websocket": WEBSOCKET_HANDSHAKES}.get(name, RPC_CONNECTIONS)
    role = {"grpc": "gateway", "archive": "archive"}.get(name)
    return sum(sample.value for sample in gauge.family().samples if role in (None, sample.labels.get("role")))


async def until_closed(name: str) -> None:
    with trio.fail_after(PATIENCE):
        while open_connections(name):
            await trio.sleep(0.005)


@pytest.fixture
def unopened(tmp_path: Path) -> Secured:
    authority = Authority(tmp_path / "certificates")
    return Secured(authority, authority.issue(), authority.issue("client"))


@pytest.fixture
async def secured(unopened: Secured, tmp_path: Path) -> AsyncIterator[Secured]:
    async with unopened.open(tmp_path):
        yield unopened


# ---- handshakes


async def test_each_newer_version_and_the_protocol_are_agreed_and_older_versions_rejected(
    secured: Secured, subtests: pytest.Subtests
) -> None:
    for name in ADDRESSES:
        with subtests.test(name=name):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = secured.context("h2", "http/1.1")
                context.maximum_version = version
                async with secured.connected(name, context) as stream:
                    assert stream.version() == version.name.replace("_", ".")
                    assert (stream.selected_alpn_protocol(),) == alpn_of(name)
                    assert await is_served(name, stream)
            context = secured.context()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
            context.set_ciphers("DEFAULT@SECLEVEL=0")  # else OpenSSL does not even try TLS 1.1
            with pytest.raises(trio.BrokenResourceError):
                async with secured.connected(name, context):
                    pass


async def test_a_client_without_the_protocol_gets_http_and_no_grpc(secured: Secured, subtests: pytest.Subtests) -> None:
    for name in ADDRESSES:
        with subtests.test(name=name):
            for offered in ((), ("http/1.1",) if name in GRPC else ("h2",)):
                async with secured.connected(name, secured.context(*offered)) as stream:
                    assert stream.selected_alpn_protocol() is None
                    if name in GRPC:
                        await stream.send_all(PREFACE)
                        assert await rest(stream) == b""
                    else:
                        assert await is_served(name, stream)


async def test_plain_text_gets_no_answer_and_harms_no_other(secured: Secured, subtests: pytest.Subtests) -> None:
    for name in ADDRESSES:
        with subtests.test(name=name):
            async with secured.connected(name) as other:
                for sent in (GET, PREFACE, bytes(100)):
                    async with await secured.connect(name) as plain:
                        await plain.send_all(sent)
                        answer = await rest(plain)
                    assert b"HTTP" not in answer
                    assert answer[3:4] != b"\4"
                assert await is_served(name, other)


async def test_a_handshake_that_does_not_end_is_cut_off_and_delays_no_other(
    mock_clock: MockClock, unopened: Secured, tmp_path: Path
) -> None:
    async with unopened.open(tmp_path) as secured, AsyncExitStack() as stack:
        half_open = []
        for name in ADDRESSES:
            half_open += [(name, await stack.enter_async_context(await secured.connect(name))) for _ in range(10)]
        for _, plain in half_open[::2]:
            await plain.send_all(CLIENT_HELLO_BEGUN)
        for name in ADDRESSES:
            async with secured.connected(name) as other:
                assert await is_served(name, other), name
        await wait_all_tasks_blocked(0.02)
        mock_clock.jump(LATE)
        for name, plain in half_open:
            assert await rest(plain) == b"", name


async def test_a_client_that_rejects_the_certificate_ends_its_connection_alone(
    secured: Secured, subtests: pytest.Subtests, tmp_path: Path
) -> None:
    for name in ADDRESSES:
        with subtests.test(name=name):
            async with secured.connected(name) as other:
                with pytest.raises(trio.BrokenResourceError):
                    async with secured.connected(name, Authority(tmp_path / "other").trusting(*alpn_of(name))):
                        pass
                assert await is_served(name, other)


# ---- certificates of clients


async def test_the_archive_alone_requests_a_certificate(secured: Secured, subtests: pytest.Subtests) -> None:
    for name in ADDRESSES:
        with subtests.test(name=name):
            async with secured.connected(name, secured.authority.trusting(*alpn_of(name))) as stream:
                try:
                    served = await is_served(name, stream)
                except trio.BrokenResourceError:
                    served = False
            assert served == (name != "archive")


@pytest.mark.parametrize("kind", ["foreign", "expired"])
async def test_the_archive_rejects_certificates_that_are_not_valid(secured: Secured, tmp_path: Path, kind: str) -> None:
    if kind == "foreign":
        shown = Authority(tmp_path / "other").issue("foreign")
    else:
        shown = secured.authority.issue("expired", begins=1.6e9, ends=1.7e9)
    with pytest.raises(trio.BrokenResourceError):
        async with secured.connected("archive", secured.context("h2", shown=shown)) as stream:
            await is_served("archive", stream)  # with TLS 1.3 the client learns of it after its own handshake


# ---- the end of a connection


async def test_a_client_that_leaves_without_close_notify_is_forgotten(
    secured: Secured, subtests: pytest.Subtests
) -> None:
    for name in ("page", "websocket", *GRPC):
        with subtests.test(name=name):
            async with secured.connected(name) as stream:
                assert await is_served(name, stream)
            await until_closed(name)


async def test_http_ends_with_close_notify(secured: Secured) -> None:
    async with secured.connected("page") as stream:
        await stream.send_all(GET)
        received = b"".join([data async for data in stream])  # an end without close_notify raises
    assert received.startswith(b"HTTP/1.1 200")


# ---- certificates that change


async def test_a_reload_is_for_new_connections_alone(secured: Secured, subtests: pytest.Subtests) -> None:
    for name in ADDRESSES:
        with subtests.test(name=name):
            async with secured.connected(name) as before:
                old = before.getpeercert(True)
                secured.authority.issue()
                os.kill(os.getpid(), signal.SIGHUP)
                with trio.fail_after(PATIENCE):
                    while await secured.certificate_of(name) == old:
                        await trio.sleep(0.005)
                assert await secured.certificate_of(name) == secured.issued.newest
                assert await is_served(name, before)


async def test_an_expired_certificate_makes_every_role_unready_until_a_valid_one_is_loaded(
    unopened: Secured, tmp_path: Path
) -> None:
    unopened.authority.issue(begins=1.6e9, ends=1.7e9)
    settings = unopened.settings(tmp_path).tls
    async with unopened.open(tmp_path) as secured:
        for expected in (False, True):
            if expected:
                secured.authority.issue()
                os.kill(os.getpid(), signal.SIGHUP)
            for name in ("page", "bff_health", "gateway_health", "archive_health"):
                reason = await until_ready(secured, name, settings, expected=expected)
                assert ("expired at 2023-11-14T22:13:20Z" in reason) == (not expected)
            for name in GRPC:
                await until_serving(secured, name, settings, expected=expected)


async def until_ready(secured: Secured, name: str, settings: TlsSettings, *, expected: bool) -> str:
    """Request /readyz until its status is the expected one; the reasons of the failed checks."""
    context = client_context("http/1.1")
    trust_itself(context, settings)
    with trio.fail_after(PATIENCE):
        while True:
            async with secured.connected(name, context) as stream:
                await stream.send_all(GET.replace(b"livez", b"readyz"))
                head, _, body = (await rest(stream)).partition(b"\r\n\r\n")
            if (b" 200 " in head.splitlines()[0]) == expected:
                return " ".join(check["reason"] for check in json.loads(body)["checks"])
            await trio.sleep(0.05)


async def until_serving(secured: Secured, name: str, settings: TlsSettings, *, expected: bool) -> None:
    """Request the standard health service until its status is the expected one."""
    context = client_context("h2")
    trust_itself(context, settings)
    context.load_cert_chain(secured.client.certificate, secured.client.key)  # the archive rejects the expired one
    wanted = HealthCheckResponse.SERVING if expected else HealthCheckResponse.NOT_SERVING
    async with open_channel("127.0.0.1", secured.ports[name], tls=context) as channel:
        while (await call_unary(HealthStub(channel).Check, HealthCheckRequest(), timeout=PATIENCE)).status != wanted:
            await trio.sleep(0.05)


# ---- HTTP over TLS


async def test_the_bff_calls_the_gateway_of_its_process_whatever_the_names_in_the_certificate(
    unopened: Secured, tmp_path: Path
) -> None:
    unopened.issued = unopened.authority.issue("server", "chat.example.org")
    async with unopened.open(tmp_path) as secured, httpx.AsyncClient(verify=False, timeout=PATIENCE) as http:
        url = f"https://127.0.0.1:{secured.ports['page']}/v1"
        account = {"name": "ada", "password": "correct horse battery"}
        (await http.post(f"{url}/users", json=account)).raise_for_status()
        token = (await http.post(f"{url}/tokens", json=account)).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        created = await http.post(f"{url}/chats", json={"client_change_id": "1", "name": "Alone"})
    assert created.status_code == httpx.codes.CREATED


@pytest.mark.parametrize(("seconds", "header"), [(0, b""), (86_400, b"strict-transport-security: max-age=86400\r\n")])
async def test_browsers_are_held_to_https_by_the_setting(
    unopened: Secured, tmp_path: Path, seconds: int, header: bytes
) -> None:
    bff = {"port": 0, "strict_transport_seconds": seconds}
    async with unopened.open(tmp_path, bff=bff) as secured, secured.connected("page") as stream:
        await stream.send_all(GET.replace(b"/livez", b"/"))
        head = (await rest(stream)).lower()
    assert header in head
    assert (b"strict-transport" in head) == bool(seconds)
    async with unopened.open(tmp_path / "plain", bff=bff, tls=TlsSettings()), await unopened.connect("page") as plain:
        await plain.send_all(GET.replace(b"/livez", b"/"))
        assert b"strict-transport" not in (await rest(plain)).lower()
