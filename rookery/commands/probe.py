"""`rookery probe`: asks a process for its health, as the health checks of containers do."""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import click

from rookery.commands.errors import InvalidSettings
from shared.net.pem import UnusableCertificate
from shared.net.trust import client_context, trust, trust_itself

DEADLINE = 4.0
"""Seconds. A report's own checks take 2 at most."""


def ask(url: str, ca_file: Path | None = None) -> int:
    """Print what is wrong, if something is; the exit status: 0 if all is well. Raises InvalidSettings."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("must begin with http:// or https://", param_hint="URL")
    tls = _trust(ca_file) if url.startswith("https://") else None
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE, context=tls):  # noqa: S310 - the scheme was looked at
            return 0
    except urllib.error.HTTPError as error:
        click.echo(_explain(error.read()) or f"it answers with status {error.code}")
    except (OSError, ValueError) as error:
        click.echo(f"it does not answer: {error}")
    return 1


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """Whom: who is in the file, else who has the certificate of the settings, else whom the system trusts."""
    from rookery.commands.options import read_settings  # here, as most probes have no use for them

    context, settings = client_context("http/1.1"), read_settings().tls
    try:
        if ca_file is None and settings.certificate_file is not None:
            trust_itself(context, settings)
        else:
            trust(context, ca_file)
    except UnusableCertificate as error:
        raise InvalidSettings(str(error)) from error
    return context


def _explain(body: bytes) -> str:
    """The checks that failed, as the report has them; nothing if it is none."""
    try:
        checks = json.loads(body)["checks"]
        return "\n".join(f"{check['name']}: {check['reason']}" for check in checks if not check["ok"])
    except (ValueError, KeyError, TypeError):
        return ""
