"""`rookery probe`: asks a process for its health, as the health checks of containers do."""

import json
import urllib.error
import urllib.request

import click

DEADLINE = 4.0
"""Seconds. A report's own checks take 2 at most."""


def ask(url: str) -> int:
    """Print what is wrong, if something is; the exit status: 0 if all is well."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("must begin with http:// or https://", param_hint="URL")
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE):  # noqa: S310 - the scheme was looked at
            return 0
    except urllib.error.HTTPError as error:
        click.echo(_explain(error.read()) or f"it answers with status {error.code}")
    except (OSError, ValueError) as error:
        click.echo(f"it does not answer: {error}")
    return 1


def _explain(body: bytes) -> str:
    """The checks that failed, as the report has them; nothing if it is none."""
    try:
        checks = json.loads(body)["checks"]
        return "\n".join(f"{check['name']}: {check['reason']}" for check in checks if not check["ok"])
    except (ValueError, KeyError, TypeError):
        return ""
