"""The body of `/metrics`: the instruments of the process and of the roles that it serves."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

import trio
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from shared.telemetry.metrics.catalogue import BUILD_INFO, CATALOGUE, READY, TASKS
from shared.telemetry.metrics.instruments import Role, register_readings

CONTENT_TYPE = CONTENT_TYPE_LATEST

IsReady = Callable[[], Awaitable[bool]]

KEPT_SECONDS = 0.5
"""Seconds for which a made text answers other requests: each takes milliseconds to make, and anybody may ask for it
where a BFF has no health port. Prometheus asks every few seconds."""

_roles: list[tuple[Role, IsReady]] = []
_version = version("rookery")


@contextmanager
def serve_role(role: Role, is_ready: IsReady) -> Iterator[None]:
    """Expose the role's instruments, and its readiness, while the block is open."""
    served = role, is_ready
    _roles.append(served)
    try:
        yield
    finally:
        _roles.remove(served)


async def exposition() -> bytes:
    """Return the body of `/metrics`, with the current values. It waits for the readiness of each role."""
    ready: dict[tuple[str, ...], float] = {}

    async def read_readiness(role: Role, is_ready: IsReady) -> None:
        ready[role,] = min(await is_ready(), ready.get((role,), 1))

    async with trio.open_nursery() as nursery:
        for role, is_ready in _roles:
            nursery.start_soon(read_readiness, role, is_ready)
    tasks = trio.lowlevel.current_statistics().tasks_living
    with register_readings({READY: lambda: ready, BUILD_INFO: lambda: {(_version,): 1}, TASKS: lambda: tasks}):
        return generate_latest(REGISTRY)


class Exposition:
    """The body of `/metrics` of one listener. One request makes it while others wait; it is kept for KEPT_SECONDS."""

    def __init__(self) -> None:
        self._making = trio.Lock()
        self._text = b""
        self._made_at = float("-inf")

    async def text(self) -> bytes:
        """Return the body, of KEPT_SECONDS ago at most."""
        async with self._making:
            if trio.current_time() >= self._made_at + KEPT_SECONDS:
                self._text = await exposition()
                self._made_at = trio.current_time()
            return self._text


class _Instruments(Collector):
    def collect(self) -> Iterator[Family]:
        serving = {role for role, _ in _roles}
        for instrument in CATALOGUE:
            if serving.intersection(instrument.roles) and (family := instrument.family()).samples:
                yield family


REGISTRY.register(_Instruments())
