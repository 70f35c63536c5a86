"""Spans are exported to a collector by OTLP; a collector that fails or hangs costs spans, and nothing else."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind
from pydantic import ValidationError
from structlog.testing import capture_logs

from shared.settings import Settings
from shared.telemetry import collector, traces
from shared.telemetry.collector import open_collector
from shared.telemetry.metrics.catalogue import SPANS_LOST
from tests.waiting import PATIENCE, until
from tools.engines.engine import HOST, free_port


class Collector:
    """A collector on loopback, over HTTP. It answers with `status` while `may_answer` is set."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._server: Any = None

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self._server.server_port}"

    @property
    def names(self) -> list[str]:
        """The names of all spans, in the order of their arrival."""
        return [
            span.name
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @contextmanager
    def serving(self) -> Iterator["Collector"]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.may_answer.wait()
                collector.headers.append({**dict(self.headers), "path": self.path})
                if collector.status == 200:
                    collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        with ThreadingHTTPServer((HOST, 0), Handler) as self._server, ThreadPoolExecutor() as threads:
            self._server.daemon_threads = True
            threads.submit(self._server.serve_forever, poll_interval=0.01)
            try:
                yield self
            finally:
                self.may_answer.set()
                self._server.shutdown()


@pytest.fixture
def server() -> Iterator[Collector]:
    with Collector().serving() as serving:
        yield serving


def settings(tmp_path: Path, endpoint: str, **more: object) -> Settings:
    return Settings.model_validate(
        {"data": tmp_path, "kafka": {"instance": "gateway-7"}, "traces": {"endpoint": endpoint, **more}}
    )


def make_spans(*names: str) -> None:
    for name in names:
        assert traces.should_sample(1.0)
        traces.begin(name, SpanKind.SERVER, {}).end()


async def test_exported_spans_identify_their_process_and_a_stop_sends_the_rest(
    tmp_path: Path, server: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "FLUSH_SECONDS", PATIENCE)  # the machine may be busy
    token = "Bearer collectors-token"
    async with open_collector(settings(tmp_path, server.endpoint, headers={"authorization": token}), "gateway"):
        make_spans("one", "two")
        await until(lambda: server.names)
        make_spans("last")
    assert server.names == ["one", "two", "last"]
    assert not traces.should_sample(1.0)
    assert server.headers[0]["path"] == "/v1/traces"
    assert server.headers[0]["authorization"] == token
    (resource,) = server.requests[0].resource_spans
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    expected = {"service.name": "rookery", "rookery.role": "gateway", "service.instance.id": "gateway-7"}
    assert expected.items() <= attributes.items()
    assert attributes["service.version"]


def test_spans_and_reports_name_a_process_without_a_configured_name_alike(tmp_path: Path) -> None:
    unnamed = Settings(data=tmp_path)
    name = collector.resource_of(unnamed, "gateway").attributes["service.instance.id"]
    assert name == unnamed.process_name == f"{socket.gethostname()}-{os.getpid()}"


def test_an_endpoint_must_be_a_base_url_and_the_headers_are_secret(tmp_path: Path) -> None:
    for endpoint in ("collector:4318", "ftp://collector", "http://", "http://collector/?x", "http://a b"):
        with pytest.raises(ValidationError, match=r"traces\.endpoint"):
            settings(tmp_path, endpoint)
    assert "sesame" not in repr(settings(tmp_path, "http://collector:4318", headers={"authorization": "sesame"}))


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_collector_that_hangs_does_not_keep_a_process_from_stopping(
    tmp_path: Path, server: Collector, is_cancelled: bool
) -> None:
    server.may_answer.clear()
    began = trio.current_time()
    with trio.CancelScope() as scope:
        async with open_collector(settings(tmp_path, server.endpoint, timeout_seconds=60), "up"):
            make_spans("never")
            if is_cancelled:
                scope.cancel()
    assert trio.current_time() - began < PATIENCE
    assert not server.names


@pytest.mark.parametrize("status", [400, 503])
async def test_lost_spans_are_logged_once_and_so_is_the_recovery(
    tmp_path: Path, server: Collector, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "SEND_MS", 10)
    server.status = status
    lost = SPANS_LOST.count("not_sent")
    with capture_logs() as lines:
        async with open_collector(settings(tmp_path, server.endpoint, timeout_seconds=0.2), "up"):
            for number in range(3):
                make_spans(f"lost-{number}")
                await until(lambda number=number: SPANS_LOST.count("not_sent") == lost + number + 1)  # type: ignore[misc]
            server.status = 200
            while len(lines) < 2:  # one may be lost still: the machine may be busy, and the time for it is short
                make_spans("sent")
                await trio.sleep(0.05)
    assert "sent" in server.names  # one that counts as lost may arrive late
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("traces_not_sent", "warning"),
        ("traces_sent_again", "info"),
    ]
    assert (lines[0]["lost"], lines[1]["lost"] >= 3) == (1, True)
    assert lines[0]["reason"]


async def test_an_unavailable_collector_logs_one_warning_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "SEND_MS", 10)
    lost = SPANS_LOST.count("not_sent")
    with capture_logs() as lines:
        async with open_collector(settings(tmp_path, f"http://{HOST}:{free_port()}", timeout_seconds=0.2), "up"):
            make_spans("lost")
            await until(lambda: lines)
    assert SPANS_LOST.count("not_sent") > lost
    assert [line["event"] for line in lines] == ["traces_not_sent"]
    assert [record for record in caplog.records if "opentelemetry" in record.name] == []


async def test_waiting_spans_are_bounded_and_dropped_ones_counted(
    tmp_path: Path, server: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "MAX_WAITING", 20)
    monkeypatch.setattr(collector, "MAX_BATCH", 10)
    server.may_answer.clear()
    dropped = SPANS_LOST.count("no_room")
    began = time.perf_counter()
    async with open_collector(settings(tmp_path, server.endpoint, timeout_seconds=60), "up"):
        for number in range(1_000):
            make_spans(f"{number}")
        assert time.perf_counter() - began < PATIENCE
        dropped = SPANS_LOST.count("no_room") - dropped
        assert 1_000 - 20 - 2 * 10 <= dropped <= 1_000 - 20
        server.may_answer.set()
        await until(lambda: len(server.names) == 1_000 - dropped)
