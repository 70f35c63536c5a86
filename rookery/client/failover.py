"""Several BFFs for one client: it asks the one that it asked last, and the next one when that does not answer."""

from collections.abc import Sequence
from contextlib import suppress

import httpx

MAX_CONNECT_SECONDS = 2.0
"""For a connection, if there is another BFF to try."""

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
"""What is raised before anything was sent."""


class Failover(httpx.AsyncBaseTransport):
    """A transport for `open_client` and `open_api`, which need not know which BFF is up.

    A request that could not be sent goes to the next BFF, until all were tried; so does one that only reads and was not
    answered. Another that was sent and not answered is not repeated, as it may have been done; but the next request
    goes elsewhere.
    """

    def __init__(
        self, urls: Sequence[str], first: int = 0, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Start with `urls[first]`, so that clients spread. A `transport` replaces how each is asked, such as one that
        trusts other authorities."""
        self._urls = [httpx.URL(url) for url in urls]
        self._current = first % len(self._urls)
        self._transport = transport or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if len(self._urls) > 1:
            timeout = request.extensions.get("timeout", {})
            request.extensions["timeout"] = timeout | {"connect": MAX_CONNECT_SECONDS}
        for _ in self._urls[1:]:
            with suppress(*([httpx.TransportError] if request.method == "GET" else NOT_SENT)):
                return await self._ask(request)
        return await self._ask(request)

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        target = self._urls[self._current]
        request.url = request.url.copy_with(scheme=target.scheme, host=target.host, port=target.port)
        request.headers["Host"] = target.netloc.decode("ascii")
        try:
            return await self._transport.handle_async_request(request)
        except httpx.TransportError:
            self._current = (self._current + 1) % len(self._urls)
            raise

    async def aclose(self) -> None:
        await self._transport.aclose()
