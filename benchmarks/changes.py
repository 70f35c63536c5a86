"""The changes of messages: their CPU beside a message's, a page of history with 200 of them, and catching up 1,000:

    python -m benchmarks.changes [--turns 5] [--engines]

CPU is that of the servers, all threads, until the changes are recorded; the engines' CPU is separate. The clients are
Python clients in this process, on the same machine. Catching up needs Chromium: the page holds 50 chats when it gets a
Gap, and is whole when it has applied the last response.
"""

import argparse
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import trio
from playwright.sync_api import Browser, WebSocketRoute, sync_playwright

from benchmarks.messages import a_process_each, new, pids
from rookery.client import Client, open_client
from rookery.load.process import cpu_seconds
from shared.background import open_background
from shared.contract.chats import direct_chat_id
from shared.contract.ids import time_of
from tools.engines.install import exit_if_missing
from tools.launch.cluster import running_engines
from tools.launch.people import PASSWORD, PATIENCE
from tools.launch.process import Rookery, running

PAIRS = 20
EACH = 250
"""Messages of each user in one turn."""
IN_FLIGHT = 10
"""Unanswered messages or changes of each user."""

RECORDING_SECONDS = 2.0
"""Seconds after the last answer until the archive has recorded everything."""

MESSAGES, PAGES = 50, 500
"""Messages of the page of history, and requests for it."""

CHATS, MISSED = 50, 20
"""Chats that the page holds, and changes that it has missed of each."""

CAUGHT_UP_MS = 30_000
"""Milliseconds after which the page has read all that a new session may have missed: history lags behind on engines."""

QUIET_MS = 2_000
"""Milliseconds without a response after which the page has caught up; it would read again after 5 s."""

EMOJI = ("👍", "🎉", "❤️")


@dataclass(frozen=True, slots=True)
class Servers:
    """A running platform."""

    url: str
    own: Sequence[int]
    """The processes of gateway and archive."""
    engines: Sequence[int] = ()
    """The processes of Kafka and Cassandra."""

    def cpu(self) -> tuple[float, float]:
        """Return the seconds of CPU so far: ours, and the engines'."""
        return sum(map(cpu_seconds, self.own)), sum(map(cpu_seconds, self.engines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--engines", action="store_true", help="on Kafka, Cassandra and Redis")
    options = parser.parse_args()
    with TemporaryDirectory() as directory, platform(Path(directory), on_engines=options.engines) as servers:
        trio.run(measure_cpu, servers, options.turns)
        trio.run(measure_page, servers.url)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
            )
            measure_catching_up(browser, servers.url)
            browser.close()


@contextmanager
def platform(folder: Path, *, on_engines: bool) -> Iterator[Servers]:
    """Start the platform: one process, or one of each role on engines."""
    if not on_engines:
        with running(Rookery(folder / "data")) as rookery:
            yield Servers(rookery.url, pids(rookery))
        return
    with (
        running_engines(folder / "engines") as engines,
        a_process_each(new(folder / "platform"), engines) as (url, own),
    ):
        yield Servers(url, own, (engines.kafka.pid, engines.cassandra.pid))


@asynccontextmanager
async def signed_in(url: str, names: Sequence[str]) -> AsyncIterator[list[Client]]:
    """Sessions of new users, whose events are received and dropped."""
    async with open_background() as background, AsyncExitStack() as stack:
        clients = []
        for name in names:
            clients.append(await stack.enter_async_context(open_client(url, name, PASSWORD, register=True)))
            background.start_soon(drop_events, clients[-1])
        yield clients


async def drop_events(client: Client) -> None:
    async for _ in client.events():
        pass


async def measure_cpu(servers: Servers, turns: int) -> None:
    """Print the CPU of messages and of changes in the median of the turns, and the ratios."""
    names = [f"user-{number:02}" for number in range(2 * PAIRS)]
    async with signed_in(servers.url, names) as clients:
        writers = [Writer(client, clients[number ^ 1]) for number, client in enumerate(clients)]
        await in_turn(writers, Writer.send)  # the first ones are slower: connections, caches, JIT compilers
        steps = (
            ("message", Writer.send),
            ("deletion", Writer.delete),
            ("message", Writer.send),
            ("edit", Writer.edit),
            ("reaction", Writer.react),
            ("deletion of an edited message with a reaction", Writer.delete),
        )
        costs: dict[str, list[tuple[float, float]]] = {name: [] for name, _ in steps}
        for _ in range(turns):
            for name, work in steps:
                before = servers.cpu()
                await in_turn(writers, work)
                await trio.sleep(RECORDING_SECONDS)
                ours, engines = (
                    (after - start) * 1e6 / (len(writers) * EACH)
                    for start, after in zip(before, servers.cpu(), strict=True)
                )
                costs[name].append((ours, engines))
    medians = {name: [statistics.median(each) for each in zip(*costs[name], strict=True)] for name in costs}
    for name, (ours, engines) in medians.items():
        print(f"{name}: {ours:.0f} µs, {ours / medians['message'][0]:.2f} of a message; engines {engines:.0f} µs")


class Writer:
    """A user who writes to another, and changes the messages of the last `send`."""

    def __init__(self, client: Client, other: Client) -> None:
        self._client = client
        self._peer_id = other.me.user_id
        self._chat_id = direct_chat_id(client.me.user_id, other.me.user_id)
        self._sent: list[int] = []

    async def send(self) -> None:
        self._sent = []

        async def send_one(number: int) -> None:
            accepted = await self._client.send(self._peer_id, f"Meeting at noon in the large hall, {number}")
            self._sent.append(accepted.event_id)

        await self._repeat(send_one, range(EACH))

    async def edit(self) -> None:
        await self._repeat(
            lambda each: self._client.edit(self._chat_id, each, "Meeting at one in the hall"), self._sent
        )

    async def react(self) -> None:
        await self._repeat(lambda each: self._client.react(self._chat_id, each, EMOJI[0]), self._sent)

    async def delete(self) -> None:
        await self._repeat(lambda each: self._client.delete(self._chat_id, each), self._sent)

    async def _repeat(self, work: Callable[[int], Awaitable[object]], items: Sequence[int]) -> None:
        waiting = iter(items)

        async def run() -> None:
            for item in waiting:
                await work(item)

        async with trio.open_nursery() as nursery:
            for _ in range(IN_FLIGHT):
                nursery.start_soon(run)


async def in_turn(writers: Sequence[Writer], work: Callable[[Writer], Awaitable[None]]) -> None:
    """Let all writers do the work at once."""
    async with trio.open_nursery() as nursery:
        for writer in writers:
            nursery.start_soon(work, writer)


async def measure_page(url: str) -> None:
    """Print the time of a page of 50 messages with 200 changes: an edit and three reactions of each."""
    async with signed_in(url, ("reader", "writer")) as (reader, writer):
        chat_id = direct_chat_id(reader.me.user_id, writer.me.user_id)
        for number in range(MESSAGES):
            sent = await writer.send(reader.me.user_id, f"Before, {number}")
            await writer.edit(chat_id, sent.event_id, f"After, {number}")
            for emoji in EMOJI:
                await reader.react(chat_id, sent.event_id, emoji)
        await trio.sleep(RECORDING_SECONDS)
        headers = {"Authorization": f"Bearer {reader.api.newest_token}"}
        times = []
        path = f"/v1/chats/{chat_id}/messages?limit={MESSAGES}"
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE) as http:
            messages = (await http.get(path)).json()["messages"]
            assert [len(each["changes"]) for each in messages] == [1 + len(EMOJI)] * MESSAGES, messages[0]
            for _ in range(PAGES):
                began = time.perf_counter()
                (await http.get(path)).raise_for_status()
                times.append((time.perf_counter() - began) * 1000)
    print(f"page of 50 messages with 200 changes: p50 {statistics.median(times):.1f} ms, p99 {p99(times):.1f} ms")


def p99(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=100)[-1]


def measure_catching_up(browser: Browser, url: str) -> None:
    """Print the time from a Gap to the last of 1,000 missed changes, and to their display in the open chat."""
    missed = Missed(url)
    trio.run(missed.write)
    page = browser.new_context().new_page()
    sessions: list[WebSocketRoute] = []

    def connect(client: WebSocketRoute) -> None:
        server = client.connect_to_server()
        server.on_message(lambda frame: None if "event" in json.loads(frame) else client.send(frame))
        sessions.append(client)

    page.route_web_socket("**/session", connect)
    page.goto(url)
    page.get_by_label("User name").fill("away")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("rookery-chat-row")
    for chat_id in missed.chat_ids:
        with page.expect_response(f"**/{chat_id}/messages*"):
            page.goto(f"{url}/#{chat_id}")
        page.get_by_text("Before the change").first.wait_for()
    page.wait_for_timeout(CAUGHT_UP_MS)
    with ThreadPoolExecutor() as thread:
        changing = thread.submit(trio.run, missed.change)
        while not changing.done():  # without Playwright's loop the session would end
            page.wait_for_timeout(100)
    changing.result()
    page.evaluate("performance.clearResourceTimings(); performance.setResourceTimingBufferSize(1_000)")
    began = page.evaluate("performance.now()")
    sessions[-1].send(json.dumps({"gap": {"at_ms": str(missed.at_ms)}}))
    page.get_by_text(f"After change {MISSED}").first.wait_for()
    shown = page.evaluate("performance.now()")
    while not (ends := page.evaluate(READ)) or page.evaluate("performance.now()") < max(ends) + QUIET_MS:
        page.wait_for_timeout(50)
    print(f"{CHATS * MISSED:,} changes of {CHATS} chats: the last response {max(ends) - began:.0f} ms after the Gap,")
    print(f"  the open chat shown after {shown - began:.0f} ms; {len(ends)} requests")


READ = """performance.getEntriesByType('resource').filter(({ name }) => name.includes('/changes?'))
  .map(({ responseEnd }) => responseEnd)"""
"""The ends of the page's readings of changes, in milliseconds since its start."""


class Missed:
    """The user `away` with many chats, and the changes that they miss."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.chat_ids: list[str] = []
        self.at_ms = 0
        """The time of the last change."""
        self._message_ids: list[int] = []

    async def write(self) -> None:
        """Write one message in each chat."""
        names = [f"friend-{number:02}" for number in range(CHATS)]
        async with signed_in(self._url, ("away", *names)) as (away, *friends):
            for friend in friends:
                sent = await friend.send(away.me.user_id, "Before the change")
                self.chat_ids.append(direct_chat_id(away.me.user_id, friend.me.user_id))
                self._message_ids.append(sent.event_id)
            await trio.sleep(RECORDING_SECONDS)

    async def change(self) -> None:
        """Edit each message many times."""
        async with AsyncExitStack() as stack:
            for number, (chat_id, message_id) in enumerate(zip(self.chat_ids, self._message_ids, strict=True)):
                friend = await stack.enter_async_context(open_client(self._url, f"friend-{number:02}", PASSWORD))
                for count in range(MISSED):
                    edited = await friend.edit(chat_id, message_id, f"After change {count + 1}")
                    self.at_ms = time_of(edited.event_id)
            await trio.sleep(RECORDING_SECONDS)


if __name__ == "__main__":
    with exit_if_missing():
        main()
