"""Two users who chat during a fault of a cluster, and receive every message."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import permutations

import httpx
import trio

from rookery.client import Client, open_client
from rookery.client.failover import Failover
from rookery.client.reconnector import Transport
from rookery.v1 import session_pb2 as pb
from shared.contract.chats import direct_chat_id
from shared.contract.partitions import partition_of
from tests.waiting import until
from tools.launch.cluster import PARTITIONS, Cluster
from tools.launch.people import PASSWORD, PATIENCE, Person, open_http, read_history, sign_in, sign_up
from tools.launch.process import Process

TRANSPORTS: tuple[Transport, ...] = ("websocket", "grpc")

MESSAGES = 20
"""Messages of each user before and after a fault."""


async def gateway_of(bff: Process, person: Person) -> dict[str, str]:
    """Addresses of the user's gateway by this BFF; empty if it has none yet."""
    async with open_http(bff.url) as http:
        answer = await http.get("/v1/me/gateway", headers=person.headers)
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return {}
    location: dict[str, str] = answer.raise_for_status().json()
    return location


async def sign_up_at(cluster: Cluster, gateway: Process) -> Person:
    """Register a user of this gateway; return when every BFF has its address."""
    owners = await trio.to_thread.run_sync(cluster.wait_until_owned)
    with trio.fail_after(PATIENCE):
        person = await sign_up(cluster.bffs[0].url)
        while owners[partition_of(person.user_id, PARTITIONS)] != gateway.grpc:
            person = await sign_up(cluster.bffs[0].url)
        for bff in cluster.running("bff"):
            while (await gateway_of(bff, person)).get("grpc") != gateway.grpc:
                await trio.sleep(0.05)
    return person


class Talk:
    """Two clients that send to each other without a pause. A failed send fails the test."""

    def __init__(self, *clients: Client) -> None:
        self.clients = clients
        self.sent: dict[int, list[tuple[int, str]]] = {client.me.user_id: [] for client in clients}
        """Ids and texts of sent messages by sender, in order."""
        self.received: dict[int, list[tuple[int, str]]] = {client.me.user_id: [] for client in clients}
        """Ids and texts of received messages by receiver, in order."""
        self.gaps: list[pb.Gap] = []
        """Must stay empty: a tail holds more events than the users send during a move."""
        self._stopped = False

    async def run_past(self, fault: Callable[[], object]) -> float:
        """Chat during the fault, which runs in a thread; return the seconds until both had a message accepted again."""
        async with trio.open_nursery() as listeners:
            for client in self.clients:
                listeners.start_soon(self._listen, client)
            async with trio.open_nursery() as senders:
                for client, other in permutations(self.clients):
                    senders.start_soon(self._send, client, other.me.user_id)
                await self._wait_for_sent(MESSAGES)
                began = trio.current_time()
                await trio.to_thread.run_sync(fault)
                await self._wait_for_sent(1)
                seconds = trio.current_time() - began
                await self._wait_for_sent(MESSAGES)
                self._stopped = True
            await self._wait_for_received()
            listeners.cancel_scope.cancel()
        return seconds

    async def _send(self, client: Client, to: int) -> None:
        sent = self.sent[client.me.user_id]
        while not self._stopped:
            text = f"number {len(sent)}"
            accepted = await client.send(to, text)
            sent.append((accepted.event_id, text))

    async def _listen(self, client: Client) -> None:
        me = client.me.user_id
        async for event in client.events():
            if isinstance(event, pb.Message) and event.sender_id != me:
                self.received[me].append((event.message_id, event.text.body))
            elif isinstance(event, pb.Gap):
                self.gaps.append(event)

    async def _wait_for_sent(self, more: int) -> None:
        """Wait until this many more messages of each are accepted."""
        enough = {user: len(sent) + more for user, sent in self.sent.items()}
        await until(lambda: all(len(self.sent[user]) >= number for user, number in enough.items()))

    async def _wait_for_received(self) -> None:
        """Wait until each has received the other's messages, once and in order."""
        for first, second in permutations(self.sent):
            with trio.move_on_after(PATIENCE):
                while not set(self.sent[first]) <= set(self.received[second]):
                    await trio.sleep(0.01)
            assert (self.received[second], self.gaps) == (self.sent[first], [])


@asynccontextmanager
async def talking(cluster: Cluster, transport: Transport) -> AsyncIterator[Talk]:
    """Open clients of two users of different gateways and BFFs; at the end, both BFFs have each message once."""
    async with AsyncExitStack() as stack:
        clients = []
        for number, gateway in enumerate(cluster.gateways):
            person = await sign_up_at(cluster, gateway)
            urls = Failover([bff.url for bff in cluster.bffs], first=number)
            opening = open_client(cluster.bffs[0].url, person.name, PASSWORD, transport=transport, http_transport=urls)
            clients.append(await stack.enter_async_context(opening))
        talk = Talk(*clients)
        yield talk
    chat_id = direct_chat_id(*talk.sent)
    expected = sum(map(len, talk.sent.values()))
    for bff in cluster.running("bff"):
        reader = await sign_in(bff.url, clients[0].me.name)
        history = await read_history(bff.url, reader, chat_id, until=lambda messages: len(messages) >= expected)
        for user, sent in talk.sent.items():
            messages = [item.message for item in history if item.message.sender_id == user]
            assert [(message.message_id, message.text.body) for message in messages] == sent
