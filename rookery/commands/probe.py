"""`rookery probe`: requests the health of a process, for health checks of containers."""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rookery.commands.errors import InvalidSettings
from shared.net.pem import UnusableCertificate
from shared.net.trust import client_context, trust, trust_itself

if TYPE_CHECKING:
    from shared.settings import TlsSettings

DEADLINE = 4.0
"""Seconds. The checks of a report take 2 at most."""


def check_health(url: str, ca_file: Path | None = None) -> int:
    """Print the failed checks and return the exit status: 0 if none failed. Raises InvalidSettings."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("must begin with http:// or https://", param_hint="URL")
    tls = _trust(ca_file) if url.startswith("https://") else None
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE, context=tls):  # noqa: S310 - the scheme is checked above
            return 0
    except urllib.error.HTTPError as error:
        click.echo(_explain(error.read()) or f"it responds with status {error.code}")
    except (OSError, ValueError) as error:
        click.echo(f"it does not respond: {error}")
    return 1


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """Trust the CAs of the file; without it the certificate of the settings; without one the CAs of the system."""
    context = client_context("http/1.1")
    settings = _tls_settings() if ca_file is None else None
    try:
        if settings is not None and settings.certificate_file is not None:
            trust_itself(context, settings)
        else:
            trust(context, ca_file)
    except UnusableCertificate as error:
        raise InvalidSettings(str(error)) from error
    return context


def _tls_settings() -> "TlsSettings | None":
    """The settings of the process on this machine; None if only the client is installed, which has no settings."""
    try:
        from rookery.commands.options import read_settings  # imported here because most probes do not need the settings
    except ModuleNotFoundError:
        return None
    return read_settings().tls


def _explain(body: bytes) -> str:
    """The failed checks of a report, one per line; empty if the body is no report."""
    try:
        checks = json.loads(body)["checks"]
        return "\n".join(f"{check['name']}: {check['reason']}" for check in checks if not check["ok"])
    except (ValueError, KeyError, TypeError):
        return ""
