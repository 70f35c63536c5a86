"""Loads certificates and keys from PEM files; a file that can't be used is explained in words."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class UnusableCertificate(Exception):
    """A certificate or key file can't be used; the message names it and the reason. Correct it, or the setting."""


def load_pair(context: ssl.SSLContext, certificate_file: Path, key_file: Path | None) -> None:
    """Load a certificate and its key, which is in the same file if none is given. Raises UnusableCertificate."""
    key = key_file or certificate_file
    with explain_errors(*dict.fromkeys((certificate_file, key))):
        context.load_cert_chain(certificate_file, key, password=partial(_refuse_password, key))


def load_authorities(context: ssl.SSLContext, file: Path) -> None:
    """Make the context trust the authorities in the file. Raises UnusableCertificate."""
    with explain_errors(file):
        context.load_verify_locations(cafile=file)


def first_certificate(file: Path) -> str:
    """Return the first certificate in the file, which is the one sent to peers. Raises UnusableCertificate."""
    with explain_errors(file):
        match = _CERTIFICATE.search(file.read_text("latin-1"))  # which decodes the bytes of any comment
        if match is None:
            raise ValueError("there is no certificate in it")
        return match[0]


@contextmanager
def explain_errors(*files: Path) -> Iterator[None]:
    """Turn errors of the block into an UnusableCertificate that names the files."""
    names = " with ".join(map(str, files))
    try:
        yield
    except FileNotFoundError as error:
        missing = [str(file) for file in files if not file.exists()] or [names]
        raise UnusableCertificate(f"there is no file {' and no '.join(missing)}") from error
    except ssl.SSLError as error:
        raise UnusableCertificate(f"{names} can't be used: {_reason(error)}") from error
    except OSError as error:
        raise UnusableCertificate(f"{names} can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UnusableCertificate(f"{names} can't be used: it has no certificate as PEM") from error


def _reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason, or a clearer one where it is vague."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    if error.reason in (None, "NO_START_LINE", "NO_CERTIFICATE_OR_CRL_FOUND"):
        return "it is not PEM, or not of the right kind"
    return error.reason.replace("_", " ").lower()


def _refuse_password(file: Path) -> str:
    """Raise UnusableCertificate; without a callback OpenSSL would ask for the password on the terminal."""
    raise UnusableCertificate(f"{file} is protected by a password: Rookery needs the key without one")
