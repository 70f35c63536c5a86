"""A browser's socket, plain or under TLS: writes that never wait, for the flusher, and reads that tell the silent."""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import trio

RECEIVE_BYTES = 4096
"""Read from a socket at once at most: several frames of usual size."""

LINGER_BYTES = 4 * 1024 * 1024
"""Read, and passed over, from a client that is closed: some frames of the largest size that is ever allowed."""

LOST = (trio.BrokenResourceError, trio.ClosedResourceError)
"""What each method raises when the connection is gone."""

Result = TypeVar("Result")


class ClientStream:
    """One task reads, and any may send: what is sent goes out whole and in order, whatever is cancelled meanwhile."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = socket.socket(fileno=stream.socket.fileno())  # the same one, for calls that never wait
        self._unsent = bytearray()
        self._sending = trio.Lock()
        self._listening_since: float | None = None
        self.pings = 0
        """Sent since something came; for whoever sends them to count."""

    @property
    def silence(self) -> float:
        """For how many seconds nothing has come; 0 while nobody reads, since there may be something to read."""
        return 0.0 if self._listening_since is None else trio.current_time() - self._listening_since

    async def shake_hands(self) -> None:
        """Agree with the client on how bytes travel: nothing, without TLS."""

    def send_now(self, data: bytes) -> bool:
        """Send what the socket takes at once, and keep the rest for `send_unsent`; whether there is none."""
        if self._unsent:
            self._unsent += data
            return False
        sent = self._write(data)
        if sent == len(data):
            return True
        self._unsent += memoryview(data)[sent:]
        return False

    async def send_unsent(self) -> None:
        """Send what `send_now` has left, of whoever called it."""
        async with self._sending:
            while self._unsent:
                await trio.lowlevel.wait_writable(self._socket)
                del self._unsent[: self._write(self._unsent)]

    async def send(self, data: bytes) -> None:
        """Send, and wait until the socket has taken it."""
        if not self.send_now(data):
            await self.send_unsent()

    async def receive_some(self) -> bytes:
        """What has come; nothing if the client sends no more."""
        return await self._receive(RECEIVE_BYTES)

    async def finish(self) -> None:
        """Say that no more comes, and wait until the client says so too, passing over what it still sends.

        A socket that is closed with something unread is reset, and takes along what its client has not read yet. How
        long this may take is for the caller to say.
        """
        await self.send_unsent()
        await self._stream.send_eof()
        left = LINGER_BYTES
        while left > 0 and (data := await self._receive(64 * 1024)):
            left -= len(data)

    def close(self) -> None:
        """Give the socket back. What is unread or unsent is lost."""
        self._socket.detach()
        self._stream.socket.close()

    async def _receive(self, max_bytes: int) -> bytes:
        """As SocketStream does, but it waits first: what a client sends is hardly ever there already."""
        self._listening_since = trio.current_time()
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
            self._listening_since = None

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError from error


class TlsClientStream(ClientStream):
    """The same under TLS. The given stream lends its socket and its context: its own methods each wait, and break the
    connection if they are cancelled."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        super().__init__(stream.transport_stream)
        context: ssl.SSLContext = stream.context
        self._encrypted, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._encrypted, self._to_send, server_side=True)

    async def shake_hands(self) -> None:
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
        with suppress(ssl.SSLError):  # it says goodbye, and asks us to wait for an answer that says nothing new
            self._tls.unwrap()
        super().send_now(self._to_send.read())
        await super().finish()

    async def _do(self, step: Callable[[], Result]) -> Result:
        """Do a step of TLS, with all that must come and go for it."""
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
                await self._send_protocol()  # what the client did wrong
                raise trio.BrokenResourceError from error
            else:
                await self._send_protocol()
                return result

    async def _send_protocol(self) -> None:
        """Send what TLS itself has to say, if anything."""
        if self._to_send.pending and not super().send_now(self._to_send.read()):
            await self.send_unsent()


def client_stream(stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> ClientStream:
    """The client's stream over what a listener gave, which must not have been used."""
    return TlsClientStream(stream) if isinstance(stream, trio.SSLStream) else ClientStream(stream)
