"""The stock clients of other languages run gRPC's interop cases against our server."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.interop.matrix import CASES, RUNS, Language, Run, lack
from tests.interop.programs import Certificates, prepare, run_case, run_cases
from tests.needed import needed


@dataclass(frozen=True, slots=True)
class StockClient:
    """A language's client, and what comes of its cases."""

    language: Language
    outcome: Callable[[str], str]
    """An empty string if the case has passed, else what the client said."""


@pytest.fixture(scope="module")
def stock_client(request: pytest.FixtureRequest, our_ports: dict[bool, int], certificates: Certificates) -> StockClient:
    """Runs once for all cases if it takes many, else for each when its outcome is asked for."""
    run: Run = request.param
    client = needed(prepare, run.language).client

    def command(cases: str) -> list[str]:
        return client.command(our_ports[run.tls], cases, certificates if run.tls else None)

    if client.takes_many_cases:
        return StockClient(run.language, run_cases(command(",".join(CASES))).__getitem__)
    return StockClient(run.language, lambda case: run_case(command(case)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stock_client", RUNS, indirect=True, ids=str)
def test_a_stock_client_passes_against_our_server(stock_client: StockClient, case: str) -> None:
    """Or is seen to lack the case."""
    outcome = stock_client.outcome(case)
    if lacking := lack(stock_client.language, "client", case):
        assert re.search(lacking, outcome), outcome
    else:
        assert outcome == ""
