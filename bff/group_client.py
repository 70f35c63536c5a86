"""The gRPC client of GroupService, for the BFF.

Each change goes to the gateway that owns the home partition of its group.
"""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import trio

from rookery.v1.group_service_grpc import GroupServiceStub
from rookery.v1.group_service_pb2 import ChangeGroupRequest, ChangeGroupResponse
from shared.background import open_background
from shared.contract.addresses import GrpcAddress
from shared.contract.chats import home_partition
from shared.contract.errors import Code, Refusal
from shared.coordination.ownership import Directory
from shared.rpc import RpcError, call_unary, open_channel
from shared.rpc.client.prepare import propagate_trace
from shared.rpc.refusals import refusal_of_call

WAIT_SECONDS = 5.0
"""How long a change waits for a gateway that can make it: a partition that moves has its next owner after a second or
two."""

RETRY_SECONDS = 0.5
"""Pause before the gateway that answered `unavailable` gets the change again. Another owner gets it at once."""

CALL_SECONDS = 4.0
"""Deadline of a call. With WAIT_SECONDS, which it may follow, it is within the deadline of an HTTP request."""

MAX_WAITING = 500
"""Changes that wait at once, a quarter of a BFF's connections; the next ones are refused at once."""

UNAVAILABLE = "Groups can't be changed now: try again soon."

ContextFor = Callable[[str], ssl.SSLContext | None]
"""Returns the TLS context for the gateway at an internal address of the directory; None for plain text."""


class GroupClient:
    """GroupService of all gateways of the directory. Made by `open_group_client`."""

    def __init__(self, nursery: trio.Nursery, directory: Directory, partitions: int, context_for: ContextFor) -> None:
        self._nursery = nursery
        self._directory = directory
        self._partitions = partitions
        self._context_for = context_for
        self._stubs: dict[str, GroupServiceStub] = {}
        self._opening = trio.Lock()
        self._waiting = 0

    async def change(self, request: ChangeGroupRequest, access_token: str) -> ChangeGroupResponse | Refusal:
        """Make a change as the user of the token. Raises ValueError if `chat_id` is not the id of a group.

        Returns the gateway's refusal, or `unavailable`, `timed_out` or `internal` without any detail of the fault. An
        `unavailable` gateway gets the change again, or its successor does, within WAIT_SECONDS: a repeated change has
        no second effect.
        """
        partition = home_partition(request.chat_id, self._partitions)
        give_up_at = trio.current_time() + WAIT_SECONDS
        answer: ChangeGroupResponse | Refusal = Refusal(Code.UNAVAILABLE, UNAVAILABLE)
        while True:
            if address := self._owner(partition):
                answer = await self._call(address, request, access_token)
                if not isinstance(answer, Refusal) or answer.code is not Code.UNAVAILABLE:
                    return answer
            if not await self._wait(partition, address, give_up_at):
                return answer

    def _owner(self, partition: int) -> str:
        """The internal address of the partition's owner; empty if it has none that can be called."""
        owner = self._directory.owner(partition)
        return "" if owner is None else owner.internal

    async def _wait(self, partition: int, address: str, give_up_at: float) -> bool:
        """Wait until the partition has another owner than the one at this address; if that is one, RETRY_SECONDS at
        most. Returns False if it is time to give up, or too many changes wait."""
        if self._waiting >= MAX_WAITING:
            return False
        self._waiting += 1
        try:
            retry_at = trio.current_time() + RETRY_SECONDS if address else give_up_at
            with trio.move_on_at(min(retry_at, give_up_at)):
                while self._owner(partition) in ("", address):
                    await self._directory.changed()
        finally:
            self._waiting -= 1
        return trio.current_time() < give_up_at

    async def _call(
        self, address: str, request: ChangeGroupRequest, access_token: str
    ) -> ChangeGroupResponse | Refusal:
        async with self._opening:
            if address in self._stubs:
                stub = self._stubs[address]
            else:
                stub = cast(GroupServiceStub, await self._nursery.start(self._keep_channel, address))
        metadata = [("authorization", f"Bearer {access_token}")]
        try:
            return await call_unary(stub.ChangeGroup, request, timeout=CALL_SECONDS, metadata=metadata)
        except RpcError as error:
            return refusal_of_call(error, UNAVAILABLE)

    async def _keep_channel(self, address: str, *, task_status: trio.TaskStatus[GroupServiceStub]) -> None:
        """Keep a channel to the gateway at this address until no partition is its own any more."""
        parsed = GrpcAddress.parse(address)
        tls = self._context_for(address)
        async with open_channel(parsed.host, parsed.port, tls=tls, prepare=[propagate_trace]) as channel:
            stub = self._stubs[address] = GroupServiceStub(channel)
            try:
                task_status.started(stub)
                while any(self._owner(partition) == address for partition in range(self._partitions)):
                    await self._directory.changed()
            finally:  # also if the first caller was cancelled before: the channel ends with it then
                del self._stubs[address]
            await trio.sleep(CALL_SECONDS)  # until the last call has ended


@asynccontextmanager
async def open_group_client(
    directory: Directory, partitions: int, context_for: ContextFor
) -> AsyncIterator[GroupClient]:
    """Open the client. It has one channel to each gateway that it has called and that owns a partition."""
    async with open_background() as nursery:
        yield GroupClient(nursery, directory, partitions, context_for)
