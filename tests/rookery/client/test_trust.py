"""The client over TLS: it talks to servers of a trusted authority only."""

from pathlib import Path
from typing import Any

import pytest
import trio

from bff.http.server import open_http_server
from rookery.client import Unreachable, open_api
from rookery.client.connection import SessionStream, connect_grpc
from rookery.client.trust import client_tls
from rookery.client.websocket import connect_websocket
from rookery.v1 import session_pb2 as pb
from shared.net.listening import listen, port_of
from shared.net.pem import UnusableCertificate
from shared.net.tls import ServerTls
from shared.rpc import serve_rpc
from tests.rookery.client.gateways import EchoGateway, Serve, serve_grpc, serve_websocket
from tools.launch.certificates import Authority, Issued

DEADLINE = 20.0
"""Seconds; only ends a test that has failed."""

SERVERS: dict[Any, Serve] = {connect_grpc: serve_grpc, connect_websocket: serve_websocket}
TRANSPORTS = pytest.mark.parametrize("connect", SERVERS, ids=["grpcs", "wss"])


@pytest.fixture
def tls(issued: Issued) -> ServerTls:
    return ServerTls(issued.settings(), issued.certificate)


async def first_answer(stream: SessionStream) -> pb.ServerFrame | None:
    with trio.fail_after(DEADLINE):
        await stream.send(pb.ClientFrame(authenticate=pb.Authenticate(access_token="token")))
        return await stream.receive()


@TRANSPORTS
async def test_a_gateway_is_trusted_by_its_authority_and_no_other(
    connect: Any, tls: ServerTls, authority: Authority, tmp_path: Path, nursery: trio.Nursery
) -> None:
    endpoint = await SERVERS[connect](EchoGateway(), nursery, tls)
    async with connect(endpoint, authority.file) as stream:
        answer = await first_answer(stream)
        assert answer is not None
        assert answer.HasField("welcome")
    for ca_file in (None, Authority(tmp_path / "other").file):
        with pytest.raises(Unreachable, match="local issuer"):
            async with connect(endpoint, ca_file) as stream:
                await first_answer(stream)


@TRANSPORTS
async def test_a_gateway_with_a_certificate_for_another_name_is_unreachable(
    connect: Any, authority: Authority, nursery: trio.Nursery
) -> None:
    issued = authority.issue("other", "chat.example.org")
    endpoint = await SERVERS[connect](EchoGateway(), nursery, ServerTls(issued.settings(), issued.certificate))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        async with connect(endpoint, authority.file) as stream:
            await first_answer(stream)


@pytest.mark.parametrize("secure", ["grpcs", "wss"])
async def test_a_gateway_without_tls_is_unreachable_at_a_secure_address(
    secure: str, authority: Authority, nursery: trio.Nursery
) -> None:
    async def respond_in_plain_text(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    (listener,) = await listen("127.0.0.1", 0)
    if secure == "grpcs":
        await nursery.start(serve_rpc, [EchoGateway()], [listener])
    else:
        await nursery.start(trio.serve_listeners, respond_in_plain_text, [listener])
    connect: Any = connect_grpc if secure == "grpcs" else connect_websocket
    with pytest.raises(Unreachable):
        async with connect(f"{secure}://127.0.0.1:{port_of([listener])}", authority.file) as stream:
            await first_answer(stream)


async def test_a_bff_is_trusted_as_a_gateway_is(tls: ServerTls, authority: Authority) -> None:
    async def respond(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"user_id": "7", "name": "ada", "display_name": "Ada"}'})

    async with open_http_server(respond, "127.0.0.1", 0, tls=tls) as server:
        url = f"https://127.0.0.1:{server.address[1]}"
        async with open_api(url, "ada", "password", ca_file=authority.file) as api:
            assert (await api.register()).user_id == 7
        async with open_api(url, "ada", "password") as api:
            with pytest.raises(Unreachable, match=f"no answer from {url}: .*certificate verify failed"):
                await api.register()


async def test_an_authority_that_can_not_be_read_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnusableCertificate, match=r"none\.pem"):
        async with open_api("https://127.0.0.1:1", "ada", "password", ca_file=tmp_path / "none.pem"):
            pass


def test_authorities_are_loaded_once_for_each_protocol(authority: Authority) -> None:
    assert client_tls(authority.file, "h2") is client_tls(authority.file, "h2")
    assert client_tls(authority.file, "h2") is not client_tls(authority.file, "http/1.1")
