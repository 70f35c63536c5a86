"""HTTP/2 conformance of our server: every case of h2spec, those of its strict mode too, plain and over TLS."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
import trio
import trustme

from rookery.v1.session_grpc import SessionServiceServicer
from shared.rpc import serve_rpc
from tests.needed import needed
from tools.toolchains import go_programs

pytestmark = pytest.mark.slow

H2SPEC = "github.com/summerwind/h2spec/cmd/h2spec"

CASES = 146
"""Of h2spec 2.2.1."""

CASE_SECONDS = "10"
"""Timeout of a case; a case that passes does not wait for it."""


@pytest.fixture(scope="module")
def h2spec() -> Path:
    return needed(go_programs, Path(__file__).parent / "h2spec", H2SPEC) / "h2spec"


@asynccontextmanager
async def serving(*, tls: bool) -> AsyncIterator[int]:
    """Serve on a port, which is returned. h2spec's requests are not gRPC calls; the server responds in plain HTTP."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        served = [trio.SSLListener(listener, tls_context()) for listener in listeners] if tls else listeners
        await nursery.start(serve_rpc, [SessionServiceServicer()], served)
        yield port
        nursery.cancel_scope.cancel()


def tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2"])
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_every_case_passes(tls: bool, h2spec: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    options = ["--strict", "--timeout", CASE_SECONDS, "--junit-report", str(report)]
    async with serving(tls=tls) as port:
        address = ["--host", "127.0.0.1", "--port", str(port), *(["--tls", "--insecure"] if tls else [])]
        done = await trio.run_process([h2spec, *address, *options], capture_stdout=True, check=False)
    cases = list(ElementTree.parse(report).iter("testcase"))
    not_passed = [f"{case.get('package')}: {case.get('classname')}" for case in cases if len(case)]
    assert not not_passed, done.stdout.decode()
    assert len(cases) == CASES
