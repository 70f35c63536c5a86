"""Sessions over WebSocket with little CPU, since the generator shares the machine with the server.

Plain sockets, one epoll and one task for all of them; only the counted fields of frames are decoded. Frames are masked
with a key of zeros, which RFC 6455 permits.
"""

import base64
import os
import select
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import trio

from rookery.client.trust import client_tls
from rookery.load.sessions import CONNECT_DEADLINE, LoadError, LoadUser, SessionObserver, for_each

TEXT = 0x1
PING = 0x9
PONG = 0xA

MAX_READ = 256 * 1024
"""Bytes of one read. With TLS a read returns one record; epoll reports the socket again for the next."""

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""Exceptions of a socket that is not ready."""


class _Message(msgspec.Struct):
    client_message_id: str = ""


class _Event(msgspec.Struct):
    message: _Message | None = None


class _Answer(msgspec.Struct):
    client_id: str = ""
    code: str = ""


class _Frame(msgspec.Struct):
    """The counted fields of a server's frame."""

    welcome: dict[str, object] | None = None
    accepted: _Answer | None = None
    refused: _Answer | None = None
    event: _Event | None = None
    channel_head: dict[str, object] | None = None
    goodbye: _Answer | None = None


_decode = msgspec.json.Decoder(_Frame).decode


def client_message(opcode: int, payload: bytes) -> bytes:
    """Return a whole message, masked with the zero key (RFC 6455, section 5.2)."""
    size = len(payload)
    head = bytes((0x80 | opcode,))
    if size < 126:
        return head + bytes((0x80 | size,)) + b"\0\0\0\0" + payload
    if size < 1 << 16:
        return head + b"\xfe" + size.to_bytes(2, "big") + b"\0\0\0\0" + payload
    return head + b"\xff" + size.to_bytes(8, "big") + b"\0\0\0\0" + payload


def take_messages(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Remove the complete frames from the buffer; yield the opcode and payload of each."""
    start = 0
    while (end := _end_of_frame(buffer, start)) is not None:
        begin, stop = end
        yield buffer[start] & 0x0F, bytes(buffer[begin:stop])
        start = stop
    del buffer[:start]


def _end_of_frame(buffer: bytearray, start: int) -> tuple[int, int] | None:
    """Return the bounds of the payload of the frame at `start`; None if the frame is incomplete."""
    if len(buffer) < start + 2:
        return None
    size = buffer[start + 1]
    begin = start + 2
    if size >= 126:
        begin += 2 if size == 126 else 8
        if len(buffer) < begin:
            return None
        size = int.from_bytes(buffer[start + 2 : begin], "big")
    return (begin, begin + size) if len(buffer) >= begin + size else None


class _Connection:
    """A session's socket, with its unwritten bytes and its incomplete frame."""

    __slots__ = ("incoming", "outgoing", "sock")

    def __init__(self, sock: socket.socket, incoming: bytearray) -> None:
        self.sock = sock
        self.incoming = incoming
        self.outgoing = b""


@asynccontextmanager
async def open_websocket_sessions(
    users: Sequence[LoadUser], run_id: str, size: int, ca_file: Path | None = None
) -> AsyncIterator["WebSocketSessions"]:
    """Open a session for each user. Raises LoadError or OSError."""
    connections: list[_Connection] = []
    tls = client_tls(ca_file, "http/1.1")

    async def connect(user: LoadUser) -> _Connection:
        connections.append(await trio.to_thread.run_sync(_connect, user, tls))
        return connections[-1]

    try:
        with closing(select.epoll()) as epoll:
            yield WebSocketSessions(epoll, await for_each(connect, users), users, run_id, size)
    finally:
        for connection in connections:
            connection.sock.close()


class WebSocketSessions:
    """The sessions of a run."""

    def __init__(
        self,
        epoll: select.epoll,
        connections: Sequence[_Connection],
        users: Sequence[LoadUser],
        run_id: str,
        size: int,
    ) -> None:
        self._epoll = epoll
        self._connections = connections
        self._by_descriptor = {each.sock.fileno(): (user, each) for user, each in enumerate(connections)}
        text = b"x" * size
        self._head = b'{"send":{"client_message_id":"' + run_id.encode()
        self._tails = [
            b'",%s,"text":{"body":"%s"}},"first_sent_ms_ago":0}' % (_recipient(each), text) for each in users
        ]
        for descriptor, (_, connection) in self._by_descriptor.items():
            connection.sock.setblocking(False)
            self._epoll.register(descriptor, select.EPOLLIN)

    def send(self, user: int, number: int) -> None:
        """Send the message to the user's partner or group."""
        payload = self._head + b"%d" % number + self._tails[user]
        self._write(self._connections[user], client_message(TEXT, payload))

    async def listen(self, observer: SessionObserver) -> None:
        """Report received frames, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for descriptor, event in self._epoll.poll(0):
                user, connection = self._by_descriptor[descriptor]
                if event & select.EPOLLOUT:
                    self._epoll.modify(descriptor, select.EPOLLIN)
                    self._write(connection, b"")
                if event & ~select.EPOLLOUT and (failure := self._read(user, connection, observer)):
                    self._epoll.unregister(descriptor)
                    observer.failed(failure)

    def _write(self, connection: _Connection, data: bytes) -> None:
        connection.outgoing += data
        try:
            sent = connection.sock.send(connection.outgoing)
        except WOULD_BLOCK:
            sent = 0
        except OSError:
            return  # the reader gets and reports the same error
        connection.outgoing = connection.outgoing[sent:]
        if connection.outgoing:
            self._epoll.modify(connection.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _read(self, user: int, connection: _Connection, observer: SessionObserver) -> str:
        """Read the available bytes. Return the reason if the session has ended, else an empty string."""
        try:
            data = connection.sock.recv(MAX_READ)
        except WOULD_BLOCK:
            return ""
        except OSError as error:
            return type(error).__name__
        if not data:
            return "closed by the server"
        connection.incoming += data
        now = trio.current_time()
        for opcode, payload in take_messages(connection.incoming):
            if opcode == PING:
                self._write(connection, client_message(PONG, payload))
            elif opcode == TEXT:
                _report(user, _decode(payload), now, observer)
        return ""


def _report(user: int, frame: _Frame, now: float, observer: SessionObserver) -> None:
    if frame.event is not None:
        if frame.event.message is not None:
            observer.delivered(frame.event.message.client_message_id, now)
    elif frame.accepted is not None:
        observer.accepted(user, frame.accepted.client_id, now)
    elif frame.refused is not None:
        observer.refused(user, frame.refused.client_id, frame.refused.code)
    elif frame.channel_head is not None:
        observer.shown()
    elif frame.goodbye is not None:
        observer.failed(f"goodbye: {frame.goodbye.code}")


def _recipient(user: LoadUser) -> bytes:
    """The field of a Send that names the chat."""
    return f'"chat_id":"{user.chat_id}"'.encode() if user.chat_id else b'"recipient_id":"%d"' % user.peer_id


def _connect(user: LoadUser, tls: ssl.SSLContext) -> _Connection:
    """Open a session up to its welcome. Runs in a thread. Raises LoadError or OSError."""
    parts = urlsplit(user.gateway.websocket)
    is_secure = parts.scheme == "wss"
    port = parts.port or (443 if is_secure else 80)
    sock = socket.create_connection((parts.hostname, port), timeout=CONNECT_DEADLINE)
    try:
        if is_secure:
            sock = tls.wrap_socket(sock, server_hostname=parts.hostname)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(_handshake(parts.netloc, parts.path or "/"))
        buffer = bytearray()
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            _receive(sock, buffer)
        if not buffer.startswith(b"HTTP/1.1 101 "):
            raise LoadError(f"the gateway refused a session: {bytes(buffer[:end]).decode('latin-1').splitlines()[0]}")
        del buffer[: end + 4]
        authenticate = {"authenticate": {"access_token": user.token, "client_name": "load"}}
        sock.sendall(client_message(TEXT, msgspec.json.encode(authenticate)))
        while not (messages := list(take_messages(buffer))):  # replayed events may follow: they are not counted
            _receive(sock, buffer)
        if _decode(messages[0][1]).welcome is None:
            raise LoadError(f"no welcome, but {messages[0][1][:200]!r}")
        if user.follows:
            _follow(sock, buffer, user)
    except BaseException:  # only to close the socket: raised again
        sock.close()
        raise
    return _Connection(sock, buffer)


def _follow(sock: socket.socket, buffer: bytearray, user: LoadUser) -> None:
    """Follow the user's channel. Replayed events may come before the answer: they are not counted."""
    chat_ids = [user.chat_id]
    follow = {"chat_ids": chat_ids, "open_chat_ids": chat_ids if user.follows == "open" else []}
    sock.sendall(client_message(TEXT, msgspec.json.encode({"follow": follow})))
    while True:
        _receive(sock, buffer)
        frames = [_decode(payload) for opcode, payload in take_messages(buffer) if opcode == TEXT]
        if refused := next((frame.refused for frame in frames if frame.refused), None):
            raise LoadError(f"a session does not follow {user.chat_id}: {refused.code}")
        if any(frame.accepted for frame in frames):
            return


def _receive(sock: socket.socket, buffer: bytearray) -> None:
    data = sock.recv(MAX_READ)
    if not data:
        raise LoadError("the gateway closed a new session")
    buffer += data


def _handshake(host: str, path: str) -> bytes:
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: rookery.v1.json",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()
