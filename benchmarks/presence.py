"""Presence: the CPU of 1,000 sessions that watch users, with 1,000 changes of presence a minute:

    python -m benchmarks.presence [--engines] [--watched 40 200] [--seconds 60]

1,000 users come and go: each is online for some seconds and the 30 after them, and comes back 120 s later. Their
sessions cost CPU, too, so this is measured before each size, while nobody watches. The CPU is that of the gateways and
archives, all threads, above that. It includes a round in which each gateway asks for all users whom its sessions watch.
"""

import argparse
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from benchmarks.channels import Platform, embedded, on_engines
from rookery.client.connection import SessionStream
from rookery.client.websocket import connect_websocket
from rookery.load.accounts import Bff
from rookery.load.process import cpu_seconds
from rookery.load.sessions import LoadUser, for_each
from rookery.load.stored_accounts import make_users
from rookery.v1.session_pb2 import Authenticate, ClientFrame, Watch
from shared.background import open_background
from shared.net.open_files import allow_most_open_files
from tools.engines.install import exit_if_missing

WATCHERS, CHANGING = 1_000, 1_000
"""Users with a session that watches, and users whom they watch."""

CYCLE_SECONDS = 120.0
"""From one session of a changing user to the next: 2 changes of presence, so 1,000 a minute of all."""

ONLINE_SECONDS = 2.0

WARM_UP_SECONDS = 40.0
"""More than the seconds after which a user is offline: then as many go offline as online."""

MOST_SHARE = 0.02
"""The budget: of one core."""


def main() -> None:
    options = parse()
    allow_most_open_files()
    start = on_engines if options.engines else embedded
    with TemporaryDirectory() as directory, start(Path(directory), 12) as platform:
        trio.run(measure_all, platform, options.watched, options.seconds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", action="store_true", help="on Kafka, Cassandra and Redis")
    parser.add_argument("--watched", type=int, nargs="+", default=[40, 200], help="users whom each session watches")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement (%(default)s)")
    return parser.parse_args()


async def measure_all(platform: Platform, sizes: Sequence[int], seconds: float) -> None:
    """Print the share of a core with watch lists of each size, above the share without."""
    plan = platform.plan
    users = await make_users(platform.open_accounts, WATCHERS + CHANGING, plan.password)
    users = await Bff(plan.url, None, plan.password).locate(users, together=plan.is_embedded)
    watchers, changing = users[:WATCHERS], users[WATCHERS:]
    async with open_background() as background:
        for number, user in enumerate(changing):
            background.start_soon(come_and_go, user, number * CYCLE_SECONDS / CHANGING)
        for size in sizes:
            base, _ = await measure(platform, watchers, changing, 0, seconds)
            print(f"nobody watches: {base:.1%} of a core", flush=True)
            share, received = await measure(platform, watchers, changing, size, seconds)
            verdict = "kept" if share - base <= MOST_SHARE else f"EXCEEDED, at most {MOST_SHARE:.0%}"
            more = f"{share - base:.1%} of a core more, {received:,.0f} presences a minute"
            print(f"each watches {size:3}: {more}: {verdict}", flush=True)


async def measure(
    platform: Platform, watchers: Sequence[LoadUser], changing: Sequence[LoadUser], size: int, seconds: float
) -> tuple[float, float]:
    """Return the share of a core while each watcher watches `size` users, and the presences received a minute."""
    received = Counter[str]()
    lists = [random.Random(number).sample(changing, size) for number in range(len(watchers))]
    async with open_background() as sessions:

        async def open_session(number: int) -> None:
            await sessions.start(watch, watchers[number], lists[number], received)

        await for_each(open_session, range(len(watchers)))
        await trio.sleep(WARM_UP_SECONDS)
        received.clear()
        before = cpu_of(platform)
        await trio.sleep(seconds)
        return (cpu_of(platform) - before) / seconds, received["presence"] / seconds * 60


def cpu_of(platform: Platform) -> float:
    """Return the seconds of CPU of the servers so far."""
    return sum(map(cpu_seconds, platform.plan.server_pids))


async def come_and_go(user: LoadUser, delay: float) -> None:
    """Be online for ONLINE_SECONDS, and again every CYCLE_SECONDS."""
    await trio.sleep(delay)
    while True:
        again = trio.current_time() + CYCLE_SECONDS
        async with connect_websocket(user.gateway.websocket) as stream:
            await authenticate(stream, user)
            await trio.sleep(ONLINE_SECONDS)
        await trio.sleep_until(again)


async def watch(
    user: LoadUser,
    watched: Sequence[LoadUser],
    received: Counter[str],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Watch these users, and count the events that arrive, by kind."""
    async with connect_websocket(user.gateway.websocket) as stream:
        await authenticate(stream, user)
        await stream.send(ClientFrame(watch=Watch(user_ids=[each.user_id for each in watched])))
        task_status.started()
        while (frame := await stream.receive()) is not None:
            if kind := frame.event.WhichOneof("event"):
                received[kind] += 1


async def authenticate(stream: SessionStream, user: LoadUser) -> None:
    """Begin a session."""
    await stream.send(ClientFrame(authenticate=Authenticate(access_token=user.token, client_name="presence")))
    frame = await stream.receive()
    assert frame is not None, "the server has ended the session"
    assert frame.HasField("welcome"), frame


if __name__ == "__main__":
    with exit_if_missing():
        main()
