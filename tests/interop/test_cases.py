"""gRPC's interop cases, plain and over TLS: stock clients against our server, our client against stock servers.

grpcio runs in the fast tier: it needs no toolchain but Python.
"""

import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.rpc import RpcError
from tests.interop.cases import run_case
from tests.interop.client import Address
from tests.interop.matrix import CASES, NO_PROBE, RUNS, Language, Run, lack, table
from tests.interop.programs import (
    JAVA_SERVER_NAME,
    Certificates,
    java_authority,
    prepare,
    run_cases,
    run_one_case,
    serving,
)
from tests.needed import needed

DOCUMENT = Path(__file__).parents[2] / "docs/interop.md"

PARAMETERS = [
    pytest.param(run, marks=[] if run.language == "python" else pytest.mark.slow, id=str(run)) for run in RUNS
]


@dataclass(frozen=True, slots=True)
class StockClient:
    language: Language
    outcome: Callable[[str], str]
    """Returns an empty string if the case has passed, else the client's output."""


@dataclass(frozen=True, slots=True)
class StockServer:
    language: Language
    address: Address


@pytest.fixture(scope="module")
def stock_client(request: pytest.FixtureRequest, our_ports: dict[bool, int], certificates: Certificates) -> StockClient:
    """Runs once for all cases if it takes several, else once per case."""
    run: Run = request.param
    client = needed(prepare, run.language).client

    def command(cases: str) -> list[str]:
        return client.command(our_ports[run.tls], cases, certificates if run.tls else None)

    if client.takes_many_cases:
        return StockClient(run.language, run_cases(command(",".join(CASES))).__getitem__)
    return StockClient(run.language, lambda case: run_one_case(command(case)))


@pytest.fixture(scope="module")
def stock_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[StockServer]:
    """Runs once for all cases."""
    run: Run = request.param
    command = needed(prepare, run.language).server(certificates if run.tls else None)
    with serving(command, tmp_path_factory.mktemp(run.language) / "log") as port:
        yield StockServer(run.language, address_of(run, port, certificates))


def address_of(run: Run, port: int, certificates: Certificates) -> Address:
    """The server's address, with the authority of its certificate."""
    if not run.tls:
        return Address(port)
    if run.language == "java":
        return Address(port, ssl.create_default_context(cadata=java_authority()), JAVA_SERVER_NAME)
    return Address(port, ssl.create_default_context(cafile=str(certificates.ca)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stock_client", PARAMETERS, indirect=True)
def test_a_stock_client_passes_against_our_server(stock_client: StockClient, case: str) -> None:
    """Or it fails in the way that shows that it lacks the case."""
    outcome = stock_client.outcome(case)
    if lacking := lack(stock_client.language, "client", case):
        assert re.search(lacking, outcome), outcome
    else:
        assert outcome == ""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stock_server", PARAMETERS, indirect=True)
async def test_our_client_passes_against_a_stock_server(stock_server: StockServer, case: str) -> None:
    """Or the server fails in the way that shows that it lacks the case, or the case's probe."""
    lacking = lack(stock_server.language, "server", case)
    if lacking is None:
        await run_case(case, stock_server.address.open_client)
        return
    with pytest.raises((AssertionError, RpcError), match=lacking):
        await run_case(case, stock_server.address.open_client)
    if lacking == NO_PROBE:
        await run_case(f"{case}_noprobe", stock_server.address.open_client)


def test_the_table_in_the_documents_is_the_one_that_the_tests_use() -> None:
    assert table() in DOCUMENT.read_text()
