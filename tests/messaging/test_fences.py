"""Fences: the records of former owners that come late are dropped, and no record of an owner is."""

import struct
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from messaging.archive.recorder import Recorder
from messaging.fences import Fences
from rookery.v1.backplane_pb2 import Fence
from shared.background import open_background
from shared.backplane.kafka import client as kafka_client
from shared.backplane.kafka import consumer as kafka_consumer
from shared.backplane.kafka import member as kafka_member
from tests.messaging.archive.conftest import FakeChats, record_until
from tests.messaging.gateway.harness import ANN, BEN, open_platform
from tests.shared.backplane.conftest import kafka_settings
from tests.shared.backplane.kafka.conftest import instance, opened
from tests.waiting import PATIENCE, until
from tools.engines.kafka import Kafka


def test_records_of_an_earlier_epoch_count_up_to_the_next_owner_s_fence() -> None:
    fences = Fences(0)
    assert fences.read(0, Fence(read_up_to=0))
    assert (fences.epoch, fences.admits(1)) == (1, True)
    assert fences.read(7, Fence(read_up_to=7))
    assert [fences.admits(epoch) for epoch in (1, 8, 0)] == [False, True, True], "0: a release without epochs"


def test_a_fence_that_comes_late_changes_nothing() -> None:
    """Its gateway had not read the fence of the next owner, which serves the partition already."""
    fences = Fences(0)
    assert fences.read(7, Fence(read_up_to=7))
    assert not fences.read(9, Fence(read_up_to=7))
    assert (fences.epoch, fences.admits(8)) == (8, True)
    assert fences.read(11, Fence(read_up_to=8)), "a late one that does not count is no obstacle"


@pytest.mark.parametrize("epoch", [0, 101])
def test_a_consumer_that_does_not_know_the_epoch_learns_it_and_drops_nothing_of_the_owner_s(epoch: int) -> None:
    """A fence that was published before the consumer's first record may be a late one. 101: of another log."""
    fences = Fences(100, epoch)
    assert not fences.read(100, Fence(read_up_to=99))
    assert fences.admits(50), "the owner's"
    assert not fences.admits(40), "a former owner's"
    assert fences.read(110, Fence(read_up_to=105))
    assert not fences.admits(50)


def test_a_consumer_that_knows_the_epoch_takes_a_fence_from_before_its_first_record() -> None:
    fences = Fences(100, 50)
    assert not fences.admits(40)
    assert fences.read(100, Fence(read_up_to=99))


class Delay:
    """A TCP proxy before a broker. From `begin` to `end` it holds back connections with a Produce request, as a slow
    network does."""

    def __init__(self, broker: Kafka) -> None:
        self._address = broker.host, broker.port
        self.begin, self.held, self.end = trio.Event(), trio.Event(), trio.Event()

    async def serve(self, client: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async with await trio.open_tcp_stream(*self._address) as broker, open_background() as nursery:
                nursery.start_soon(self._return, broker, client)
                data = bytearray()
                async for received in client:
                    data += received
                    while len(data) >= 6 and len(data) >= 4 + (size := struct.unpack(">i", data[:4])[0]):
                        if self.begin.is_set() and data[4:6] == b"\0\0":  # the key of Produce
                            self.held.set()
                            await self.end.wait()
                        await broker.send_all(data[: 4 + size])
                        del data[: 4 + size]
                await trio.sleep_forever()

    async def _return(self, broker: trio.SocketStream, client: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # the client no longer waits for its response
            async for received in broker:
                await client.send_all(received)


async def test_what_kafka_receives_late_from_a_former_owner_is_nowhere(
    tmp_path: Path, kafka_server: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of the former owner stays in the network while its partitions move; its sender goes on."""
    monkeypatch.setattr(kafka_member, "LEAVE_TIMEOUT_MS", PATIENCE * 1000)
    monkeypatch.setattr(kafka_consumer, "CLOSE_TIMEOUT", PATIENCE)
    settings, delay = kafka_settings(kafka_server), Delay(kafka_server)
    chats: Any = FakeChats()
    async with open_background() as nursery, opened(settings) as there, open_platform(tmp_path) as platform:
        (listener,) = await nursery.start(partial(trio.serve_tcp, delay.serve, 0, host="127.0.0.1"))
        connect, address = kafka_client._Socket.sock_connect, listener.socket.getsockname()

        async def connect_by_proxy(self: Any, net: Any, sock: Any, peer: Any, **options: Any) -> Any:
            return await connect(self, net, sock, peer if net is there._loop.net else address, **options)

        monkeypatch.setattr(kafka_client._Socket, "sock_connect", connect_by_proxy)
        async with opened(instance(settings, "former")) as backplane, backplane._loop.open_client() as leaving:
            await backplane._loop.connect(leaving, [settings.topic])
            platform.backplane = backplane
            former = await platform.start_gateway()
            async with platform.sign_in(former, ANN) as ann:
                first = await ann.send_accepted("before", BEN)
                delay.begin.set()
                await ann.send_text("late", BEN)
                with trio.fail_after(PATIENCE):
                    await delay.held.wait()
                monkeypatch.setattr(backplane, "_client", leaving)  # the connection of the other one is held back
                await former.log_consumer.leave()
            platform.backplane = there
            gateway = await platform.start_gateway()
            async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
                second = await ann.send_accepted("younger", BEN)
                tail = gateway.partitions.tails[gateway.partitions.partition_of(ANN)]
                offset = tail.next_offset
                delay.end.set()
                await until(lambda: tail.next_offset > offset)
                third = await ann.send_accepted("late", BEN)
                ids = [(await ben.expect("event")).event.event_id for _ in range(3)]
            await record_until(Recorder(there, chats), events=3)
    assert ids == list(chats.events) == [answer.event_id for answer in (first, second, third)]
    assert ids == sorted(ids), "the messages of one sender are in their order"
