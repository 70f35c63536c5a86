"""Viruses in files: found by a real ClamAV daemon, with a signature of our own."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from bff.files.scanner import Scanner, ScannerAway
from tests.bff.conftest import Api
from tests.bff.files.test_uploads import Client
from tests.needed import needed
from tests.waiting import PATIENCE
from tools.engines.clamd import VIRUS, Clamd
from tools.engines.engine import free_port, running

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def clamd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clamd]:
    needed(Clamd.install)
    home = tmp_path_factory.mktemp("engines")
    options = {"LocalSocket": str(home / "socket"), "StreamMaxLength": str(LIMIT)}
    with running(Clamd(home / Clamd.name, options)) as clamd:
        yield clamd


@pytest.fixture
def scanner(clamd: Clamd) -> Scanner:
    return Scanner(clamd.address, PATIENCE)


class Content(AsyncIterator[bytes]):
    def __init__(self, *chunks: bytes) -> None:
        self._chunks = iter(chunks)

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


async def test_a_virus_is_found_wherever_it_is(clamd: Clamd, scanner: Scanner) -> None:
    before = bytes(300_000)
    for each in (scanner, Scanner(clamd.options["LocalSocket"] or "", PATIENCE)):
        assert await each.scan(Content(before, VIRUS[:9], VIRUS[9:])) == "Rookery.Test.UNOFFICIAL"
        assert await each.scan(Content(before, VIRUS[:9])) == ""
        assert await each.scan(Content()) == ""
        await each.check()


async def test_a_scanner_that_is_away_silent_or_refuses_is_unavailable(scanner: Scanner) -> None:
    with pytest.raises(ScannerAway, match="scanner"):
        await scanner.scan(Content(*[bytes(LIMIT)] * 30))
    with pytest.raises(ScannerAway, match="can't be used"):
        await Scanner(f"127.0.0.1:{free_port()}", PATIENCE).scan(Content(b"x"))
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ScannerAway, match=r"in 0\.05 s"):
        await Scanner(f"127.0.0.1:{silent.getsockname()[1]}", 0.05).scan(Content(b"x"))


async def test_a_file_with_a_virus_is_blocked_and_its_bytes_are_deleted(api: Api, token: str) -> None:
    client = Client(api, token)
    file_id = await client.upload(b"text " + VIRUS)
    for _ in range(2):
        completed = await client.complete(file_id)
        assert (completed.status, completed.body["state"]) == (200, "blocked")
        assert not await client.has_bytes(file_id)
    file_id = await client.upload(b"text", client_file_id="c2")
    assert (await client.complete(file_id)).body["state"] == "complete"


async def test_a_file_waits_for_a_scanner_that_is_away(api: Api, token: str, clamd: Clamd) -> None:
    client = Client(api, token)
    file_id = await client.upload(b"text")
    clamd.kill()
    refused = await client.complete(file_id)
    assert refused.refusal == (503, "unavailable", "")
    assert "virus scanner" in refused.body["detail"]
    clamd.start()
    assert (await client.complete(file_id)).body["state"] == "complete"
