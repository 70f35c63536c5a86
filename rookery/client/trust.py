"""Whom the client trusts, when it is told to use TLS: a BFF by `https://`, a gateway by `wss://` or `grpcs://`."""

import ssl
from functools import cache
from pathlib import Path

from shared.net.trust import Alpn, client_context, trust


@cache
def trusted(ca_file: Path | None, alpn: Alpn) -> ssl.SSLContext:
    """Made once, as it takes some 20 ms: a file that changes later is not read again. Raises UnusableCertificate.

    One for each protocol, since httpx writes its own into the context that it is given.
    """
    context = client_context(alpn)
    trust(context, ca_file)
    return context
