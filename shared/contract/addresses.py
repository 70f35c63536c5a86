"""Addresses of gRPC servers, in settings and in the gateway addresses that clients receive."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

SECURE = "grpcs://"

_TARGET = re.compile(r"(?P<host>\[[^\]]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class GrpcAddress:
    """The address of a gRPC server: `host:port`, or `grpcs://host:port` with TLS."""

    host: str
    """A name or an address; an IPv6 address without brackets."""
    port: int
    is_secure: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError if the text is not such an address."""
        match = _TARGET.fullmatch(text.removeprefix(SECURE))
        if match is None or int(match["port"]) > 65535 or not _is_host(match["host"]):
            raise ValueError(f"{text!r} is not a host and a port, such as chat.example.org:443 or {SECURE}…")
        return cls(match["host"].strip("[]"), int(match["port"]), text.startswith(SECURE))

    @property
    def target(self) -> str:
        """The host and the port, without the scheme."""
        return join_host_port(self.host, self.port)


def join_host_port(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def connectable_host(host: str) -> str:
    """A host to connect to: loopback for a host that stands for all of this machine's addresses. An IPv6 address is in
    brackets."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound


def _is_host(text: str) -> bool:
    """Whether the host has brackets only around an IPv6 address."""
    try:
        return not text.startswith("[") or bool(ipaddress.IPv6Address(text[1:-1]))
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host. Of names only `localhost` counts: others may resolve to any
    address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
