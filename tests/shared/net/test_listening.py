"""Listeners accept connections at once, with the newest certificate or in plain text."""

import errno
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from shared.net.listening import AT_ONCE, TcpListener, TlsListener, listen, port_of, transport_of
from shared.net.pem import UnusableCertificate
from shared.net.tls import ServerTls
from tools.launch.certificates import Authority, Issued

PATIENCE = 20.0
"""Seconds; only ends a test that has failed."""

Stream = trio.SSLStream[trio.SocketStream]


@pytest.fixture
def tls(issued: Issued) -> ServerTls:
    return ServerTls(issued.settings(), issued.certificate)


@asynccontextmanager
async def both_ends(listener: TlsListener, authority: Authority) -> AsyncIterator[tuple[Stream, Stream]]:
    """A connection after its handshake: the client's end and the server's."""
    context = authority.trusting("http/1.1", "h2")
    client = await trio.open_ssl_over_tcp_stream("127.0.0.1", port_of([listener]), ssl_context=context)
    server = await listener.accept()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            nursery.start_soon(server.do_handshake)
        yield client, server
    finally:
        for stream in (client, server):
            await trio.aclose_forcefully(stream)


@pytest.fixture
async def listener(tls: ServerTls) -> AsyncIterator[TlsListener]:
    (listening,) = await listen("127.0.0.1", 0, tls=tls, alpn="h2")
    assert isinstance(listening, TlsListener)
    async with listening:
        with trio.fail_after(PATIENCE):
            yield listening


async def test_connections_that_wait_are_accepted_in_one_pass() -> None:
    (listener,) = await listen("127.0.0.1", 0)
    async with listener, AsyncExitStack() as stack:
        for _ in range(AT_ONCE + 1):
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port_of([listener])))
        await stack.enter_async_context(await listener.accept())
        with trio.testing.assert_no_checkpoints():
            for _ in range(1, AT_ONCE):
                stack.push_async_callback((await listener.accept()).aclose)
        with trio.testing.assert_checkpoints():
            stack.push_async_callback((await listener.accept()).aclose)


@pytest.mark.parametrize("error", [errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.ECONNRESET])
async def test_an_error_of_one_connection_does_not_end_the_listener(error: int) -> None:
    (listener,) = await listen("127.0.0.1", 0)
    assert isinstance(listener, TcpListener)
    accepting = listener._non_blocking

    class Failing:
        """The socket, whose next connection has an error."""

        detach = accepting.detach

        def accept(self) -> None:
            raise OSError(error, "of the connection")

    async with listener, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port_of([listener])))
        stack.push_async_callback((await listener.accept()).aclose)
        listener._non_blocking = Failing()  # type: ignore[assignment]
        with trio.fail_after(PATIENCE):
            stack.push_async_callback((await listener.accept()).aclose)


async def test_without_tls_a_connection_is_a_socket() -> None:
    (listener,) = await listen("127.0.0.1", 0)
    async with (
        listener,
        await trio.open_tcp_stream("127.0.0.1", port_of([listener])) as client,
        await listener.accept() as stream,
    ):
        assert isinstance(stream, trio.SocketStream)
        assert transport_of(stream) is stream
        await stream.send_all(b"plain")
        assert await client.receive_some() == b"plain"


async def test_a_silent_client_delays_no_other(listener: TlsListener, authority: Authority) -> None:
    async with (
        await trio.open_tcp_stream("127.0.0.1", port_of([listener])),
        await listener.accept(),
        both_ends(listener, authority) as (client, server),
    ):
        await server.send_all(b"secret")
        assert await client.receive_some() == b"secret"
        assert transport_of(server).socket.getpeername() == client.transport_stream.socket.getsockname()


async def test_invalid_authorities_of_clients_fail_the_start(issued: Issued, tmp_path: Path) -> None:
    tls = ServerTls(issued.settings(client_ca_file=tmp_path / "none.pem"), issued.certificate)
    with pytest.raises(UnusableCertificate, match=r"none\.pem"):
        await listen("127.0.0.1", 0, tls=tls, trusted_clients_only=True)


async def test_an_address_in_use_is_an_error_that_names_the_doctor(tls: ServerTls) -> None:
    (listener,) = await listen("127.0.0.1", 0)
    async with listener:
        with pytest.raises(OSError, match=r"nothing can listen on .*rookery doctor"):
            await listen("127.0.0.1", port_of([listener]), tls=tls)
