"""OpenSearch with one node in one JVM, for logs."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tools.engines.install import need_program, run_quietly
from tools.engines.java import JavaEngine

MAIN = "OpenSearchNode"

SECONDS = 120.0
"""Seconds for one response; only ends a test that has failed."""


class OpenSearch(JavaEngine):
    """Without plugins and security."""

    name = "opensearch"
    inner_ports = ("transport_port",)
    request = b"GET /_cluster/health?wait_for_status=yellow&timeout=1s HTTP/1.0\r\n\r\n"
    reply = re.compile(rb"HTTP/1\.\d 200 ")

    @classmethod
    def source(cls) -> Path:
        return Path(__file__).with_name(cls.name)

    @classmethod
    def prepare(cls) -> None:
        """Build a jar of the program that starts a node."""
        need_program("javac", "default-jdk-headless")
        lib = cls.installed() / "lib"
        with tempfile.TemporaryDirectory() as classes:
            source = str(cls.source() / f"{MAIN}.java")
            run_quietly(["javac", "-cp", f"{lib}/*", "-d", classes, source], f"javac can't compile {source}")
            run_quietly(["jar", "--create", "--file", f"{lib}/{MAIN}.jar", "-C", classes, "."], "jar can't make a jar")

    def command(self, ports: dict[str, int]) -> list[str]:
        return self.server(MAIN, self.home, ports["port"], ports["transport_port"])

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to its API; return the response. Raises httpx.HTTPStatusError."""
        answer = httpx.request(method, f"{self.url}/{path}", json=body, timeout=SECONDS)
        result: dict[str, Any] = answer.raise_for_status().json()
        return result

    def search(self, index: str, query: Mapping[str, Any], **more: Any) -> list[dict[str, Any]]:
        """Matching documents, 1,000 at most, the newest included."""
        self.ask("POST", f"{index}/_refresh")
        found = self.ask("POST", f"{index}/_search", {"size": 1_000, "query": query, **more})
        return [hit["_source"] for hit in found["hits"]["hits"]]
