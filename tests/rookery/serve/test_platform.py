"""Which files an archive opens. How BFFs and gateways of their own call other processes: in plain text, over TLS, and
known by their certificate."""

from pathlib import Path

import pytest
import trio

from rookery.serve.engines import open_own_files
from rookery.serve.platform import GatewayContexts, open_archives, open_platform
from rookery.v1.archive_grpc import ArchiveServiceServicer
from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from shared.archive import ArchiveClient
from shared.contract.errors import Code, Refusal, Unavailable
from shared.net.listening import listen, port_of
from shared.net.tls import ServerTls, open_tls
from shared.rpc import serve_rpc
from shared.settings import ArchiveSettings, Settings, TlsSettings
from shared.telemetry.metrics.catalogue import RPC_CLIENT_SERVERS
from tests.shared.net.handshakes import server_of, shake_hands
from tools.launch.certificates import Authority

PATIENCE = 20.0
"""Seconds; only ends a test that has failed."""

ANSWER = GetChatResponse()
ANSWER.chat.chat_id = "d-1-2"


class OneChat(ArchiveServiceServicer):
    """Knows one chat."""

    async def GetChat(self, input_message: GetChatRequest) -> GetChatResponse:
        await trio.lowlevel.checkpoint()
        return ANSWER


async def serve_archive(nursery: trio.Nursery, tls: TlsSettings) -> int:
    """An archive as its role opens it; its port."""
    server = ServerTls(tls, tls.certificate_file) if tls.certificate_file else None
    listeners = await listen("127.0.0.1", 0, tls=server, alpn="h2", trusted_clients_only=True)
    await nursery.start(serve_rpc, [OneChat()], listeners)
    return port_of(listeners)


async def ask(settings: Settings) -> GetChatResponse | Refusal:
    with trio.fail_after(PATIENCE):
        async with open_tls(settings.tls) as tls, open_archives(settings, tls) as archives:
            return await ArchiveClient(archives, timeout=PATIENCE).get_chat(GetChatRequest(user_id=1, chat_id="d-1-2"))


async def test_an_archive_does_not_start_on_the_files_of_another_platform(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, archive=ArchiveSettings(grpc_port=0, health_port=0))
    async with open_own_files(settings.model_copy(update={"engines": frozenset({"cassandra"})})):
        pass
    with pytest.raises(Unavailable, match="belongs to a platform on Cassandra's keyspace rookery"):
        async with open_platform(settings, ["archive"]):
            pass


async def test_archives_without_tls_are_called_in_plain_text(nursery: trio.Nursery) -> None:
    port = await serve_archive(nursery, TlsSettings())
    assert await ask(Settings(archives=(f"127.0.0.1:{port}",))) == ANSWER


async def test_calls_to_archives_are_measured_in_this_process_too(nursery: trio.Nursery) -> None:
    port = await serve_archive(nursery, TlsSettings())
    settings = Settings(archives=(f"127.0.0.1:{port}",))
    async with open_tls(settings.tls) as tls:
        for local_port in (None, port):
            async with open_archives(settings, tls, local_port) as archives:
                await ArchiveClient(archives, timeout=PATIENCE).get_chat(GetChatRequest(user_id=1, chat_id="d-1-2"))
                assert [sample.value for sample in RPC_CLIENT_SERVERS.family().samples] == [1, 1]


async def test_archives_of_the_authority_are_called_over_tls(nursery: trio.Nursery, authority: Authority) -> None:
    ports = [await serve_archive(nursery, authority.issue().settings()) for _ in range(2)]
    archives = tuple(f"grpcs://127.0.0.1:{port}" for port in ports)
    assert await ask(Settings(archives=archives, tls=TlsSettings(ca_file=authority.file))) == ANSWER


async def test_gateways_are_called_as_archives_are_but_that_of_the_process_by_its_own_certificate(
    authority: Authority, tmp_path: Path
) -> None:
    own = Authority(tmp_path / "own").issue("own", "chat.example.org").settings(ca_file=authority.file)
    async with open_tls(own) as tls:
        contexts = GatewayContexts(tls, "grpcs://127.0.0.1:8082")
        for address, server in (("grpcs://127.0.0.1:8082", own), ("grpcs://other:8082", authority.issue().settings())):
            context = contexts.context(address)
            assert context is not None
            assert context is contexts.context(address)
            shake_hands(context, server_of(server).context("h2"))
        assert contexts.context("127.0.0.1:8082") is None


async def test_archives_of_another_authority_are_not_called(
    nursery: trio.Nursery, authority: Authority, tmp_path: Path
) -> None:
    port = await serve_archive(nursery, Authority(tmp_path / "other").issue().settings())
    answer = await ask(Settings(archives=(f"grpcs://127.0.0.1:{port}",), tls=TlsSettings(ca_file=authority.file)))
    assert isinstance(answer, Refusal)
    assert answer.code is Code.UNAVAILABLE


async def test_callers_show_the_certificate_that_is_for_archives(
    nursery: trio.Nursery, authority: Authority, tmp_path: Path
) -> None:
    port = await serve_archive(nursery, authority.issue().settings(client_ca_file=authority.file))
    public, caller = Authority(tmp_path / "public").issue(), authority.issue("caller")
    archives = (f"grpcs://127.0.0.1:{port}",)
    known = public.settings(
        ca_file=authority.file, client_certificate_file=caller.certificate, client_key_file=caller.key
    )
    assert await ask(Settings(archives=archives, tls=known)) == ANSWER
    for unknown in (public.settings(ca_file=authority.file), TlsSettings(ca_file=authority.file)):
        answer = await ask(Settings(archives=archives, tls=unknown))
        assert isinstance(answer, Refusal)
        assert answer.code is Code.UNAVAILABLE
