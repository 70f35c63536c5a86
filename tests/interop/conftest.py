"""Servers and certificates for the interop tests."""

from collections.abc import Iterator

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

from tests.interop.programs import Certificates, our_server, serving

ERRORS = ("rpc_call_failed", "rpc_connection_failed", "Traceback")
"""Marks of our server's own faults in its log."""


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of an authority for these tests."""
    folder = tmp_path_factory.mktemp("certificates")
    files = Certificates(folder / "ca.pem", folder / "ca.p12", folder / "server.pem", folder / "server.key")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(files.ca)
    trusted = pkcs12.PKCS12Certificate(x509.load_pem_x509_certificate(authority.cert_pem.bytes()), b"interop")
    files.trust_store.write_bytes(pkcs12.serialize_java_truststore([trusted], NoEncryption()))
    issued.private_key_pem.write_to_path(files.key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(files.certificate, append=True)
    return files


@pytest.fixture(scope="session")
def our_ports(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[dict[bool, int]]:
    """The ports of our servers, without TLS and with it. At the end, neither may have logged a fault."""
    logs = tmp_path_factory.mktemp("our-servers")
    with (
        serving(our_server(None), logs / "plain") as plain,
        serving(our_server(certificates), logs / "secure") as secure,
    ):
        yield {False: plain, True: secure}
    for log in logs.iterdir():
        found = [line for line in log.read_text().splitlines() if any(error in line for error in ERRORS)]
        assert not found, log.read_text()
