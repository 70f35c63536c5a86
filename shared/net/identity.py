"""The client certificate with which a process calls its own listeners."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rookery: calls within one process")])
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280's date for a certificate without a known end."""


class ProcessIdentity:
    """A key and its self-signed certificate, made at the start for this process alone.

    With it, calls within the process depend on neither the expiry nor the issuer of the server certificate.
    """

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = (
            x509.CertificateBuilder(_NAME, _NAME, self._key.public_key(), x509.random_serial_number(), _BEGIN, _END)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self._key, SHA256())
        )

    def accept(self, server: ssl.SSLContext) -> None:
        """Make the server's context accept this identity of a client, besides its authorities."""
        server.load_verify_locations(cadata=self._certificate.public_bytes(Encoding.DER))

    def show(self, client: ssl.SSLContext) -> None:
        """Make the client's context show this identity to servers that request a certificate."""
        key = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with _path(self._certificate.public_bytes(Encoding.PEM)) as certificate_file, _path(key) as key_file:
            client.load_cert_chain(certificate_file, key_file)


@contextmanager
def _path(content: bytes) -> Iterator[str]:
    """Yield a path from which the content can be read once: `ssl` loads only files, and no disk may hold the key."""
    reading, writing = os.pipe()
    try:
        try:
            os.write(writing, content)  # does not block: a pipe takes at least 4 KiB
        finally:
            os.close(writing)
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)
