"""A browser's socket, plain or under TLS: sends without waiting, for the flusher, and measures the client's silence."""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import trio

RECEIVE_BYTES = 4096
"""Read from a socket at once at the most: several frames of usual size."""

LINGER_BYTES = 4 * 1024 * 1024
"""Read and discarded from a client after our last byte: some frames of the largest size that a configuration allows."""

CONNECTION_ERRORS = (trio.BrokenResourceError, trio.ClosedResourceError)
"""Raised by each method when the connection is lost."""

Result = TypeVar("Result")


class ClientStream:
    """One task reads, and any may send: all data is sent whole and in order, whichever task is cancelled."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = socket.socket(fileno=stream.socket.fileno())  # the same socket, for non-blocking calls
        self._unsent = bytearray()
        self._sending = trio.Lock()
        self._reading_since: float | None = None
        self.pings = 0
        """Pings since something was received; counted by their sender."""

    @property
    def silence(self) -> float:
        """Seconds that the pending read has waited; 0 while no task reads, since there may be something to read."""
        return 0.0 if self._reading_since is None else trio.current_time() - self._reading_since

    async def do_handshake(self) -> None:
        """Do the handshake of TLS; without TLS, nothing."""

    def send_now(self, data: bytes) -> bool:
        """Send as much as the socket accepts at once; keep the rest for `send_unsent`. Returns whether all was sent."""
        if self._unsent:
            self._unsent += data
            return False
        sent = self._write(data)
        if sent == len(data):
            return True
        self._unsent += memoryview(data)[sent:]
        return False

    async def send_unsent(self) -> None:
        """Send the bytes that `send_now` kept, for any task."""
        async with self._sending:
            while self._unsent:
                await trio.lowlevel.wait_writable(self._socket)
                del self._unsent[: self._write(self._unsent)]

    async def send(self, data: bytes) -> None:
        """Send, and wait until the socket has accepted all."""
        if not self.send_now(data):
            await self.send_unsent()

    async def receive_some(self) -> bytes:
        """The next received bytes; empty at the end of the client's stream."""
        return await self._receive(RECEIVE_BYTES)

    async def finish(self) -> None:
        """Send the end of our stream, and discard the client's data until the end of its stream.

        A socket that is closed with unread data is reset, and its client loses the data that it has not read yet. The
        caller sets the deadline.
        """
        await self.send_unsent()
        await self._stream.send_eof()
        left = LINGER_BYTES
        while left > 0 and (data := await self._receive(64 * 1024)):
            left -= len(data)

    def close(self) -> None:
        """Close the socket. Unread and unsent data is lost."""
        self._socket.detach()
        self._stream.socket.close()

    async def _receive(self, max_bytes: int) -> bytes:
        """Receive as SocketStream does, but wait first: the client's next data has rarely arrived already."""
        self._reading_since = trio.current_time()
        try:
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                try:
                    data = self._socket.recv(max_bytes)
                except BlockingIOError:
                    continue
                self.pings = 0
                return data
        except OSError as error:
            raise trio.BrokenResourceError from error
        finally:
            self._reading_since = None

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError from error


class TlsClientStream(ClientStream):
    """The same under TLS. Only the given stream's socket and context are used: its methods would break the connection
    if they were cancelled."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        super().__init__(stream.transport_stream)
        context: ssl.SSLContext = stream.context
        self._encrypted, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._encrypted, self._to_send, server_side=True)

    async def do_handshake(self) -> None:
        await self._do(self._tls.do_handshake)

    def send_now(self, data: bytes) -> bool:
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        return super().send_now(self._to_send.read())

    async def receive_some(self) -> bytes:
        return await self._do(lambda: self._tls.read(RECEIVE_BYTES))

    async def finish(self) -> None:
        with suppress(ssl.SSLError):  # close_notify is written; the client's need not be awaited
            self._tls.unwrap()
        super().send_now(self._to_send.read())
        await super().finish()

    async def _do(self, step: Callable[[], Result]) -> Result:
        """Do a step of TLS, and receive and send the bytes that it needs."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._send_protocol()
                if data := await self._receive(RECEIVE_BYTES):
                    self._encrypted.write(data)
                else:
                    self._encrypted.write_eof()
            except ssl.SSLError as error:
                await self._send_protocol()  # the alert
                raise trio.BrokenResourceError from error
            else:
                await self._send_protocol()
                return result

    async def _send_protocol(self) -> None:
        """Send the bytes that TLS itself has written, if any."""
        if self._to_send.pending and not super().send_now(self._to_send.read()):
            await self.send_unsent()


def client_stream(stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> ClientStream:
    """The client's stream over a listener's, which must be unused."""
    return TlsClientStream(stream) if isinstance(stream, trio.SSLStream) else ClientStream(stream)
