"""Issue certificates of a private authority into files, as settings name them."""

import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

import trustme

from shared.settings import TlsSettings
from tools.launch.process import port_of

HOSTS = ("127.0.0.1", "localhost")

CONNECT_SECONDS = 60.0
"""Only ends a test that has failed."""


class Authority:
    """A certificate authority whose certificates are files of one folder. Its own certificate is `file`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "authority.pem"
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str = "server", *hosts: str, ends: float = 4e9, begins: float | None = None) -> "Issued":
        """Issue a certificate for hosts, by default HOSTS, into files of this name; replace their content.

        Times are in seconds since 1970."""
        leaf = self._authority.issue_cert(
            *(hosts or HOSTS),
            not_after=datetime.fromtimestamp(ends, UTC),
            not_before=None if begins is None else datetime.fromtimestamp(begins, UTC),
        )
        issued = Issued(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        issued.key.parent.mkdir(exist_ok=True)
        issued.replace(b"".join(pem.bytes() for pem in leaf.cert_chain_pems), leaf.private_key_pem.bytes())
        return issued

    def trusting(self, *alpn: str) -> ssl.SSLContext:
        """Context of a client that trusts only this authority, and offers these ALPN protocols."""
        context = ssl.create_default_context(cafile=self.file)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def certificate_at(self, address: str) -> bytes | None:
        """The certificate, in DER, that a new connection to a local listener gets."""
        with (
            socket.create_connection(("127.0.0.1", port_of(address)), CONNECT_SECONDS) as plain,
            self.trusting("h2", "http/1.1").wrap_socket(plain, server_hostname="localhost") as stream,
        ):
            return stream.getpeercert(True)


class Issued:
    """Files of a certificate chain and its key."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        self.key = key
        self._files = {"certificate_file": certificate, "key_file": key}

    def replace(self, certificate: bytes, key: bytes) -> None:
        """Replace both files, each atomically, as renewal tools do."""
        for file, content in ((self.key, key), (self.certificate, certificate)):
            new = file.with_suffix(".new")
            new.write_bytes(content)
            new.replace(file)

    @property
    def newest(self) -> bytes:
        """The certificate in the file now, in DER, as `getpeercert(True)` returns it."""
        first, end, _ = self.certificate.read_text().partition("-----END CERTIFICATE-----")
        return ssl.PEM_cert_to_DER_cert(first + end)

    def settings(self, **others: object) -> TlsSettings:
        return TlsSettings.model_validate(self._files | others)

    def environment(self, **others: Path) -> dict[str, str]:
        """The settings as environment variables."""
        return {f"ROOKERY_TLS__{name.upper()}": str(file) for name, file in (self._files | others).items()}
