"""TLS for the transports' tests."""

import ssl

import pytest
import trustme

from tests.messaging.gateway.browsers import Tls


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> Tls:
    """The contexts of a server, and of clients that trust it."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    server.set_alpn_protocols(["http/1.1"])
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return Tls(server, client)
