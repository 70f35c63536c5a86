"""The client over TLS, with valid servers and with servers that it must refuse."""

import ssl

import pytest
import trio
import trio.testing
import trustme

from shared.rpc import Status, open_balancer, open_channel, serve_rpc
from tests.shared.rpc.calling import Archive, failure_of, get_chat
from tests.shared.rpc.conftest import eventually


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def showing(certificate: trustme.LeafCert, *alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


async def serve(nursery: trio.Nursery, context: ssl.SSLContext) -> int:
    """Serve an archive over TLS; return its port."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(serve_rpc, [Archive()], [trio.SSLListener(listener, context)])
    return int(listener.socket.getsockname()[1])


async def test_calls_go_over_tls(authority: trustme.CA, nursery: trio.Nursery) -> None:
    port = await serve(nursery, showing(authority.issue_cert("127.0.0.1"), "h2"))
    async with open_channel("127.0.0.1", port, tls=trusting(authority)) as channel:
        for chat_id in ("d-1-2", "x" * 1_000_000):
            assert await get_chat(channel, chat_id) == chat_id
        assert len(channel.connections) == 1


async def test_a_balancer_goes_over_tls(authority: trustme.CA, nursery: trio.Nursery) -> None:
    port = await serve(nursery, showing(authority.issue_cert("archives.test"), "h2"))
    tls = trusting(authority)
    async with open_balancer([f"127.0.0.1:{port}"], tls=tls, server_name="archives.test") as balancer:
        assert await get_chat(balancer) == "d-1-2"


async def test_a_certificate_for_another_name_is_refused_unless_that_is_the_servers(
    authority: trustme.CA, nursery: trio.Nursery
) -> None:
    port = await serve(nursery, showing(authority.issue_cert("archives.test"), "h2"))
    async with open_channel("127.0.0.1", port, tls=trusting(authority)) as channel:
        error = await failure_of(channel)
    assert error.status is Status.UNAVAILABLE
    assert "certificate was refused" in error.message
    assert "127.0.0.1" in error.message
    async with open_channel("127.0.0.1", port, tls=trusting(authority), server_name="archives.test") as channel:
        assert await get_chat(channel) == "d-1-2"


async def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA, nursery: trio.Nursery) -> None:
    port = await serve(nursery, showing(trustme.CA().issue_cert("127.0.0.1"), "h2"))
    async with open_channel("127.0.0.1", port, tls=trusting(authority)) as channel:
        error = await failure_of(channel)
    assert error.status is Status.UNAVAILABLE
    assert "certificate was refused: unable to get local issuer certificate" in error.message


async def serve_tls(stream: trio.SSLStream[trio.SocketStream]) -> None:
    """Complete the handshake, then wait."""
    async with stream:
        await stream.do_handshake()
        await trio.sleep_forever()


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
async def test_a_server_that_does_not_choose_http2_is_unavailable(
    alpn: tuple[str, ...], authority: trustme.CA, nursery: trio.Nursery
) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    context = showing(authority.issue_cert("127.0.0.1"), *alpn)
    nursery.start_soon(trio.serve_listeners, serve_tls, [trio.SSLListener(listener, context)])
    async with open_channel("127.0.0.1", listener.socket.getsockname()[1], tls=trusting(authority)) as channel:
        error = await failure_of(channel)
    assert error.status is Status.UNAVAILABLE
    assert "h2 by ALPN" in error.message


async def serve_plain_text(stream: trio.SocketStream) -> None:
    async with stream:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


async def test_a_server_without_tls_is_unavailable(authority: trustme.CA, nursery: trio.Nursery) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve_plain_text, listeners)
    async with open_channel("127.0.0.1", listeners[0].socket.getsockname()[1], tls=trusting(authority)) as channel:
        error = await failure_of(channel)
    assert error.status is Status.UNAVAILABLE
    assert "TLS failed" in error.message


async def test_a_handshake_that_never_ends_is_given_up(
    authority: trustme.CA, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def wait_forever(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, wait_forever, listeners)
    async with open_channel("127.0.0.1", listeners[0].socket.getsockname()[1], tls=trusting(authority)) as channel:
        assert "it took over 3.0 s" in (await failure_of(channel)).message


async def test_a_server_that_stops_ends_its_connection_over_tls(authority: trustme.CA, nursery: trio.Nursery) -> None:
    async def serve_until_stopped(listener: trio.SocketListener, *, task_status: trio.TaskStatus[object]) -> None:
        context = showing(authority.issue_cert("127.0.0.1"), "h2")
        with scope:
            await serve_rpc([Archive()], [trio.SSLListener(listener, context)], task_status=task_status)
        ended.set()

    scope, ended = trio.CancelScope(), trio.Event()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(serve_until_stopped, listener)
    async with open_channel("127.0.0.1", listener.socket.getsockname()[1], tls=trusting(authority)) as channel:
        await get_chat(channel)
        scope.cancel()
        await eventually(lambda: not channel.connections)
        await ended.wait()


async def test_a_retired_connection_ends_over_tls(authority: trustme.CA, nursery: trio.Nursery) -> None:
    port = await serve(nursery, showing(authority.issue_cert("127.0.0.1"), "h2"))
    async with open_channel("127.0.0.1", port, tls=trusting(authority)) as channel:
        await get_chat(channel)
        (connection,) = channel.connections
        connection.retire()
        await eventually(lambda: not channel.connections)
        assert await get_chat(channel) == "d-1-2"
