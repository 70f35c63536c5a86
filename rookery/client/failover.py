"""Failover between several BFFs: requests go to one BFF until it does not answer, then to the next."""

from collections.abc import Sequence
from contextlib import suppress

import httpx

MAX_CONNECT_SECONDS = 2.0
"""Seconds to connect, if there is another BFF to try."""

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
"""Exceptions that are raised before the request is sent."""


class Failover(httpx.AsyncBaseTransport):
    """A transport for `open_client` and `open_api`.

    A request that could not be sent goes to the next BFF, until all were tried; so does a GET without an answer.
    Another request without an answer is not repeated, as the BFF may have done it; the next one goes to the next BFF.
    """

    def __init__(
        self, urls: Sequence[str], first: int = 0, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Start with `urls[first]`, which spreads clients. `transport` carries the requests, for instance with TLS."""
        self._urls = [httpx.URL(url) for url in urls]
        self._current = first % len(self._urls)
        self._transport = transport or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if len(self._urls) > 1:
            timeout = request.extensions.get("timeout", {})
            request.extensions["timeout"] = timeout | {"connect": MAX_CONNECT_SECONDS}
        first, count = self._current, len(self._urls)
        *others, last = ((first + number) % count for number in range(count))
        for index in others:
            with suppress(*([httpx.TransportError] if request.method == "GET" else NOT_SENT)):
                return await self._forward(request, index)
        return await self._forward(request, last)

    async def _forward(self, request: httpx.Request, index: int) -> httpx.Response:
        target = self._urls[index]
        request.url = request.url.copy_with(scheme=target.scheme, host=target.host, port=target.port)
        request.headers["Host"] = target.netloc.decode("ascii")
        try:
            return await self._transport.handle_async_request(request)
        except httpx.TransportError:
            if self._current == index:  # else another request that failed has moved it
                self._current = (index + 1) % len(self._urls)
            raise

    async def aclose(self) -> None:
        await self._transport.aclose()
