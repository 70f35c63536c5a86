"""No log has a secret of a user, at any log level.

A platform logs at debug level while two users chat and others send bad input. Then the output of all its processes is
searched for each secret.
"""

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio_websocket

from rookery.client.errors import Unreachable
from rookery.v1 import session_pb2 as pb
from shared.telemetry.collector import WARN_SECONDS
from shared.telemetry.logs import INDISCREET_LOGGERS, NOISY_LOGGERS
from tests.system.commands import command
from tests.system.sessions import (
    TRANSPORTS,
    Session,
    SessionOver,
    change_to,
    connector,
    open_session,
    open_websocket,
    send_bytes,
    text_to,
)
from tests.waiting import until
from tools.engines.engine import HOST, free_port
from tools.engines.kinds import Engines
from tools.engines.redis import Redis
from tools.launch.cluster import Cluster, running_cluster
from tools.launch.people import PATIENCE, Person, open_http, read_history
from tools.launch.process import ANNOUNCED, Process, Rookery, running, wait_until

EVERY_LIBRARY = ",".join(f"{name}=debug" for name in (*NOISY_LOGGERS, *INDISCREET_LOGGERS))

LOGGERS = {
    "up": {"bff.app", "shared.rpc.server.interceptors", "shared.configuration.live"},
    "bff": {"bff.app", "shared.configuration.live"},
    "gateway": {"shared.rpc.server.interceptors", "shared.configuration.live"},
    "archive": {"shared.rpc.server.interceptors", "shared.configuration.live"},
}
"""Loggers that must appear in each command's log, else the test proves nothing."""


@dataclass
class Secrets:
    """Secrets that must not be in a log, by kind."""

    known: dict[str, str] = field(default_factory=dict)

    def new(self, kind: str) -> str:
        """A new, unique secret."""
        return self.keep(kind, f"hush{secrets.token_hex(12)}")

    def keep(self, kind: str, secret: str) -> str:
        self.known[f"{kind} {len(self.known)}"] = secret
        return secret

    def keep_token(self, kind: str, token: str) -> str:
        """Keep each part of a JWT: a log may have only one."""
        for part in token.split(".")[1:] or [token]:
            self.keep(kind, part)
        return token

    def found_in(self, processes: list[Process]) -> list[str]:
        """Secrets in the output of the processes, and where."""
        output = {f"{each.name} stderr": each.log.read_text() for each in processes}
        output |= {f"{each.name} stdout": each.output for each in processes}
        return [
            f"{kind} in {where}: {line}"
            for where, text in output.items()
            for line in text.splitlines()
            for kind, secret in self.known.items()
            if secret in line
        ]


@dataclass
class Platform:
    """Processes for clients, and all processes with their logs."""

    bff: Process
    gateway: Process
    processes: list[Process]
    stop: Callable[[], object]


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.slow)])
def platform(request: pytest.FixtureRequest, tmp_path: Path, known: Secrets) -> Iterator[Platform]:
    """A platform that logs at debug level."""
    settings = {
        "ROOKERY_LOG_LEVEL": "debug",
        "ROOKERY_ARCHIVE_TOKEN": known.new("archive token"),
        "ROOKERY_CASSANDRA__PASSWORD": known.new("Cassandra password"),
        "ROOKERY_TRACES__ENDPOINT": f"http://{HOST}:{free_port()}",  # without a listener
        "ROOKERY_TRACES__TIMEOUT_SECONDS": "0.2",
        "ROOKERY_TRACES__HEADERS": json.dumps({"authorization": known.new("collector's token")}),
    }
    with ExitStack() as stack:
        if request.param == "embedded":
            settings["ROOKERY_KAFKA__SECURITY"] = "SASL_SSL"  # the Kafka of tests has no passwords
            settings["ROOKERY_KAFKA__PASSWORD"] = known.new("Kafka password")
            rookery = stack.enter_context(running(Rookery(tmp_path / "data", settings=settings, trace_ratio=1)))
            ready = Platform(rookery, rookery, [rookery], rookery.terminate)
        else:
            redis: Redis = request.getfixturevalue("own_redis")()
            settings["ROOKERY_REDIS__URL"] = redis.url.replace("//", f"//rookery:{add_user(redis, known)}@")
            kafka, cassandra = map(request.getfixturevalue, ("kafka_server", "cassandra_server"))
            engines = Engines(kafka, cassandra, redis)
            counts = {"bffs": 1, "gateways": 1, "archives": 1}
            cluster = Cluster(tmp_path / "cluster", engines, **counts, settings=settings, trace_ratio=1)
            stack.enter_context(running_cluster(cluster))
            ready = Platform(cluster.bffs[0], cluster.gateways[0], cluster.processes, cluster.stop)
        yield ready


@pytest.fixture
def known() -> Secrets:
    return Secrets()


def add_user(redis: Redis, known: Secrets) -> str:
    """Create a user `rookery` in Redis; return its password."""
    password = known.new("Redis password")
    rules = ["rookery", "on", f">{password}", "~*", "&*", "+@all"]
    command = ["redis-cli", "-h", redis.host, "-p", str(redis.port), "acl", "setuser", *rules]
    subprocess.run(command, check=True, capture_output=True)
    return password


async def test_no_log_has_a_secret(platform: Platform, known: Secrets) -> None:
    began = trio.current_time()
    await log_everything(platform)
    ada, grace = await sign_up(platform, known, "ada"), await sign_up(platform, known, "grace")
    await chat(platform, known, ada, grace)
    await send_secret_paths(platform, known, ada)
    await send_bad_requests(platform, known, ada)
    await send_bad_frames(platform, known)
    await send_unknown_protocols(platform, known)
    await send_bad_sign_ins(platform, known, ada)
    await until(lambda: events_of(platform.bff).count("traces_not_sent"))
    await trio.to_thread.run_sync(platform.stop)

    most = 1 + (trio.current_time() - began) // WARN_SECONDS
    assert events_of(platform.bff).count("traces_not_sent") <= most, "however often the collector is unreachable"
    for process in platform.processes:
        lines = process.log_lines()
        assert process.process.returncode == 0
        assert {"time", "level", "event", "logger"} <= set.intersection(*map(set, lines)), process.name
        assert {line["level"] for line in lines} >= {"debug", "info"}, process.name
        assert {line["logger"] for line in lines} >= LOGGERS[process.role], process.name
    assert len(known.known) > 30
    assert known.found_in(platform.processes) == []


def events_of(process: Process) -> list[str]:
    return [line["event"] for line in process.log_lines()]


async def log_everything(platform: Platform) -> None:
    """Set every logger to debug, including the loggers of libraries."""
    await command(platform.bff, "config", "set", "log_levels", EVERY_LIBRARY)

    def is_known(process: Process) -> bool:
        return any(line.get("log_levels") == EVERY_LIBRARY for line in process.log_lines())

    for process in platform.processes:
        assert await trio.to_thread.run_sync(wait_until, lambda process=process: is_known(process)), process.name


async def sign_up(platform: Platform, known: Secrets, name: str) -> Person:
    """Register, be refused, sign in, change password and profile, refresh the token."""
    name = known.keep("account name", f"{name}-{secrets.token_hex(4)}")
    password, second = known.new("password"), known.new("password")
    async with open_http(platform.bff.url) as http:
        account = {"name": name, "password": password}
        assert (await http.post("/v1/users", json=account)).status_code == httpx.codes.CREATED
        assert (await http.post("/v1/users", json=account)).status_code == httpx.codes.CONFLICT
        wrong = {"name": name, "password": known.new("wrong password")}
        assert (await http.post("/v1/tokens", json=wrong)).status_code == httpx.codes.UNAUTHORIZED
        tokens = (await http.post("/v1/tokens", json=account)).raise_for_status().json()
        headers = {"Authorization": f"Bearer {known.keep_token('access token', tokens['access_token'])}"}
        refresh_token = known.keep_token("refresh token", tokens["refresh_token"])
        version = (await http.get("/v1/me", headers=headers)).json()["version"]
        profile = {"display_name": known.new("display name"), "version": version}
        (await http.patch("/v1/me", json=profile, headers=headers)).raise_for_status()
        change = {"current_password": password, "new_password": second}
        changed = (await http.put("/v1/me/password", json=change, headers=headers)).raise_for_status().json()
        for device_token in (tokens["device_token"], changed["device_token"]):
            known.keep_token("device token", device_token)
        for _ in range(2):  # after the second one, a use of the first refresh token is a reuse and no retry
            renewed = await http.post("/v1/tokens/refresh", json={"refresh_token": tokens["refresh_token"]})
            tokens = renewed.raise_for_status().json()
            known.keep_token("access token", tokens["access_token"])
            known.keep_token("refresh token", tokens["refresh_token"])
    return Person(name, int(tokens["user"]["user_id"]), tokens["access_token"], refresh_token)


async def chat(platform: Platform, known: Secrets, ada: Person, grace: Person) -> None:
    """Over both transports: texts, refused frames, a renewal; then history."""
    chat_id = ada.chat_with(grace)
    for transport in TRANSPORTS:
        connect = connector(platform.gateway, transport)
        async with open_session(connect, ada) as first, open_session(connect, grace) as second:
            await first.send_text(grace.user_id, known.new("text"), known.new("client message id"))
            await second.next_event("message")
            accepted = await second.send_text(chat_id, known.new("text"))
            await second.change(chat_id, marked=pb.Marked(read_up_to=accepted.event_id))
            edited = pb.Edited(text=pb.Text(body=known.new("text")))
            await second.change(chat_id, accepted.event_id, known.new("client change id"), edited=edited)
            await second.change(chat_id, accepted.event_id, known.new("client change id"), deleted=pb.Deleted())
            await second.ask(typing=pb.Typing(chat_id=chat_id))
            too_long = pb.Edited(text=pb.Text(body=known.new("text") * 2_000))
            for refused in (
                {"change": change_to(known.new("chat id"), 1, reacted=pb.Reacted(emoji="👍", set=True))},
                {"change": change_to(chat_id, accepted.event_id, edited=too_long)},
                {"send": text_to(chat_id, known.new("text") * 2_000)},
                {"renew": pb.Renew(access_token=known.new("access token"))},
            ):
                assert (await second.answer(**refused)).HasField("refused")
            await second.send_frame(ping=pb.Ping(payload=known.new("ping").encode()))
            await second.next("pong")
    await read_history(platform.bff.url, grace, chat_id, until=lambda messages: len(messages) == 2 * len(TRANSPORTS))


async def send_secret_paths(platform: Platform, known: Secrets, ada: Person) -> None:
    """Send requests whose paths and queries are secrets."""
    paths = ["/v1/me", "/v1/chats", "/v1/me/devices", f"/v1/profiles?part={known.new('query')}"]
    paths += [f"/v1/chats/{known.new('chat id')}/messages", f"/{known.new('path')}", f"/v1/{known.new('path')}?a=b"]
    async with open_http(platform.bff.url) as http:
        for path in paths:
            await http.get(path, headers=ada.headers)


async def send_bad_requests(platform: Platform, known: Secrets, ada: Person) -> None:
    """Send malformed and invalid bodies, and invalid tokens."""
    for path in ("/v1/users", "/v1/tokens", "/v1/tokens/refresh"):
        bodies: list[dict[str, Any]] = [
            {"content": f'{{"name": "{known.new("body")}'},
            {"content": b"\xff" + known.new("body").encode()},
            {"content": known.new("body") * 10_000},
            {"json": {known.new("field"): known.new("value")}},
            {"json": {"name": [known.new("value")], "password": {known.new("field"): 1}}},
        ]
        for body in bodies:
            async with open_http(platform.bff.url) as http:  # on its own connection, which may be closed
                with suppress(httpx.TransportError):
                    assert (await http.post(path, **body)).is_client_error
    async with open_http(platform.bff.url) as http:
        for token in (known.new("token"), f"{known.new('token')}.{known.new('token')}.{known.new('token')}"):
            for scheme in ("Bearer", "Basic"):
                answer = await http.get("/v1/me", headers={"Authorization": f"{scheme} {token}"})
                assert answer.status_code == httpx.codes.UNAUTHORIZED
        await http.patch("/v1/me", headers=ada.headers, content=known.new("body"))


async def send_bad_frames(platform: Platform, known: Secrets) -> None:
    """Send malformed frames, and invalid tokens."""
    frames: list[str | bytes] = [
        f'{{"authenticate": {{"access_token": "{known.new("access token")}',
        known.new("frame").encode(),
    ]
    frames += [f'{{"{known.new("field")}": 1}}', f'{{"send": "{known.new("text")}"}}']
    for frame in frames:
        async with open_websocket(platform.gateway.websocket) as websocket:
            await websocket.send_message(frame)
            with trio.fail_after(PATIENCE), suppress(trio_websocket.ConnectionClosed):
                while True:
                    await websocket.get_message()
    for transport in TRANSPORTS:
        with suppress(SessionOver, Unreachable):
            async with connector(platform.gateway, transport)() as stream:
                await Session(stream).authenticate(known.new("access token"))
                pytest.fail("a session was opened for nobody")


async def send_unknown_protocols(platform: Platform, known: Secrets) -> None:
    """Send bytes of no protocol to every port."""
    addresses = {address for each in platform.processes for address in each.addresses.values()}
    assert len(addresses) == len(ANNOUNCED)
    for address in addresses:
        for start in (b"GET /", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01", b"POST / HTTP/1.1\r\nHost: "):
            await send_bytes(address, start + known.new("bytes").encode() + b"\r\n\r\n")


async def send_bad_sign_ins(platform: Platform, known: Secrets, person: Person) -> None:
    """Reuse a refresh token, and sign in to an unknown account."""
    async with open_http(platform.bff.url) as http:
        reused = await http.post("/v1/tokens/refresh", json={"refresh_token": person.refresh_token})
        assert reused.status_code == httpx.codes.UNAUTHORIZED
        nobody = {"name": f"nobody-{secrets.token_hex(4)}", "password": known.new("password")}
        assert (await http.post("/v1/tokens", json=nobody)).status_code == httpx.codes.UNAUTHORIZED
