"""Two who write to each other through all that happens to a cluster, and miss nothing."""

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
from tools.launch.cluster import PARTITIONS, Cluster
from tools.launch.people import PASSWORD, PATIENCE, Person, open_http, read_history, sign_in, sign_up
from tools.launch.process import Process

TRANSPORTS: tuple[Transport, ...] = ("websocket", "grpc")

MESSAGES = 20
"""On each side of a fault."""


async def gateway_of(bff: Process, person: Person) -> dict[str, str]:
    """Where the user's sessions go, as this BFF has it; nothing if it has not heard of anybody."""
    async with open_http(bff.url) as http:
        answer = await http.get("/v1/me/gateway", headers=person.headers)
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return {}
    location: dict[str, str] = answer.raise_for_status().json()
    return location


async def sign_up_at(cluster: Cluster, gateway: Process) -> Person:
    """Someone whose sessions go to this gateway, as every BFF has heard by then."""
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
    """Two clients that write to each other without a pause. A send that fails ends the test."""

    def __init__(self, *clients: Client) -> None:
        self.clients = clients
        self.sent: dict[int, list[tuple[int, str]]] = {client.me.user_id: [] for client in clients}
        """The ids and texts of each sender's messages, in order of sending."""
        self.heard: dict[int, list[tuple[int, str]]] = {client.me.user_id: [] for client in clients}
        """Those of what each heard from the other, in order of hearing."""
        self.gaps: list[pb.Gap] = []
        """There is none: what a move takes is far less than a tail holds."""
        self._stopped = False

    async def run_past(self, fault: Callable[[], object]) -> float:
        """Talk, let the fault happen in a thread, and talk on; the seconds until both had a message accepted again."""
        async with trio.open_nursery() as listeners:
            for client in self.clients:
                listeners.start_soon(self._listen, client)
            async with trio.open_nursery() as senders:
                for client, other in permutations(self.clients):
                    senders.start_soon(self._send, client, other.me.user_id)
                await self._see_sent(MESSAGES)
                began = trio.current_time()
                await trio.to_thread.run_sync(fault)
                await self._see_sent(1)
                seconds = trio.current_time() - began
                await self._see_sent(MESSAGES)
                self._stopped = True
            await self._see_heard()
            listeners.cancel_scope.cancel()
        return seconds

    async def _send(self, client: Client, to: int) -> None:
        sent = self.sent[client.me.user_id]
        while not self._stopped:
            text = f"number {len(sent)}"
            accepted = await client.send(to, text)
            sent.append((accepted.message_id, text))

    async def _listen(self, client: Client) -> None:
        me = client.me.user_id
        async for event in client.events():
            if isinstance(event, pb.Message) and event.sender_id != me:
                self.heard[me].append((event.message_id, event.text.body))
            elif isinstance(event, pb.Gap):
                self.gaps.append(event)

    async def _see_sent(self, more: int) -> None:
        """Wait until so many more of each were accepted."""
        enough = {user: len(sent) + more for user, sent in self.sent.items()}
        with trio.fail_after(2 * PATIENCE):
            while any(len(self.sent[user]) < number for user, number in enough.items()):
                await trio.sleep(0.01)

    async def _see_heard(self) -> None:
        """Wait until each heard all that the other sent, once and in order."""
        for first, second in permutations(self.sent):
            with trio.move_on_after(PATIENCE):
                while not set(self.sent[first]) <= set(self.heard[second]):
                    await trio.sleep(0.01)
            assert (self.heard[second], self.gaps) == (self.sent[first], [])


@asynccontextmanager
async def talking(cluster: Cluster, transport: Transport) -> AsyncIterator[Talk]:
    """A user of each gateway, each at a BFF of its own. At the end, both BFFs have all that was accepted, once."""
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
