"""Jaeger with its collector and storage in memory, and the traces of its API."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import httpx

from tools.engines.engine import POLL_SECONDS, Engine
from tools.toolchains import go_tool

PACKAGE = "github.com/jaegertracing/jaeger/cmd/all-in-one"

SECONDS = 180.0
"""Until a trace is found; only ends a test that has failed."""


LIMIT = 10_000
"""Traces per response: each poll of a busy archive is a trace, and must not displace older ones."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span of Jaeger's API."""

    name: str
    span_id: str
    parent_id: str
    """Empty for the root span."""
    start_us: int
    duration_us: int
    tags: Mapping[str, Any]
    process: Mapping[str, Any]
    """Tags of its process, and `service`."""

    @property
    def end_us(self) -> int:
        return self.start_us + self.duration_us

    @property
    def kind(self) -> str:
        return str(self.tags["span.kind"])

    @property
    def role(self) -> str:
        return str(self.process["rookery.role"])


class Trace:
    """All spans of one trace."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.trace_id: str = data["traceID"]
        self.spans = [_span(span, data["processes"]) for span in data["spans"]]

    @property
    def first(self) -> Span:
        (first,) = [span for span in self.spans if not span.parent_id]
        return first

    @property
    def is_whole(self) -> bool:
        """Whether the parent of each span has arrived: a span that outlasts its children is sent after them."""
        there = {span.span_id for span in self.spans}
        return all(span.parent_id in there for span in self.spans if span.parent_id)

    def named(self, name: str) -> list[Span]:
        """Spans whose names have this prefix, by start time."""
        return sorted((span for span in self.spans if span.name.startswith(name)), key=lambda span: span.start_us)

    def below(self, parent: Span) -> list[Span]:
        """Its children, by start time."""
        return sorted((span for span in self.spans if span.parent_id == parent.span_id), key=lambda span: span.start_us)

    def is_within(self, span: Span, other: Span) -> bool:
        """Whether a span is a descendant of another."""
        parents = {each.span_id: each.parent_id for each in self.spans}
        at = span.parent_id
        while at and at != other.span_id:
            at = parents.get(at, "")
        return at == other.span_id

    def __str__(self) -> str:
        """The spans that have arrived as a tree, for the message of a failed test."""
        there = {span.span_id for span in self.spans}
        began_us = min(span.start_us for span in self.spans)

        def lines(span: Span, depth: int) -> Iterable[str]:
            offset = (span.start_us - began_us) / 1000
            yield f"{'  ' * depth}{span.name}  [{span.role}] +{offset:.1f} ms, {span.duration_us / 1000:.1f} ms"
            for each in self.below(span):
                yield from lines(each, depth + 1)

        return "\n".join(line for span in self.spans if span.parent_id not in there for line in lines(span, 0))


class Jaeger(Engine):
    """It receives OTLP over HTTP; its page and its API are on `port`."""

    name = "jaeger"
    inner_ports: ClassVar[tuple[str, ...]] = ("otlp", "otlp_grpc", "collector", "admin", "query_grpc", "sampling")
    request = b"GET /api/services HTTP/1.0\r\n\r\n"
    reply = re.compile(rb"HTTP/1\.\d 200 ")

    @classmethod
    def install(cls) -> None:
        """The first build takes minutes."""
        go_tool("jaeger", PACKAGE)

    @property
    def endpoint(self) -> str:
        """URL for spans."""
        return f"http://{self.host}:{self._ports['otlp']}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def command(self, ports: dict[str, int]) -> list[str]:
        at = {name: f"{self.host}:{port}" for name, port in ports.items()}
        return [
            "env",
            "SPAN_STORAGE_TYPE=memory",
            str(go_tool("jaeger", PACKAGE)),
            "--collector.otlp.enabled=true",
            f"--collector.otlp.http.host-port={at['otlp']}",
            f"--collector.otlp.grpc.host-port={at['otlp_grpc']}",
            f"--collector.http-server.host-port={at['collector']}",
            f"--collector.grpc-server.host-port={at['sampling']}",
            f"--query.http-server.host-port={at['port']}",
            f"--query.grpc-server.host-port={at['query_grpc']}",
            f"--admin.http.host-port={at['admin']}",
            "--processor.jaeger-compact.server-host-port=127.0.0.1:0",
            "--processor.jaeger-binary.server-host-port=127.0.0.1:0",
            "--processor.zipkin-compact.server-host-port=127.0.0.1:0",
            "--http-server.host-port=127.0.0.1:0",
        ]

    def services(self) -> list[str]:
        """Names of services that have sent spans."""
        return sorted(self._get("services", {}) or ())

    def traces(self, operation: str = "", **tags: str) -> list[Trace]:
        """Rookery's newest traces with a span of this name and these tags."""
        wanted: dict[str, str] = {"service": "rookery", "limit": str(LIMIT), "lookback": "1h"}
        if operation:
            wanted["operation"] = operation
        if tags:
            pairs = ", ".join(f'"{name.replace("__", ".")}": "{value}"' for name, value in tags.items())
            wanted["tags"] = f"{{{pairs}}}"
        return [Trace(data) for data in self._get("traces", wanted) or ()]

    def wait_for(self, find: Callable[[Self], Trace | None]) -> Trace:
        """Wait until `find` returns a trace. Each process sends its spans about a second after they end."""
        deadline = time.monotonic() + SECONDS
        while (found := find(self)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError("Jaeger still has only\n\n" + "\n\n".join(map(str, self.traces())))
            time.sleep(POLL_SECONDS)
        return found

    def _get(self, path: str, query: Mapping[str, str]) -> Any:
        response = httpx.get(f"{self.url}/api/{path}", params=query, timeout=SECONDS)
        return response.raise_for_status().json()["data"]


def _span(data: Mapping[str, Any], processes: Mapping[str, Any]) -> Span:
    process = processes[data["processID"]]
    parents = [each["spanID"] for each in data["references"] if each["refType"] == "CHILD_OF"]
    return Span(
        name=data["operationName"],
        span_id=data["spanID"],
        parent_id=parents[0] if parents else "",
        start_us=data["startTime"],
        duration_us=data["duration"],
        tags=_tags(data["tags"]),
        process={"service": process["serviceName"], **_tags(process["tags"])},
    )


def _tags(data: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in data}
