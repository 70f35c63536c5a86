"""A starting process waits for engines that are away, answers probes meanwhile, and waits for no embedded engine."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from rookery.client import Refused
from rookery.serve.platform import Role, open_platform, open_up
from rookery.serve.waiting import LONGEST_PAUSE, open_waiting, until_available
from shared.contract.errors import Unavailable
from shared.settings import Engine, Settings
from tests.shared.drivers.redis_clients import blocking
from tests.waiting import PATIENCE
from tools.engines.engine import free_port
from tools.engines.redis import Redis

KAFKA: frozenset[Engine] = frozenset({"kafka"})


class Broker:
    """An engine that is away for the first attempts."""

    def __init__(self, absences: int) -> None:
        self.absences = absences
        self.attempts: list[float] = []
        self.closed = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        await trio.lowlevel.checkpoint()
        self.attempts.append(trio.current_time())
        if len(self.attempts) <= self.absences:
            raise Unavailable("no broker answers")
        yield "open"
        self.closed += 1


async def test_an_engine_that_is_away_is_tried_again_with_growing_pauses(autojump_clock: MockClock) -> None:
    broker = Broker(absences=8)
    async with open_waiting(KAFKA, None, {}) as waiting:
        async with waiting.engine("kafka", broker.open) as opened:
            assert opened == "open"
        assert broker.closed == 1
    pauses = [later - earlier for earlier, later in zip(broker.attempts, broker.attempts[1:], strict=False)]
    assert pauses == [0.5, 1, 2, 4, 8, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


async def test_an_embedded_engine_is_not_waited_for() -> None:
    async with open_waiting(KAFKA, None, {}) as waiting:
        with pytest.raises(Unavailable, match="no broker answers"):
            async with waiting.engine("redis", Broker(absences=1).open):
                pass


async def test_a_role_is_unready_and_names_the_engine_until_it_opens() -> None:
    port = free_port()
    async with open_waiting(KAFKA, None, {"gateway": ("127.0.0.1", port)}) as waiting, trio.open_nursery() as nursery:
        opening = trio.CancelScope()

        async def open_engine() -> None:
            with opening:
                async with waiting.engine("kafka", Broker(absences=1_000).open):
                    pass

        nursery.start_soon(open_engine)
        await trio.testing.wait_all_tasks_blocked()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
            ready = await http.get("/readyz")
            assert ready.status_code == 503, ready.text
            assert "kafka: no broker answers" in ready.text
            assert (await http.get("/livez")).status_code == 200
            for other in (await http.get("/v1/me"), await http.post("/v1/files"), await http.get("/")):
                assert (other.status_code, other.headers["Retry-After"]) == (503, "1")
                refused = Refused.from_problem(503, other.json())
                assert (refused.code, refused.retryable, refused.retry_after_ms) == ("unavailable", True, 1_000)
            opening.cancel()
        async with waiting.end("gateway"):
            (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")  # the role's own
            await listener.aclose()


async def test_a_process_that_waits_has_started_for_kubernetes(nursery: trio.Nursery) -> None:
    """Else its startup probe ends the process. Before an engine fails, the probe leaves time for the start."""
    port, attempt, went_away = free_port(), trio.Event(), trio.Event()

    @asynccontextmanager
    async def open_engine() -> AsyncIterator[None]:
        attempt.set()
        await went_away.wait()
        raise Unavailable("no broker answers")
        yield

    async with open_waiting(KAFKA, None, {"gateway": ("127.0.0.1", port)}) as waiting:

        async def wait_for_engine() -> None:
            async with waiting.engine("kafka", open_engine):
                pass

        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
            assert (await http.get("/readyz")).status_code == 503
            nursery.start_soon(wait_for_engine)
            await attempt.wait()
            assert (await http.get("/startupz")).status_code == 503
            went_away.set()
            with trio.fail_after(PATIENCE):
                while (await http.get("/startupz")).status_code != 200:
                    await trio.sleep(0.01)
                while "no broker answers" not in await readiness(http):  # the checks are fresh for half a second
                    await trio.sleep(0.05)
            assert (await http.get("/livez")).status_code == 200


async def test_a_process_of_all_roles_is_unready_and_names_the_engine_while_it_waits_to_migrate_it(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    port = free_port()
    settings = Settings.model_validate(
        {
            "data": tmp_path,
            "engines": "kafka",
            "kafka": {"servers": [f"127.0.0.1:{free_port()}"]},
            "gateway": {"health_port": port},
            "archive": {"health_port": 0},
            "bff": {"port": 0},
        }
    )

    async def go_up() -> None:
        async with open_up(settings):
            pass

    nursery.start_soon(go_up)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
        with trio.fail_after(PATIENCE):
            while not (reasons := await readiness(http)):
                await trio.sleep(0.05)
        assert "kafka: " in reasons
        assert (await http.get("/livez")).status_code == 200


def on_redis(tmp_path: Path, url: str, health_port: int) -> Settings:
    """Settings of a gateway or a BFF on Redis, with embedded engines for the rest, that answers probes at the port."""
    return Settings.model_validate(
        {
            "data": tmp_path,
            "engines": "redis",
            "redis": {"url": url},
            "gateway": {"websocket_port": 0, "grpc_port": 0, "health_port": health_port},
            "bff": {"port": health_port},
        }
    )


async def run_role(settings: Settings, role: Role) -> None:
    async with open_platform(settings, [role]):
        await trio.sleep_forever()


async def until_ready(http: httpx.AsyncClient) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            with suppress(httpx.TransportError):  # while the role takes over the port
                if (await http.get("/readyz")).status_code == 200:
                    return
            await trio.sleep(0.05)


async def test_a_gateway_is_unready_and_names_redis_until_redis_answers(
    tmp_path: Path, own_redis: Callable[..., Redis], nursery: trio.Nursery
) -> None:
    server, port = await blocking(own_redis), free_port()
    await blocking(server.kill)
    nursery.start_soon(run_role, on_redis(tmp_path, server.url, port), "gateway")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
        with trio.fail_after(PATIENCE):
            while "redis: Redis does not answer" not in await readiness(http):
                await trio.sleep(0.05)
        await blocking(server.start)
        await until_ready(http)
        await blocking(server.kill)
        assert (await http.get("/readyz")).status_code == 200  # it goes on with the last known state


async def test_a_gateway_is_unready_and_names_redis_with_a_wrong_password(
    tmp_path: Path, redis_server: Redis, nursery: trio.Nursery
) -> None:
    port, url = free_port(), f"redis://rookery:hunter2@{redis_server.address}/0"
    nursery.start_soon(run_role, on_redis(tmp_path, url, port), "gateway")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
        with trio.fail_after(PATIENCE):
            while "redis: Redis does not answer" not in (reasons := await readiness(http)):
                await trio.sleep(0.05)
    assert "username-password" in reasons
    assert "hunter2" not in reasons


async def readiness(http: httpx.AsyncClient) -> str:
    """Why the process is unready; empty before it listens."""
    try:
        ready = await http.get("/readyz")
    except httpx.ConnectError:
        return ""
    assert ready.status_code == 503, ready.text
    return ready.text


async def test_work_is_repeated_until_its_engine_answers(autojump_clock: MockClock) -> None:
    attempts = 0

    async def migrate() -> int:
        nonlocal attempts
        attempts += 1
        await trio.lowlevel.checkpoint()
        if attempts < 3:
            raise Unavailable("away")
        return attempts

    reasons: list[str] = []
    assert await until_available("cassandra", migrate, reasons.append) == 3
    assert reasons == ["away", "away", ""]
