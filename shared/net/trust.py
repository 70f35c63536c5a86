"""TLS contexts of clients: whether they trust an authority or exactly one certificate, and their own certificate."""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from shared.net.pem import explain_errors, first_certificate, load_authorities, load_pair

if TYPE_CHECKING:
    from shared.settings import TlsSettings  # for its type only: `rookery.client` loads no settings

Alpn = Literal["h2", "http/1.1"]
"""A protocol over TLS, by its name in ALPN (RFC 7301)."""

_NO_CHECK_TIME: Final = 0x20_0000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name."""


def client_context(alpn: Alpn) -> ssl.SSLContext:
    """Return a context that verifies certificates and host names, and trusts no authority yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([alpn])
    return context


def trust(context: ssl.SSLContext, ca_file: Path | None) -> None:
    """Trust the authorities in the file; without one, the system's, or the authorities in the file that the
    variable SSL_CERT_FILE names. Raises UnusableCertificate."""
    if ca_file is None:
        context.load_default_certs()
    else:
        load_authorities(context, ca_file)


def trust_archives(context: ssl.SSLContext, settings: "TlsSettings") -> None:
    """Trust archives and gateways of other processes by the settings' `ca_file`. Raises UnusableCertificate."""
    trust(context, settings.ca_file)
    _load_client_certificate(context, settings)


def trust_itself(context: ssl.SSLContext, settings: "TlsSettings") -> None:
    """Trust as `trust_own_certificate` does, and show the client certificate of the settings. For health checks of a
    process on its machine. Raises UnusableCertificate."""
    trust_own_certificate(context, settings)
    _load_client_certificate(context, settings)


def trust_own_certificate(context: ssl.SSLContext, settings: "TlsSettings") -> None:
    """Trust only the certificate in the settings, for any host name, even after its expiry. Raises UnusableCertificate.

    An exact certificate is a stronger check than a name; and its expiry must not break calls within the process.
    """
    if settings.certificate_file is None:
        raise ValueError("there is no certificate in the settings")
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    with explain_errors(settings.certificate_file):
        context.load_verify_locations(cadata=first_certificate(settings.certificate_file))


def _load_client_certificate(context: ssl.SSLContext, settings: "TlsSettings") -> None:
    """Load the certificate for servers that request one."""
    if settings.client_certificate_file is not None:
        load_pair(context, settings.client_certificate_file, settings.client_key_file)
    elif settings.certificate_file is not None:
        load_pair(context, settings.certificate_file, settings.key_file)
