"""Typing signals: 200 a second between 200 users in pairs, and the log records and writes that they cause:

    python -m benchmarks.typing_signals [--engines] [--seconds 30]

The budget is 0 of each. The signals that the other users receive are counted, too, and the CPU of the servers.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from benchmarks.channels import Platform, embedded, on_engines
from benchmarks.presence import authenticate, cpu_of
from rookery.client.websocket import connect_websocket
from rookery.load.accounts import Bff
from rookery.load.counters import RECORDS, WRITES, read_counters
from rookery.load.sessions import LoadUser, for_each
from rookery.load.stored_accounts import make_users
from rookery.v1.session_pb2 import ClientFrame, Typing
from shared.background import open_background
from shared.contract.chats import direct_chat_id
from tools.engines.install import exit_if_missing

USERS = 200
"""In pairs; each signals once a second."""

SETTLE_SECONDS = 2.0
"""From the last sign-in to the measurement: by then the store has the writes of the sign-ins."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", action="store_true", help="on Kafka, Cassandra and Redis")
    parser.add_argument("--seconds", type=float, default=30.0, help="of the measurement (%(default)s)")
    options = parser.parse_args()
    start = on_engines if options.engines else embedded
    with TemporaryDirectory() as directory, start(Path(directory), 12) as platform:
        trio.run(measure, platform, options.seconds)


async def measure(platform: Platform, seconds: float) -> None:
    """Print the signals received, and the records, the writes and the share of a core meanwhile."""
    plan = platform.plan
    users = await make_users(platform.open_accounts, USERS, plan.password)
    users = await Bff(plan.url, None, plan.password).locate(users, together=plan.is_embedded)
    received = Counter[str]()
    async with open_background() as sessions:

        async def open_session(number: int) -> None:
            await sessions.start(signal, users, number, received)

        await for_each(open_session, range(USERS))
        await trio.sleep(SETTLE_SECONDS)
        received.clear()
        before, cpu = await read_counters(plan.metrics, None), cpu_of(platform)
        await trio.sleep(seconds)
        share, counted = (cpu_of(platform) - cpu) / seconds, received["typing"] / seconds
        after = await read_counters(plan.metrics, None)
    records, writes = after[RECORDS] - before[RECORDS], after[WRITES] - before[WRITES]
    verdict = "kept" if records == writes == 0 else "EXCEEDED, at most 0 of each"
    print(f"{counted:.0f} signals a second, {share:.1%} of a core", flush=True)
    print(f"{records:.0f} log records, {writes:.0f} writes of the chat store: {verdict}", flush=True)


async def signal(
    users: Sequence[LoadUser],
    number: int,
    received: Counter[str],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Signal every second to the other user of the pair, and count the events that arrive, by kind."""
    user, other = users[number], users[number ^ 1]
    frame = ClientFrame(typing=Typing(chat_id=direct_chat_id(user.user_id, other.user_id)))
    async with connect_websocket(user.gateway.websocket) as stream, trio.open_nursery() as nursery:
        await authenticate(stream, user)

        async def receive() -> None:
            while (frame := await stream.receive()) is not None:
                if kind := frame.event.WhichOneof("event"):
                    received[kind] += 1

        nursery.start_soon(receive)
        task_status.started()
        while True:
            await stream.send(frame)
            await trio.sleep(1)


if __name__ == "__main__":
    with exit_if_missing():
        main()
