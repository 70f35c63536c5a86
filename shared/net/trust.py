"""Whom a client trusts over TLS: an authority, or exactly one certificate; and what it shows of itself."""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from shared.net.pem import explain_errors, first_certificate, load_authorities, load_pair

if TYPE_CHECKING:
    from shared.settings import TlsSettings  # only for its type: commands that are clients have no settings to read

Alpn = Literal["h2", "http/1.1"]
"""What is spoken over TLS, by its name in RFC 7301."""

_NO_CHECK_TIME: Final = 0x20_0000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name."""


def client_context(alpn: Alpn) -> ssl.SSLContext:
    """One that trusts nobody yet. It checks certificates and their names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([alpn])
    return context


def trust(context: ssl.SSLContext, ca_file: Path | None) -> None:
    """Trust the authorities in the file; without one, those that the system trusts, or those in the file that the
    environment's SSL_CERT_FILE names. Raises UnusableCertificate."""
    if ca_file is None:
        context.load_default_certs()
    else:
        load_authorities(context, ca_file)


def trust_archives(context: ssl.SSLContext, settings: "TlsSettings") -> None:
    """Trust archives of other processes, as the settings have it. Raises UnusableCertificate."""
    trust(context, settings.ca_file)
    _show_certificate(context, settings)


def trust_itself(context: ssl.SSLContext, settings: "TlsSettings") -> None:
    """Trust nobody but a process with the settings' own certificate, by whatever name. Raises UnusableCertificate.

    This is for calls within one process and for health checks beside it. That exactly this certificate is shown says
    more than a name; and one that has ended must not end what is inside.
    """
    if settings.certificate_file is None:
        raise ValueError("there is no certificate in the settings")
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    with explain_errors(settings.certificate_file):
        context.load_verify_locations(cadata=first_certificate(settings.certificate_file))
    _show_certificate(context, settings)


def _show_certificate(context: ssl.SSLContext, settings: "TlsSettings") -> None:
    """Have something for servers that ask who we are."""
    if settings.client_certificate_file is not None:
        load_pair(context, settings.client_certificate_file, settings.client_key_file)
    elif settings.certificate_file is not None:
        load_pair(context, settings.certificate_file, settings.key_file)
