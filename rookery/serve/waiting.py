"""Waits for the engines of other processes that are away when this one starts. Its health ports answer meanwhile.

An embedded engine is not waited for: a person has to mend the cause of the failure.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

import structlog
import trio

from shared.background import open_background
from shared.contract.errors import Unavailable
from shared.net.health_server import serve_health
from shared.net.tls import ServerTls
from shared.settings import Engine
from shared.telemetry.health import Health

FIRST_PAUSE = 0.5
"""Seconds before the second attempt; each further pause is twice as long."""

LONGEST_PAUSE = 10.0
"""Seconds between two attempts at most: how much longer than its engine a process may be away."""

Opened = TypeVar("Opened")

_log = structlog.get_logger(__name__)


async def until_available(engine: str, attempt: Callable[[], Awaitable[Opened]], note: Callable[[str], None]) -> Opened:
    """Await the attempt, again after each Unavailable, whose text `note` gets; an empty one once it has succeeded."""
    pause = FIRST_PAUSE
    while True:
        try:
            opened = await attempt()
        except Unavailable as error:
            note(str(error))
            _log.warning("engine_awaited", engine=engine, reason=str(error), retry_seconds=pause)
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            note("")
            return opened


class Waiting:
    """The engines that a starting process waits for, and the health ports of its roles that are not open yet."""

    def __init__(self, engines: frozenset[Engine], tls: ServerTls | None, nursery: trio.Nursery) -> None:
        self._engines = engines
        self._tls = tls
        self._nursery = nursery
        self._reasons: dict[str, str] = {}
        self._listening: dict[str, tuple[trio.CancelScope, trio.Event]] = {}
        self._health = Health()
        self._health.add("engines", "the engines answer", self._check)

    @asynccontextmanager
    async def engine(
        self, engine: Engine, open_engine: Callable[[], AbstractAsyncContextManager[Opened]]
    ) -> AsyncIterator[Opened]:
        """Open an engine, or its embedded twin. Waits for the former; the latter raises Unavailable."""
        async with AsyncExitStack() as stack:
            if engine not in self._engines:
                yield await stack.enter_async_context(open_engine())
                return
            yield await self.until(engine, lambda: stack.enter_async_context(open_engine()), "it has not answered yet")

    async def until(self, engines: str, attempt: Callable[[], Awaitable[Opened]], reason: str) -> Opened:
        """Await the attempt, again while engines are away. Probes get the reason, then that of the newest failure. From
        the first failure on the process counts as started, or else Kubernetes would end it while it waits."""

        def note(reason: str) -> None:
            self._reasons[engines] = reason
            if reason:
                self._health.mark_started()

        self._reasons[engines] = reason
        return await until_available(engines, attempt, note)

    async def listen(self, role: str, host: str, port: int) -> None:
        """Answer the probes of a role: it is unready. Raises OSError if the address can't be bound."""
        scope, ended = trio.CancelScope(), trio.Event()
        self._listening[role] = scope, ended
        await self._nursery.start(self._serve, host, port, scope, ended)

    @asynccontextmanager
    async def end(self, role: str) -> AsyncIterator[None]:
        """Free the role's port: the role opens now, and answers itself."""
        if role in self._listening:
            scope, ended = self._listening.pop(role)
            scope.cancel()
            await ended.wait()
        yield

    async def _serve(
        self, host: str, port: int, scope: trio.CancelScope, ended: trio.Event, *, task_status: trio.TaskStatus[int]
    ) -> None:
        try:
            with scope:
                await serve_health(self._health, host, port, tls=self._tls, is_starting=True, task_status=task_status)
        finally:
            ended.set()

    async def _check(self) -> None:
        await trio.lowlevel.checkpoint()
        away = [f"{engine}: {reason}" for engine, reason in self._reasons.items() if reason]
        raise Unavailable("; ".join(away) or "the role has not opened yet")


@asynccontextmanager
async def open_waiting(
    engines: frozenset[Engine], tls: ServerTls | None, addresses: Mapping[str, tuple[str, int]]
) -> AsyncIterator[Waiting]:
    """Wait for these engines while the block is open, and answer the probes of roles at their hosts and ports. (At port
    0 nobody can ask yet.) Raises OSError if an address can't be bound."""
    async with open_background() as nursery:
        waiting = Waiting(engines, tls, nursery)
        if engines:
            for role, (host, port) in addresses.items():
                if port:
                    await waiting.listen(role, host, port)
        yield waiting
