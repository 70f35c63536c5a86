"""Two users that chat during a change, and the outcome of each message."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count, pairwise, permutations
from pathlib import Path

import trio

from rookery.client import Client, open_api, open_client
from rookery.v1 import session_pb2 as pb
from tools.launch.people import PASSWORD
from tools.operations.node.waiting import PATIENCE, POLL_SECONDS

BREATH = 0.05
"""Seconds between an answer and the next message, so that the chat uses little of the machine."""

MESSAGES = 20
"""Messages of each user before and after the change."""


@dataclass(frozen=True, slots=True)
class ChatStatistics:
    """Numbers of a chat during a change."""

    seconds: float
    """Duration of the change."""
    messages: int
    requests: int
    both: float
    """Longest time without an accepted message."""
    one: float
    """Longest time without an accepted message of one user."""

    def __str__(self) -> str:
        pauses = f"the longest pause of one person {self.one:.1f} s, of both {self.both:.1f} s"
        requests = f"{self.requests} requests answered"
        return (
            f"({self.seconds:.1f} s): {self.messages} messages, each received once and in order; {requests}; {pauses}"
        )


class Chat:
    """A refused or failed message or request is an error."""

    def __init__(self, *clients: Client) -> None:
        self.clients = clients
        self.sent: dict[int, list[int]] = {client.me.user_id: [] for client in clients}
        """Ids of sent messages by sender, in order."""
        self._received: dict[int, list[int]] = {client.me.user_id: [] for client in clients}
        """Ids of received messages by receiver, in order."""
        self._gaps: list[pb.Gap] = []
        self._accepted: list[tuple[float, int]] = []
        """Times and senders of accepted messages."""
        self._requests = 0
        self._stopped = False

    async def during(self, change: Callable[[], object]) -> ChatStatistics:
        """Chat while a change runs in a thread; then check that each accepted message was received once, in order."""
        self._stopped = False
        began, requests = len(self._accepted), self._requests
        async with trio.open_nursery() as senders:
            for client, other in permutations(self.clients):
                senders.start_soon(self._send, client, other.me.user_id)
                senders.start_soon(self._request_chats, client)
            await self._wait_until_sent(MESSAGES)
            changed = trio.current_time()
            await trio.to_thread.run_sync(change)
            seconds = trio.current_time() - changed
            await self._wait_until_sent(MESSAGES)
            self._stopped = True
        await self._check_received()
        accepted = self._accepted[began:]
        each = [longest(time for time, sender in accepted if sender == user) for user in self.sent]
        both = longest(time for time, _ in accepted)
        return ChatStatistics(seconds, len(accepted), self._requests - requests, both, max(each))

    async def listen(self, client: Client) -> None:
        me = client.me.user_id
        async for event in client.events():
            if isinstance(event, pb.Message) and event.sender_id != me:
                self._received[me].append(event.message_id)
            elif isinstance(event, pb.Gap):
                self._gaps.append(event)

    async def _send(self, client: Client, to: int) -> None:
        me = client.me.user_id
        while not self._stopped:
            accepted = await client.send(to, f"number {len(self.sent[me])}")
            self.sent[me].append(accepted.event_id)
            self._accepted.append((trio.current_time(), me))
            await trio.sleep(BREATH)

    async def _request_chats(self, client: Client) -> None:
        """Read the chat list, from any BFF of the Service."""
        while not self._stopped:
            await client.api.chats(limit=1)
            self._requests += 1
            await trio.sleep(BREATH)

    async def _wait_until_sent(self, more: int) -> None:
        """Wait until this many more messages of each user are accepted."""
        enough = {user: len(sent) + more for user, sent in self.sent.items()}
        with trio.fail_after(PATIENCE):
            while any(len(self.sent[user]) < number for user, number in enough.items()):
                await trio.sleep(POLL_SECONDS)

    async def _check_received(self) -> None:
        for first, second in permutations(self.sent):
            with trio.move_on_after(PATIENCE):
                while not set(self.sent[first]) <= set(self._received[second]):
                    await trio.sleep(POLL_SECONDS)
            assert (self._received[second], self._gaps) == (self.sent[first], [])


@asynccontextmanager
async def open_chat(url: str, ca_file: Path) -> AsyncIterator[Chat]:
    """Two users with sessions on different gateways: one over gRPC, one over WebSocket."""
    first, second = await sign_up_apart(url, ca_file)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_client(url, first, PASSWORD, ca_file=ca_file)),
            await stack.enter_async_context(open_client(url, second, PASSWORD, ca_file=ca_file, transport="websocket")),
        ]
        chat = Chat(*clients)
        async with trio.open_nursery() as listeners:
            for client in clients:
                listeners.start_soon(chat.listen, client)
            yield chat
            listeners.cancel_scope.cancel()


async def sign_up_apart(url: str, ca_file: Path) -> list[str]:
    """Register two users of different gateways; return their names."""
    names: dict[str, str] = {}
    for number in count():
        name = f"person-{number}"
        async with open_api(url, name, PASSWORD, ca_file=ca_file) as api:
            await api.register()
            await api.sign_in()
            names.setdefault((await api.gateway()).grpc, name)
        if len(names) == 2:
            break
    return [*names.values()]


def longest(times: Iterable[float]) -> float:
    """Longest time between two neighbours."""
    return max(later - earlier for earlier, later in pairwise(times))
