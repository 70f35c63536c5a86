"""The facts in a certificate file, and when to warn of its expiry."""

import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from shared.net.pem import explain_errors, first_certificate

WARN_SECONDS = 14 * 86_400.0
WARN_SHARE = 0.2
"""Warnings start in the last fifth of a certificate's life, at most 14 days before its expiry. Authorities advise to
renew with a third left, so by then renewal has failed for a while."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The facts of one certificate. Times are in seconds since 1970."""

    serial: str
    """In hexadecimal, as openssl prints it."""
    names: tuple[str, ...]
    """Host names and addresses."""
    not_before: float
    not_after: float

    @property
    def warn_from(self) -> float:
        """Time of the first warning of its expiry."""
        return self.not_after - min(WARN_SECONDS, WARN_SHARE * (self.not_after - self.not_before))

    @property
    def expiry(self) -> str:
        """`not_after` as text, such as 2026-11-28T14:00:00Z."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.not_after))


_MALFORMED = (x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)
"""Raised for malformed certificates, besides ValueError."""


def read_certificate(file: Path) -> Certificate:
    """Read the file's first certificate. Raises UnusableCertificate."""
    with explain_errors(file):
        try:
            certificate = x509.load_pem_x509_certificate(first_certificate(file).encode())
            return Certificate(
                serial=f"{certificate.serial_number:X}",
                names=_names(certificate),
                not_before=certificate.not_valid_before_utc.timestamp(),
                not_after=certificate.not_valid_after_utc.timestamp(),
            )
        except _MALFORMED as error:
            raise ValueError(str(error)) from error


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)
