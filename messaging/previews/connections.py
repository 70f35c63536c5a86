"""Connections to servers that anybody names: to public addresses only, or through the operator's proxy.

It connects to the address that it has checked: another address that the name has a moment later does not matter.
"""

import ssl
from base64 import b64encode
from collections.abc import Collection
from contextlib import suppress
from ipaddress import ip_address

import h11
import httpx
import trio

from messaging.previews.addresses import may_connect
from messaging.previews.hosts import HOST_PAGES, HOST_SECONDS, Hosts
from shared.net.client_address import Network

PORTS = {"http": 80, "https": 443}

MAX_URL_BYTES = 2_048

MAX_ADDRESSES = 3
"""Addresses of one name that are tried."""

MAX_HEADER_BYTES = 64 << 10
"""Most bytes of the headers of one response."""

READ_BYTES = 64 << 10


class Refused(Exception):
    """The URL may not be fetched, its server does not answer, or its response has no preview."""


class Connector:
    """Opens connections."""

    def __init__(self, proxy: str = "", allowed: Collection[Network] = (), tls: ssl.SSLContext | None = None) -> None:
        """`tls` is for certificates; by default the system's authorities are trusted."""
        self._proxy = httpx.URL(proxy) if proxy else None
        self._allowed = allowed
        self._tls = tls or ssl.create_default_context()
        self._hosts = Hosts()

    def checked(self, url: str) -> httpx.URL:
        """The URL, if it may be fetched. Raises Refused."""
        if len(url.encode(errors="replace")) > MAX_URL_BYTES:
            raise Refused(f"a URL of more than {MAX_URL_BYTES} bytes")
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise Refused(f"no URL: {error}") from error
        if target.scheme not in PORTS or not target.host or target.userinfo:
            raise Refused("only http and https, and no user")
        if target.port not in (None, *PORTS.values()):
            raise Refused("only the ports 80 and 443")
        with suppress(ValueError):  # a name
            self._check_addresses([target.host])  # a proxy would connect to it
        return target

    def followed(self, page: httpx.URL, location: str) -> httpx.URL:
        """The checked URL of a location to which a page leads, by a redirect or as its picture. Many sites may lead to
        one host, so it has a limit here. Raises Refused."""
        target = self.checked(str(page.join(location)))
        if target.host != page.host and not self._hosts.take(target.host):
            raise Refused(f"{target.host} was asked {HOST_PAGES} times in {HOST_SECONDS:g} seconds")
        return target

    def _check_addresses(self, addresses: Collection[str]) -> None:
        """Raise Refused unless all addresses may be connected to, and ValueError for a text that is no address."""
        if not all(may_connect(ip_address(address), self._allowed) for address in addresses):
            raise Refused(f"not public: {', '.join(addresses)}")

    async def connect(self, url: httpx.URL) -> "Connection":
        """Connect to the server of a checked URL. Raises Refused, and OSError, ssl's and Trio's errors of a stream."""
        name, port = url.raw_host.decode("ascii"), url.port or PORTS[url.scheme]
        if self._proxy is None:
            stream: trio.abc.Stream = await self._connect_to(name, port)
        else:
            stream = await trio.open_tcp_stream(self._proxy.host, self._proxy.port or PORTS["http"])
        try:
            if url.scheme == "https":
                if self._proxy is not None:
                    await _tunnel(stream, f"{_bracketed(name)}:{port}", self._proxy_headers())
                secured = trio.SSLStream(stream, self._tls, server_hostname=name, https_compatible=True)
                await secured.do_handshake()
                return Connection(secured)
            if self._proxy is not None:
                return Connection(stream, str(url.copy_with(fragment=None)).encode("ascii"), self._proxy_headers())
        except BaseException:  # only to close it: raised again
            await trio.aclose_forcefully(stream)
            raise
        return Connection(stream)

    async def _connect_to(self, name: str, port: int) -> trio.SocketStream:
        """Connect to one of the addresses of a name, all of which must be public."""
        found = await trio.socket.getaddrinfo(name, port, type=trio.socket.SOCK_STREAM)
        addresses = [*dict.fromkeys(str(place[0]) for *_, place in found)]
        self._check_addresses(addresses)
        failure: OSError = OSError("no address")
        for address in addresses[:MAX_ADDRESSES]:
            try:
                return await trio.open_tcp_stream(address, port)
            except OSError as error:
                failure = error
        raise failure

    def _proxy_headers(self) -> list[tuple[str, str]]:
        if self._proxy is None or not self._proxy.userinfo:
            return []
        user = f"{self._proxy.username}:{self._proxy.password}".encode()
        return [("Proxy-Authorization", f"Basic {b64encode(user).decode()}")]


class Connection:
    """A connection for one request."""

    def __init__(self, stream: trio.abc.Stream, target: bytes = b"", headers: Collection[tuple[str, str]] = ()) -> None:
        """`target` and `headers` are added to requests that a proxy forwards."""
        self.stream = stream
        self._target = target
        self._headers = headers
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)

    async def request(self, url: httpx.URL, headers: Collection[tuple[str, str]]) -> h11.Response:
        """Send a GET, and return the head of the response. Raises h11.RemoteProtocolError."""
        host = ("Host", url.netloc.decode("ascii"))
        request = h11.Request(
            method="GET", target=self._target or url.raw_path, headers=[host, *headers, *self._headers]
        )
        return await _exchange(self.stream, self._http, request)

    async def chunk(self) -> bytes:
        """Return the next bytes of the body; nothing at its end. Raises h11.RemoteProtocolError."""
        event = await _next(self.stream, self._http)
        return bytes(event.data) if isinstance(event, h11.Data) else b""


async def _tunnel(stream: trio.abc.Stream, target: str, headers: Collection[tuple[str, str]]) -> None:
    """Let the proxy connect to the target. Raises Refused."""
    request = h11.Request(method="CONNECT", target=target, headers=[("Host", target), *headers])
    response = await _exchange(stream, h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES), request)
    if not 200 <= response.status_code < 300:
        raise Refused(f"the proxy answers with {response.status_code}")


async def _exchange(stream: trio.abc.Stream, http: h11.Connection, request: h11.Request) -> h11.Response:
    """Send a request without a body, and return the head of its response."""
    await stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    while True:
        event = await _next(stream, http)
        if isinstance(event, h11.Response):
            return event
        if not isinstance(event, h11.InformationalResponse):
            raise Refused("no response")


async def _next(stream: trio.abc.Stream, http: h11.Connection) -> object:
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(bytes(await stream.receive_some(READ_BYTES)))
    return event


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
