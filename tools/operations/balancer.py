"""HAProxy, from Debian's package and with the configuration of the deployment, in front of a local cluster."""

import re
from pathlib import Path

import httpx

from tools.engines.engine import Engine, free_port
from tools.engines.install import install_lock, need_program
from tools.launch.certificates import Issued
from tools.launch.cluster import Cluster
from tools.launch.process import Process
from tools.toolchains import ROOT

CONFIGURATION = ROOT / "deploy/haproxy/haproxy.cfg"

DOMAIN = "chat.example.org"
"""Domain of the configuration; each gateway has a host name in it."""

SHORTENED = ("http-request", "http-keep-alive", "server")
"""Timeouts of plain HTTP that a test may shorten: sessions must not depend on them."""


class HaProxy(Engine):
    """It terminates TLS with a given certificate, and reports the state of its servers on `port`."""

    name = "haproxy"
    inner_ports = ("https", "http")
    request = b"GET /metrics HTTP/1.0\r\n\r\n"
    reply = re.compile(rb"HTTP/1\.\d 200 ")

    def __init__(
        self, home: Path, certificate: Issued, *, patience: int | None = None, per_address: int = 2000
    ) -> None:
        """`patience`: seconds of the timeouts in `SHORTENED`, instead of the configuration's. `per_address`: the most
        connections of an address."""
        super().__init__(home)
        self.servers: dict[str, str] = {}
        """Addresses by the names of the configuration; set before the start."""
        self._certificate = certificate
        self._patience = patience
        self._per_address = per_address

    @classmethod
    def install(cls) -> None:
        with install_lock():
            need_program("haproxy", "haproxy")

    @property
    def url(self) -> str:
        """URL of the page and the API."""
        return f"https://{DOMAIN}:{self._ports['https']}"

    @property
    def plain_url(self) -> str:
        """The same URL without TLS."""
        return f"http://{DOMAIN}:{self._ports['http']}"

    def choose_ports(self) -> None:
        """Reserve its ports before the start, for settings that name its addresses."""
        for name in ("port", *self.inner_ports):
            self._ports.setdefault(name, free_port())

    def public(self, gateway: Process) -> dict[str, str]:
        """Settings by which a gateway announces the balancer's addresses to clients."""
        host = f"{gateway.name}.{DOMAIN}:{self._ports['https']}"
        return {
            "ROOKERY_GATEWAY__PUBLIC_WEBSOCKET": f"wss://{host}/session",
            "ROOKERY_GATEWAY__PUBLIC_GRPC": f"grpcs://{host}",
        }

    def instead_of(self, other: "HaProxy", url: str) -> str:
        """A URL of another balancer, changed to this one."""
        return url.replace(f":{other._ports['https']}", f":{self._ports['https']}")

    def command(self, ports: dict[str, int]) -> list[str]:
        pem = self.home / "haproxy.pem"
        pem.write_bytes(self._certificate.certificate.read_bytes() + self._certificate.key.read_bytes())
        file = self.home / "haproxy.cfg"
        text = CONFIGURATION.read_text()
        if self._patience is not None:
            pattern = rf"(timeout (?:{'|'.join(SHORTENED)})) \d\ds"
            text, count = re.subn(pattern, rf"\1 {self._patience}s", text)
            assert count == len(SHORTENED)
        file.write_text(text)
        environment = {
            "MAXCONN": "2000",
            "MAXCONN_OF_ADDRESS": str(self._per_address),
            "CERTIFICATE": str(pem),
            "BIND_HTTPS": f"{self.host}:{ports['https']}",
            "BIND_HTTP": f"{self.host}:{ports['http']}",
            "BIND_METRICS": f"{self.host}:{ports['port']}",
            **self.servers,
        }
        return ["env", *(f"{name}={value}" for name, value in environment.items()), "haproxy", "-db", "-f", str(file)]

    def up(self, engine: str) -> list[str]:
        """Servers of a backend that receive requests now."""
        text = httpx.get(f"http://{self.address}/metrics", timeout=30).text
        labels = rf'proxy="{engine}",server="([^"]+)",state="UP"'
        return sorted(re.findall(rf"^haproxy_server_status\{{{labels}\}} 1$", text, re.MULTILINE))


def servers_of(cluster: Cluster) -> dict[str, str]:
    """Addresses of the cluster's processes, by the names of the configuration."""
    settings = {bff.name: (bff, {"": "BFF__PORT"}) for bff in cluster.bffs}
    ports = {"_WEBSOCKET": "GATEWAY__WEBSOCKET_PORT", "_GRPC": "GATEWAY__GRPC_PORT", "_HEALTH": "GATEWAY__HEALTH_PORT"}
    settings |= {gateway.name: (gateway, ports) for gateway in cluster.gateways}
    return {
        f"{name.upper().replace('-', '_')}{suffix}": ("" if suffix == "_HEALTH" else "127.0.0.1:")
        + process.environment[f"ROOKERY_{setting}"]
        for name, (process, names) in settings.items()
        for suffix, setting in names.items()
    }
