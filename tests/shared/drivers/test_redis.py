"""The client of Redis: answers, or Unavailable in time, whatever happens to Redis; and no secret in errors or logs."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import structlog
import trio

from shared.contract.errors import Unavailable, UnusableSetting
from shared.drivers.redis import RedisClient, listening, open_redis
from shared.drivers.redis import client as client_module
from shared.drivers.redis.client import _Command, _handler
from shared.drivers.redis.link import Link, Unreachable, connector
from shared.settings import RedisSettings
from tests.shared.drivers.redis_clients import blocking, settings_for
from tests.waiting import PATIENCE, until
from tools.engines.engine import free_port
from tools.engines.redis import Redis
from tools.launch.certificates import Authority

PROMPT = 10.0
"""Seconds that closing may take, whatever Redis does: one is promised, and the machine may be busy. Waiting for Redis
would take longer here."""


@pytest.fixture
def settings(redis_server: Redis) -> RedisSettings:
    return settings_for(redis_server)


@pytest.fixture
async def client(settings: RedisSettings) -> AsyncIterator[RedisClient]:
    async with open_redis(settings) as client:
        yield client


async def test_answers_are_texts_numbers_none_and_lists(client: RedisClient, settings: RedisSettings) -> None:
    key = f"{settings.prefix}key"
    assert await client.call("GET", key) is None
    assert await client.call("SET", key, "é🙂\r\n") == "OK"
    assert await client.call("GET", key) == "é🙂\r\n"
    assert await client.call("APPEND", key, b"\x00") == 9
    assert await client.evaluate("return {KEYS[1], ARGV[1], {}, 7}", [key], 5) == [key, "5", [], 7]


async def test_commands_that_gather_while_redis_is_busy_are_sent_together(own_redis: Callable[..., Redis]) -> None:
    server = own_redis()
    async with open_redis(settings_for(server)) as client:
        await client.call("PING")
        server.freeze()
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(client.call, "ECHO", number)
            await until(lambda: client.statistics().pending == 200)
            server.thaw()
        assert client.statistics().batches <= 3  # the PING, the first commands, the rest


async def test_each_caller_gets_its_own_answer_beside_refused_commands_which_are_logged_once(
    client: RedisClient, settings: RedisSettings
) -> None:
    key = f"{settings.prefix}text"
    await client.call("SET", key, "text")
    echoes: list[tuple[int, str]] = []

    async def refused() -> None:
        with pytest.raises(Unavailable, match="Redis refused a command: WRONGTYPE"):
            await client.call("LPUSH", key, "x")

    async def echo(number: int) -> None:
        echoes.append((number, await client.call("ECHO", number)))

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(echo, number)
                if number % 30 == 0:
                    nursery.start_soon(refused)
    assert sorted(echoes) == [(number, str(number)) for number in range(300)]
    assert [entry["event"] for entry in logs] == ["redis_refused"]


async def test_it_opens_without_redis_and_works_once_redis_is_there_and_over_its_restart_while_idle(
    own_redis: Callable[..., Redis],
) -> None:
    server = own_redis()
    server.kill()
    with structlog.testing.capture_logs() as logs:
        async with open_redis(settings_for(server)) as client:
            for _ in range(3):
                with pytest.raises(Unavailable, match="Connection refused"):
                    await client.call("PING")
            assert client.is_unavailable
            await blocking(server.start)
            assert await client.call("PING") == "PONG"
            assert not client.is_unavailable
            assert [entry["event"] for entry in logs] == ["redis_unavailable", "redis_available"]
            await blocking(server.kill)
            await blocking(server.start)
            assert await client.call("PING") == "PONG"


async def test_a_redis_that_hangs_is_unavailable_in_time_and_its_late_replies_are_discarded(
    own_redis: Callable[..., Redis],
) -> None:
    server = own_redis()
    async with open_redis(settings_for(server, timeout_seconds=0.3)) as client:
        await answers(client)
        server.freeze()
        for number in range(3):
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await client.call("ECHO", f"late {number}")
            assert 0.25 < time.monotonic() - began < 0.3 + PROMPT
        server.thaw()
        await answers(client)


async def answers(client: RedisClient) -> None:
    """Wait until Redis answers in the client's time; the answer must be to this command."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                assert await client.call("ECHO", "timely") == "timely"
                return
            except Unavailable:
                await trio.sleep(0.01)


def test_a_command_that_has_timed_out_is_not_sent(settings: RedisSettings) -> None:
    link = Link(settings, connector(settings))
    handle = _handler(link)
    key, now = f"{settings.prefix}late".encode(), time.monotonic()
    late, timely = handle([_Command([b"SET", key, b"x"], now - 1), _Command([b"EXISTS", key], now + PATIENCE)])
    link.close()
    assert isinstance(late, Unreachable)
    assert timely == 0


async def test_a_cancelled_call_leaves_the_client_alone(client: RedisClient) -> None:
    for _ in range(50):
        with trio.move_on_after(0.0005):
            await client.call("ECHO", "cancelled")
        assert await client.call("ECHO", "next") == "next"


@pytest.mark.parametrize("is_connected", [True, False], ids=["a connection hangs", "nothing answers an attempt"])
async def test_closing_is_prompt_while_redis_hangs_and_calls_wait(
    own_redis: Callable[..., Redis], is_connected: bool
) -> None:
    with ExitStack() as stack:
        url = "" if is_connected else f"redis://127.0.0.1:{stack.enter_context(_black_hole())}"
        server = own_redis()
        began = time.monotonic()
        with trio.CancelScope() as scope:
            async with (
                open_redis(settings_for(server, timeout_seconds=30, url=url)) as client,
                trio.open_nursery() as nursery,
            ):
                if is_connected:
                    await until(lambda: client.connections == 1)
                    server.freeze()
                nursery.start_soon(client.call, "PING")
                await trio.sleep(0.05)
                began = time.monotonic()
                scope.cancel()
        assert time.monotonic() - began < PROMPT
    await until(lambda: not _threads())  # they end by themselves, when their attempts do


async def test_after_closing_no_thread_is_left(settings: RedisSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client_module, listening):
        monkeypatch.setattr(module, "CLOSE_SECONDS", PATIENCE)  # the machine may be busy
    await until(lambda: not _threads())  # of other tests
    async with open_redis(settings) as client:
        await client.call("PING")
        assert len(_threads()) == 2
    assert not _threads()


async def test_a_notification_reaches_every_subscriber_of_its_channel_only(redis_server: Redis) -> None:
    plain = settings_for(redis_server)
    settings = plain.model_copy(update={"prefix": f"{plain.prefix}[a-c]*\\?:"})  # it is no pattern
    ours, theirs = f"{settings.prefix}ours:changes", f"{settings.prefix}theirs:changes"
    async with open_redis(settings) as client:
        await until(lambda: client.connections == 1)
        async with client.subscribe(ours) as one, client.subscribe(ours) as two, client.subscribe(theirs) as other:
            await client.call("PUBLISH", f"{plain.prefix}axx:ours:changes", "for others")
            assert await client.call("PUBLISH", ours, "x") == 1
            with trio.fail_after(PATIENCE):
                await anext(one)
                await anext(two)
            for subscription in (one, two, other):
                with pytest.raises(trio.WouldBlock):
                    subscription.receive_nowait()


async def test_a_subscription_survives_a_restart_and_yields_since_notifications_may_be_missing(
    own_redis: Callable[..., Redis],
) -> None:
    server = own_redis()
    settings = settings_for(server)
    channel = f"{settings.prefix}channel:changes"
    async with open_redis(settings) as client, client.subscribe(channel) as notices:
        with trio.fail_after(PATIENCE):
            await anext(notices)
            await blocking(server.kill)
            await blocking(server.start)
            await anext(notices)
            assert client.connections == 2
            await client.call("PUBLISH", channel, "x")
            await anext(notices)


async def test_a_subscription_notices_that_redis_hangs(
    own_redis: Callable[..., Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "PING_SECONDS", 0.05)
    server = own_redis()
    async with open_redis(settings_for(server, timeout_seconds=0.2)) as client:
        await until(lambda: client.connections >= 1)
        link, closed = client._subscriber._link, threading.Event()
        close = link.close

        def close_and_set() -> None:
            close()
            closed.set()

        server.freeze()
        before = client.connections
        monkeypatch.setattr(link, "close", close_and_set)
        await until(closed.is_set)
        server.thaw()
        await until(lambda: client.connections > before)


async def test_a_silent_subscription_stays_open(settings: RedisSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PING_SECONDS", 0.05)
    async with open_redis(settings) as client:
        await until(lambda: client.connections == 1)
        await trio.sleep(0.3)
        assert client.connections == 1


async def test_a_password_is_used_and_never_shown(own_redis: Callable[..., Redis]) -> None:
    server = own_redis()
    async with open_redis(settings_for(server)) as client:
        await client.call("CONFIG", "SET", "requirepass", "p/ss wörd")
    with structlog.testing.capture_logs() as logs:
        good = settings_for(server, url=f"redis://:p%2Fss%20w%C3%B6rd@{server.address}/0")
        async with open_redis(good) as client:
            assert await client.call("PING") == "PONG"
        bad = settings_for(server, url=f"redis://:p%2Fss%20secret@{server.address}/0")
        async with open_redis(bad) as client:
            with pytest.raises(Unavailable) as caught:
                await client.call("PING")
    for text in (str(caught.value), repr(logs), repr(good), repr(bad)):
        assert "wörd" not in text
        assert "secret" not in text


async def test_a_password_that_a_server_repeats_in_an_error_is_not_in_ours(nursery: trio.Nursery) -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"-ERR unknown command 'AUTH', with args beginning with: 'top secret'\r\n")

    (listener,) = await nursery.start(partial(trio.serve_tcp, refuse, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    url = f"redis://:top%20secret@127.0.0.1:{port}/0"
    settings = RedisSettings.model_validate({"url": url, "timeout_seconds": PATIENCE})
    async with open_redis(settings) as client:
        with pytest.raises(Unavailable, match=r"beginning with: '\*\*\*'") as caught:
            await client.call("PING")
    assert caught.value.__cause__ is None
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("option", ["nonsense=1", "socket_timeout=secret"])
async def test_an_option_that_cannot_be_used_is_refused_without_showing_the_url(option: str) -> None:
    with pytest.raises(UnusableSetting, match=r"redis\.url` has an unknown or invalid option") as caught:
        async with open_redis(RedisSettings.model_validate({"url": f"redis://:secret@host/0?{option}"})):
            pass
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_tls_accepts_only_servers_of_the_authority(own_redis: Callable[..., Redis], tmp_path: Path) -> None:
    authority, port = Authority(tmp_path), free_port()
    issued = authority.issue()
    files = {"tls-cert-file": issued.certificate, "tls-key-file": issued.key, "tls-ca-cert-file": authority.file}
    server = own_redis(
        {name: str(file) for name, file in files.items()} | {"tls-port": str(port), "tls-auth-clients": "no"}
    )
    url = f"rediss://127.0.0.1:{port}/0"
    async with open_redis(settings_for(server, url=f"{url}?ssl_ca_certs={authority.file}")) as client:
        assert await client.call("PING") == "PONG"
        await until(lambda: client.connections == 1)
        began = time.monotonic()
    assert time.monotonic() - began < PROMPT
    async with open_redis(settings_for(server, url=url)) as client:
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await client.call("PING")


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("redis")]


@contextmanager
def _black_hole() -> Iterator[int]:
    """A port with a full backlog, so that a connection attempt is neither accepted nor refused."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port
