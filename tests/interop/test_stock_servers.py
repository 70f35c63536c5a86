"""Our client runs gRPC's interop cases against the stock servers of other languages."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.rpc import RpcError
from tests.interop.client import Address, run_case
from tests.interop.matrix import CASES, NO_PROBE, RUNS, Language, Run, lack, table
from tests.interop.programs import JAVA_SERVER_NAME, Certificates, java_authority, prepare, serving
from tests.needed import needed

DOCUMENT = Path(__file__).parents[2] / "docs/interop.md"


@dataclass(frozen=True, slots=True)
class StockServer:
    """A language's server."""

    language: Language
    address: Address


@pytest.fixture(scope="module")
def stock_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[StockServer]:
    """Runs for all its cases."""
    run: Run = request.param
    command = needed(prepare, run.language).server(certificates if run.tls else None)
    with serving(command, tmp_path_factory.mktemp(run.language) / "log") as port:
        yield StockServer(run.language, address_of(run, port, certificates))


def address_of(run: Run, port: int, certificates: Certificates) -> Address:
    """Where the server is, and how to be sure that it is."""
    if not run.tls:
        return Address(port)
    if run.language == "java":
        return Address(port, ssl.create_default_context(cadata=java_authority()), JAVA_SERVER_NAME)
    return Address(port, ssl.create_default_context(cafile=str(certificates.ca)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stock_server", RUNS, indirect=True, ids=str)
async def test_our_client_passes_against_a_stock_server(stock_server: StockServer, case: str) -> None:
    """Or the server is seen to lack the case, or the case's probe."""
    lacking = lack(stock_server.language, "server", case)
    if lacking is None:
        await run_case(case, stock_server.address)
        return
    with pytest.raises((AssertionError, RpcError), match=lacking):
        await run_case(case, stock_server.address)
    if lacking == NO_PROBE:
        await run_case(f"{case}_noprobe", stock_server.address)


def test_the_table_in_the_documents_is_the_one_that_the_tests_go_by() -> None:
    assert table() in DOCUMENT.read_text()
