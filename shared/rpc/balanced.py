"""Calls to several servers of one kind: each call goes to the next in turn, and passes over those that are away."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import trio

from shared.rpc.client import AnyClientStream, Channel, open_channel
from shared.rpc.limits import DEFAULT_LIMITS, Limits
from shared.rpc.protocol import OutgoingCall
from shared.rpc.status import RpcError, Status


class Balancer:
    """Stands for a Channel, to make stubs of. Made by `open_balancer`."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = channels
        self._next = 0

    @property
    def authority(self) -> str:
        """Of the server whose turn it is."""
        return self._channels[self._next].authority

    async def start_call(self, call: OutgoingCall) -> AnyClientStream:
        """Begin a call with the first server, from the next in turn on, that has a connection or can be connected to.

        Raises RpcError with UNAVAILABLE if none can.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        first, self._next = self._next, (self._next + 1) % len(self._channels)
        for channel in [*self._channels[first:], *self._channels[:first]]:
            try:
                return await channel.start_call(replace(call, authority=channel.authority))
            except RpcError as error:
                if error.status is not Status.UNAVAILABLE:
                    raise
        raise RpcError(Status.UNAVAILABLE, f"no connection to any of {len(self._channels)} servers")


@asynccontextmanager
async def open_balancer(addresses: Sequence[str], *, limits: Limits = DEFAULT_LIMITS) -> AsyncIterator[Balancer]:
    """A balancer over these servers (`host:port`; at least one), each with a channel of its own: see `open_channel`."""
    async with AsyncExitStack() as stack:
        channels = []
        for address in addresses:
            host, _, port = address.rpartition(":")
            channels.append(await stack.enter_async_context(open_channel(host.strip("[]"), int(port), limits=limits)))
        yield Balancer(channels)
