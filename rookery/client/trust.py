"""The TLS of the client: to a BFF at `https://`, to a gateway at `wss://` or `grpcs://`."""

import ssl
from functools import cache
from pathlib import Path

from shared.net.trust import Alpn, client_context, trust


@cache
def client_tls(ca_file: Path | None, alpn: Alpn) -> ssl.SSLContext:
    """Return the context that trusts the authorities in `ca_file`, or the system's. Raises UnusableCertificate.

    Cached, as loading takes some 20 ms: a file that changes later is not loaded again. One context for each protocol,
    since httpx writes its own into the context that it gets.
    """
    context = client_context(alpn)
    trust(context, ca_file)
    return context


@cache
def client_tls_elsewhere(ca_file: Path | None) -> ssl.SSLContext:
    """Return the context for a server of others, such as an object store: it trusts the system's authorities, and the
    ones in `ca_file`. Raises UnusableCertificate."""
    context = client_context("http/1.1")
    trust(context, None)
    trust(context, ca_file)
    return context
