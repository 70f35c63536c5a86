"""An archive as it is opened: it records, answers over gRPC, and reports its health."""

import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from messaging.archive import sweep
from messaging.archive.role import Archive, open_archive
from messaging.archive.store.sqlite.store import SqliteChats
from messaging.archive.sweep import Sweep
from rookery.v1.archive_pb2 import FILE_STATE_UPLOADING, ListChatsRequest, ListChatsResponse, StoredFile
from rookery.v1.files_pb2 import FileInfo
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.archive import ArchiveClient
from shared.backplane.publishing import publish_and_wait
from shared.backplane.sqlite.log import SqliteLog
from shared.contract.errors import Refusal, Unavailable
from shared.files.folder import open_folder_files
from shared.net.admission import ConnectionBudget
from shared.net.tls import ServerTls
from shared.rpc import call_unary, open_channel
from shared.rpc.client.prepare import send_token
from shared.rpc.standard.health_grpc import HealthStub
from shared.rpc.standard.health_pb2 import HealthCheckRequest
from shared.settings import ArchiveSettings
from shared.telemetry.health import Health
from tests.messaging.archive.conftest import ALICE, BOB, FakeChats, committed, new_message, records_of
from tests.waiting import PATIENCE
from tools.launch.certificates import Authority

TOKEN = "a-token-for-tests-only"

SETTINGS = ArchiveSettings(grpc_port=0, health_port=0)


@pytest.fixture
async def archive(log: SqliteLog, chats: SqliteChats, health: Health) -> AsyncIterator[Archive]:
    async with open_archive(SETTINGS, backplane=log, chats=chats, health=health) as archive:
        yield archive


async def test_a_published_message_is_in_the_members_lists(archive: Archive, log: SqliteLog) -> None:
    event = new_message()
    await publish_and_wait(log, records_of(event))
    request = ListChatsRequest(user_id=BOB, limit=10)
    async with open_channel("127.0.0.1", archive.port) as channel:
        client = ArchiveClient(channel, timeout=PATIENCE)
        with trio.fail_after(PATIENCE):
            while (chats := await client.list_chats(request)) == ListChatsResponse():
                await trio.sleep(0.001)
    assert not isinstance(chats, Refusal)
    assert [chat.newest.message for chat in chats.chats] == [event.message]


async def test_an_archive_sweeps_files_once_it_has_the_first_partition(
    log: SqliteLog, chats: SqliteChats, health: Health, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sweep, "FIRST_SECONDS", 0)
    monkeypatch.setattr(sweep, "HOUR_SECONDS", 0.01)
    file = StoredFile(file=FileInfo(file_id=1), owner_id=ALICE, state=FILE_STATE_UPLOADING)  # of the year 1970
    await chats.files.reserve("a", file, quota_bytes=1, max_uploads=1)
    async with (
        open_folder_files(tmp_path / "files") as files,
        open_sqlite_accounts(tmp_path / "accounts.db") as accounts,
        open_archive(
            SETTINGS,
            backplane=log,
            chats=chats,
            sweep=Sweep(chats, accounts, files, log.partitions, "a platform"),
            health=health,
        ),
    ):
        with trio.fail_after(PATIENCE):
            while not (await chats.files.rows([1]))[1].condemned_ms:
                await trio.sleep(0.001)


async def test_a_store_that_does_not_answer_makes_it_unready(log: SqliteLog, health: Health) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("the disk is gone")

    chats: Any = FakeChats(step=fail)
    async with open_archive(SETTINGS, backplane=log, chats=chats, health=health):
        status, report = await health.report("readyz")
    assert status == 503
    assert {check["name"]: check["reason"] for check in report["checks"] if not check["ok"]} == {
        "chats": "the disk is gone"
    }


async def test_probes_get_a_response(archive: Archive) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", archive.health_port) as stream:
        await stream.send_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b"".join([part async for part in stream])
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_stopping_archive_records_and_commits_its_batch(
    log: SqliteLog, chats: SqliteChats, health: Health
) -> None:
    async with open_archive(SETTINGS, backplane=log, chats=chats, health=health) as archive:
        await publish_and_wait(log, records_of(new_message()))
        with trio.fail_after(PATIENCE):
            while not archive.recorder.statistics().events:
                await trio.sleep(0.001)
    recorded = await chats.recorded_offsets()
    assert recorded
    assert await committed(log) == {**dict.fromkeys(range(log.partitions), 0), **recorded}


async def keeps_its_place(archive: Archive, token: str = "", tls: ssl.SSLContext | None = None) -> bool:
    """Whether a channel that has called the health service keeps its connection when a stranger takes the last slot."""
    prepare = [send_token(token)] if token else []
    async with open_channel("127.0.0.1", archive.port, prepare=prepare, tls=tls) as channel:
        await call_unary(HealthStub(channel).Check, HealthCheckRequest(), timeout=PATIENCE)
        connection = next(iter(channel.connections))
        async with await trio.open_tcp_stream("127.0.0.1", archive.port) as stranger:
            with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
                while connection in channel.connections:
                    with trio.move_on_after(0.01):
                        if await stranger.receive_some() == b"":
                            break
        return connection in channel.connections


@pytest.mark.parametrize(
    ("tokens", "sent", "is_kept"),
    [((), "", True), ((TOKEN,), TOKEN, True), ((TOKEN,), "", False), ((TOKEN,), f"{TOKEN}x", False)],
)
async def test_a_peer_without_a_required_token_makes_room_for_another(
    tokens: tuple[str, ...], sent: str, is_kept: bool, log: SqliteLog, chats: SqliteChats, health: Health
) -> None:
    budget = ConnectionBudget(total=1)
    async with open_archive(
        SETTINGS, backplane=log, chats=chats, health=health, tokens=tokens, budget=budget
    ) as opened:
        assert await keeps_its_place(opened, sent) is is_kept


async def test_a_peer_with_a_required_certificate_keeps_its_place(
    tmp_path: Path, log: SqliteLog, chats: SqliteChats, health: Health
) -> None:
    authority = Authority(tmp_path / "certificates")
    issued, client = authority.issue(), authority.issue("client")
    tls = ServerTls(issued.settings(client_ca_file=authority.file), issued.certificate)
    context = authority.trusting("h2")
    context.load_cert_chain(client.certificate, client.key)
    budget = ConnectionBudget(total=1)
    async with open_archive(
        SETTINGS, backplane=log, chats=chats, health=health, tokens=(TOKEN,), tls=tls, budget=budget
    ) as opened:
        assert await keeps_its_place(opened, tls=context)
