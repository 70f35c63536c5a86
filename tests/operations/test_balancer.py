"""HAProxy with our configuration in front of two BFFs and two gateways: one platform to clients."""

import re
import secrets
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from bff.files.avatars import UPLOAD_SECONDS
from bff.http.endpoints import REQUEST_DEADLINE
from rookery.client import open_client
from rookery.client.live import CONNECT
from rookery.client.reconnector import Transport
from tests.needed import needed
from tests.operations.watched import gateway_of, sign_up_at
from tests.system.sessions import open_session
from tools.engines.engine import running
from tools.engines.kinds import Engines
from tools.launch.certificates import Authority
from tools.launch.cluster import PARTITIONS, Cluster, running_cluster
from tools.launch.people import PASSWORD, PATIENCE, read_history, sign_up
from tools.launch.process import POLL_SECONDS, Process, port_of, wait_until
from tools.operations.balancer import CONFIGURATION, DOMAIN, HaProxy, servers_of

pytestmark = pytest.mark.slow

TRANSPORTS: tuple[Transport, ...] = ("websocket", "grpc")

HASTE = 3
"""HAProxy's timeouts for HTTP while sessions are silent."""

SILENCE = 2.5 * HASTE
"""Seconds of silence: more than twice as long."""

BURST = 600
"""Requests during which a BFF is killed."""

BROWSERS = 8
"""Concurrent browsers."""


class Balanced(Cluster):
    """A cluster whose clients connect through HAProxy."""

    def wait_until_settled(self) -> None:
        """Gateways announce addresses of HAProxy, not their own."""
        running = len(self.running("gateway"))

        def is_fair(owners: Sequence[str]) -> bool:
            counts = Counter(owners)
            return len(counts) == running and all(owners) and min(counts.values()) >= PARTITIONS // running

        self.wait_until_owned(is_fair)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def platform(
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
    engines: Engines,
) -> Iterator[tuple[HaProxy, Balanced]]:
    needed(HaProxy.install)
    folder = tmp_path_factory.mktemp("balanced")
    haproxy = HaProxy(folder / "haproxy", authority.issue("balancer", DOMAIN, f"*.{DOMAIN}"))
    haproxy.choose_ports()
    settings = {"ROOKERY_BFF__TRUSTED_PROXIES": "127.0.0.1", "ROOKERY_BFF__STRICT_TRANSPORT_SECONDS": "3600"}
    cluster = Balanced(folder, engines, archives=1, settings=settings)
    for gateway in cluster.gateways:
        gateway.environment |= haproxy.public(gateway)
    haproxy.servers = servers_of(cluster)
    with running_cluster(cluster), running(haproxy):
        yield haproxy, cluster


@pytest.fixture
async def haproxy(platform: tuple[HaProxy, Balanced]) -> AsyncIterator[HaProxy]:
    """HAProxy with every server up. Within the test, DOMAIN and its subdomains resolve to this machine."""
    haproxy, cluster = platform
    await trio.to_thread.run_sync(cluster.restore)
    await until_all_up(haproxy)
    trio.socket.set_custom_hostname_resolver(Names())
    yield haproxy
    trio.socket.set_custom_hostname_resolver(None)


@pytest.fixture
def hasty(platform: tuple[HaProxy, Balanced], authority: Authority, tmp_path: Path) -> Iterator[HaProxy]:
    """Another HAProxy for the same servers, with short HTTP timeouts."""
    hasty = HaProxy(tmp_path / "haproxy", authority.issue("hasty", DOMAIN, f"*.{DOMAIN}"), patience=HASTE)
    hasty.servers = platform[0].servers
    with running(hasty):
        yield hasty


@pytest.fixture
def cluster(platform: tuple[HaProxy, Balanced]) -> Balanced:
    return platform[1]


class Names(trio.abc.HostnameResolver):
    """Resolves the domain and its subdomains to this machine."""

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if f".{name}".endswith(f".{DOMAIN}"):
            host = "127.0.0.1"
        return await trio.to_thread.run_sync(socket.getaddrinfo, host, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags)


@asynccontextmanager
async def open_browser(haproxy: HaProxy, authority: Authority, *, at: str = "127.0.0.3") -> AsyncIterator[Any]:
    """HTTP through HAProxy, from an address other than HAProxy's own, which BFFs trust."""
    transport = httpx.AsyncHTTPTransport(verify=authority.trusting(), local_address=at)
    async with httpx.AsyncClient(base_url=haproxy.url, transport=transport, timeout=PATIENCE) as http:
        yield http


async def until_up(haproxy: HaProxy, backend: str, servers: Sequence[str]) -> None:
    with trio.fail_after(PATIENCE):
        while await trio.to_thread.run_sync(haproxy.up, backend) != list(servers):
            await trio.sleep(POLL_SECONDS)


async def until_all_up(haproxy: HaProxy) -> None:
    await until_up(haproxy, "bff", ["bff-1", "bff-2"])
    for name in ("gateway-1", "gateway-2"):
        await until_up(haproxy, name, [name])
        await until_up(haproxy, f"{name}-grpc", [name])


async def register(http: Any, forged: str = "") -> int:
    """Register a user, optionally with a forged client address."""
    body = {"name": f"someone-{secrets.token_hex(4)}", "password": PASSWORD}
    headers = {"X-Forwarded-For": forged, "Forwarded": f"for={forged}", "X-Real-IP": forged} if forged else {}
    return int((await http.post("/v1/users", json=body, headers=headers)).status_code)


async def until_all(http: Any, status: int) -> None:
    """Register until both BFFs apply a new limit."""
    with trio.fail_after(PATIENCE):
        while {await register(http) for _ in range(6)} != {status}:
            await trio.sleep(POLL_SECONDS)


def has_served(bff: Process, before: int) -> bool:
    """Whether it has logged a request after this many lines."""
    return any(line["event"] == "request" for line in bff.log_lines()[before:])


# ---- HTTP


def test_the_balancer_waits_for_a_response_for_longer_than_a_bff_takes_for_it() -> None:
    """Of the parts of files, a BFF reads the bodies until just before it responds."""
    (seconds,) = re.findall(r"^    timeout server (\d+)s ", CONFIGURATION.read_text(), re.MULTILINE)
    assert int(seconds) > max(UPLOAD_SECONDS, REQUEST_DEADLINE)


async def test_requests_are_shared_out_and_seem_to_come_by_https(
    haproxy: HaProxy, cluster: Balanced, authority: Authority
) -> None:
    before = [len(bff.log_lines()) for bff in cluster.bffs]
    async with open_browser(haproxy, authority) as http:
        answers = [await http.get("/v1/profiles/1") for _ in range(20)]
        refusals = [await http.get(path) for path in ("/metrics", "/%6Detrics", "/metrics?a=b")]
        page = await http.get("/")
    assert Counter(answer.status_code for answer in answers) == {httpx.codes.UNAUTHORIZED: 20}
    assert answers[0].headers["Strict-Transport-Security"] == "max-age=3600"
    assert page.is_success
    assert {refusal.status_code for refusal in refusals} == {httpx.codes.NOT_FOUND}
    assert all("Strict-Transport-Security" not in refusal.headers for refusal in refusals)  # of HAProxy, not of a BFF
    for bff, lines in zip(cluster.bffs, before, strict=True):
        assert await trio.to_thread.run_sync(wait_until, partial(has_served, bff, lines)), bff.name


def test_connections_of_one_address_are_bounded(authority: Authority, tmp_path: Path) -> None:
    alone = HaProxy(tmp_path / "haproxy", authority.issue("alone", DOMAIN), per_address=3)
    with running(alone), ExitStack() as stack:

        def connect(source: str) -> None:
            """Connect from an address of this machine, shake hands, and stay."""
            unconnected = socket.socket()  # `wrap_socket` would leave a connected one open that the proxy has closed
            secure = authority.trusting().wrap_socket(unconnected, server_hostname=DOMAIN)
            stack.enter_context(secure).settimeout(PATIENCE)
            secure.bind((source, 0))
            secure.connect(("127.0.0.1", port_of(alone.url)))  # and shakes hands

        for _ in range(3):
            connect("127.0.0.1")
        with pytest.raises((ssl.SSLEOFError, ConnectionError)):
            connect("127.0.0.1")
        connect("127.0.0.2")


async def test_plain_http_is_sent_to_https(haproxy: HaProxy) -> None:
    async with httpx.AsyncClient(base_url=haproxy.plain_url, timeout=PATIENCE) as http:
        answer = await http.get("/some/where?a=b")
    assert answer.status_code == httpx.codes.PERMANENT_REDIRECT
    assert answer.headers["Location"].partition("//")[2].partition("/")[2] == "some/where?a=b"


async def test_limits_count_real_addresses_of_clients_and_no_forged_ones(
    haproxy: HaProxy, cluster: Balanced, authority: Authority
) -> None:
    await trio.to_thread.run_sync(cluster.run, "config", "set", "registrations_per_minute", "1")
    try:
        async with open_browser(haproxy, authority) as http:
            await until_all(http, httpx.codes.TOO_MANY_REQUESTS)  # each BFF counts separately
            forged = [await register(http, f"192.0.2.{number}") for number in range(6)]
        async with open_browser(haproxy, authority, at="127.0.0.2") as other:
            assert await register(other) == httpx.codes.CREATED
    finally:
        await trio.to_thread.run_sync(cluster.run, "config", "set", "registrations_per_minute", "100000")
        async with open_browser(haproxy, authority) as http:
            await until_all(http, httpx.codes.CREATED)
    assert set(forged) == {httpx.codes.TOO_MANY_REQUESTS}


async def test_a_bff_that_is_killed_costs_its_clients_no_request_but_answers_that_had_begun(
    haproxy: HaProxy, cluster: Balanced, authority: Authority
) -> None:
    person = await sign_up(cluster.bffs[1].url)
    statuses: Counter[int] = Counter()
    cut: list[httpx.RemoteProtocolError] = []

    async def ask(http: Any) -> None:
        while statuses.total() < BURST:
            try:
                statuses[(await http.get("/v1/me", headers=person.headers)).status_code] += 1
            except httpx.RemoteProtocolError as error:  # the balancer can't retry: the head was sent already
                cut.append(error)
            if statuses.total() == BURST // 3:
                cluster.bffs[0].process.kill()

    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        for _ in range(BROWSERS):
            nursery.start_soon(ask, await stack.enter_async_context(open_browser(haproxy, authority)))
    await trio.to_thread.run_sync(cluster.bffs[0].wait)
    assert set(statuses) == {httpx.codes.OK}
    assert len(cut) < BROWSERS  # only responses in transit at the kill, none until its detection
    await until_up(haproxy, "bff", ["bff-2"])
    await trio.to_thread.run_sync(cluster.restore)
    await until_up(haproxy, "bff", ["bff-1", "bff-2"])


# ---- sessions


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_session_stays_however_silent_it_is(
    haproxy: HaProxy, hasty: HaProxy, cluster: Balanced, authority: Authority, transport: Transport
) -> None:
    await until_all_up(hasty)
    async with open_browser(haproxy, authority) as http, AsyncExitStack() as stack:
        sessions = []
        for gateway in cluster.gateways:
            person = await sign_up_at(http, cluster.bffs[0].url, f"/{gateway.name}.")
            endpoint = hasty.instead_of(haproxy, (await gateway_of(http, person))[transport])
            connect = partial(CONNECT[transport], endpoint, authority.file)
            sessions.append((person, await stack.enter_async_context(open_session(connect, person))))
        await trio.sleep(SILENCE)
        (ada, ada_session), (grace, grace_session) = sessions
        sent = await ada_session.send_text(grace.user_id, "still there?")
        (received,) = await grace_session.receive_messages(1)
        assert received.message_id == sent.event_id
        await grace_session.send_text(ada.user_id, "yes")
        await ada_session.receive_messages(1)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_clients_of_a_gateway_that_is_stopped_go_on_at_the_other(
    haproxy: HaProxy, cluster: Balanced, authority: Authority, transport: Transport
) -> None:
    leaving, staying = cluster.gateways
    async with open_browser(haproxy, authority) as http:
        url = cluster.bffs[0].url
        person, other = [await sign_up_at(http, url, f"/{gateway.name}.") for gateway in (leaving, staying)]
        async with open_client(
            haproxy.url, person.name, PASSWORD, transport=transport, ca_file=authority.file
        ) as client:
            before = await client.send(other.user_id, "before")
            assert await trio.to_thread.run_sync(leaving.terminate) == 0
            with trio.fail_after(PATIENCE):
                after = await client.send(other.user_id, "after", deadline=PATIENCE)
        with trio.fail_after(PATIENCE):
            while f"/{staying.name}." not in (await gateway_of(http, person))["websocket"]:
                await trio.sleep(POLL_SECONDS)
        await until_up(haproxy, leaving.name, [])
        await until_up(haproxy, f"{leaving.name}-grpc", [])
    history = await read_history(cluster.bffs[0].url, other, before.chat_id, until=lambda items: len(items) == 2)
    assert [item.message.message_id for item in history] == [before.event_id, after.event_id]
