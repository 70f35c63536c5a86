"""What a certificate says of itself, and from when on its end is near."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from shared.net.pem import explain_errors, first_certificate

WARN_SECONDS = 14 * 86_400.0
WARN_SHARE = 0.2
"""Its end is near in the last fifth of its life, of at most 14 days. Authorities advise to renew with a third left, so
that by then whatever renews it has failed for a while."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was read of one. Times are in seconds since 1970."""

    serial: str
    """In hexadecimal, as openssl has it."""
    names: tuple[str, ...]
    """Of hosts, and their addresses."""
    not_before: float
    not_after: float

    @property
    def near_end(self) -> float:
        """From when on its end is near."""
        return self.not_after - min(WARN_SECONDS, WARN_SHARE * (self.not_after - self.not_before))


_MALFORMED = (x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)
"""What is raised for certificates that none may be, beside ValueError."""


def read_certificate(file: Path) -> Certificate:
    """What the file's first certificate says. Raises UnusableCertificate."""
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
