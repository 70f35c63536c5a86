"""The client over TLS, with valid servers and with servers that it must refuse."""

import pytest
import trio
import trustme
from trio.testing import MockClock

from shared.rpc import RpcError, Status, open_balancer, open_channel
from tests.shared.rpc.calling import failure_of, get_chat
from tests.shared.rpc.conftest import Serve, eventually
from tests.shared.rpc.servers import respond_in_http1, serve_streams, showing, trusting


async def failure_at(port: int, authority: trustme.CA) -> RpcError:
    """Return the error of a call to a server that can't be connected to."""
    async with open_channel("127.0.0.1", port, tls=trusting(authority)) as channel:
        error = await failure_of(channel)
    assert error.status is Status.UNAVAILABLE
    return error


async def test_calls_go_over_tls(authority: trustme.CA, serve: Serve) -> None:
    port = (await serve(tls=showing(authority.issue_cert("127.0.0.1"), "h2"))).port
    async with open_channel("127.0.0.1", port, tls=trusting(authority)) as channel:
        for chat_id in ("d-1-2", "x" * 1_000_000):
            assert await get_chat(channel, chat_id) == chat_id
        assert len(channel.connections) == 1


async def test_a_certificate_for_another_name_is_refused_unless_that_is_the_servers(
    authority: trustme.CA, serve: Serve
) -> None:
    port, tls = (await serve(tls=showing(authority.issue_cert("archives.test"), "h2"))).port, trusting(authority)
    error = await failure_at(port, authority)
    assert "certificate was refused" in error.message
    assert "127.0.0.1" in error.message
    async with open_channel("127.0.0.1", port, tls=tls, server_name="archives.test") as channel:
        assert await get_chat(channel) == "d-1-2"
    async with open_balancer([f"127.0.0.1:{port}"], tls=tls, server_name="archives.test") as balancer:
        assert await get_chat(balancer) == "d-1-2"


async def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA, serve: Serve) -> None:
    error = await failure_at((await serve(tls=showing(trustme.CA().issue_cert("127.0.0.1"), "h2"))).port, authority)
    assert "certificate was refused: unable to get local issuer certificate" in error.message


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
async def test_a_server_that_does_not_choose_http2_is_unavailable(
    alpn: tuple[str, ...], authority: trustme.CA, nursery: trio.Nursery
) -> None:
    context = showing(authority.issue_cert("127.0.0.1"), *alpn)

    async def shake_hands_and_wait(stream: trio.SocketStream) -> None:
        async with trio.SSLStream(stream, context, server_side=True) as secure:
            await secure.do_handshake()
            await trio.sleep_forever()

    assert "h2 by ALPN" in (await failure_at(await serve_streams(nursery, shake_hands_and_wait), authority)).message


async def test_a_server_without_tls_is_unavailable(authority: trustme.CA, nursery: trio.Nursery) -> None:
    assert "TLS failed" in (await failure_at(await serve_streams(nursery, respond_in_http1), authority)).message


async def test_a_handshake_that_never_ends_is_aborted(
    authority: trustme.CA, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def wait_forever(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    assert "it took over 3.0 s" in (await failure_at(await serve_streams(nursery, wait_forever), authority)).message


async def test_a_server_that_stops_ends_its_connection_over_tls(authority: trustme.CA, serve: Serve) -> None:
    server = await serve(tls=showing(authority.issue_cert("127.0.0.1"), "h2"))
    async with open_channel("127.0.0.1", server.port, tls=trusting(authority)) as channel:
        await get_chat(channel)
        await server.stop()
        await eventually(lambda: not channel.connections)


async def test_a_retired_connection_ends_over_tls(authority: trustme.CA, serve: Serve) -> None:
    port = (await serve(tls=showing(authority.issue_cert("127.0.0.1"), "h2"))).port
    async with open_channel("127.0.0.1", port, tls=trusting(authority)) as channel:
        await get_chat(channel)
        (connection,) = channel.connections
        connection.retire()
        await eventually(lambda: not channel.connections)
        assert await get_chat(channel) == "d-1-2"
