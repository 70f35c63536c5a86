"""Options that several commands share, their settings, and the call that runs their work on Trio."""

import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlsplit

import click

from rookery.commands.errors import InvalidSettings

if TYPE_CHECKING:
    from shared.settings import Settings

SERVER = "http://127.0.0.1:8080"
"""The default URL of the HTTP API of `rookery up`."""

INTERRUPTED = 130
"""The exit status after Ctrl-C, as in shells."""

ca_file_option = click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file with the CA certificates to trust for TLS.  [default: the system's]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print each item as one line of JSON.")

limit_option = click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)


def _check_url(_: click.Context, __: click.Parameter, url: str) -> str:
    with suppress(ValueError):  # raised for invalid brackets and ports
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return url
    raise click.BadParameter(f"it must be http:// or https:// and a host, such as {SERVER}")


url_option = click.option("--url", default=SERVER, show_default=True, callback=_check_url, help="URL of the HTTP API.")


def load_settings(**overrides: object) -> "Settings":
    """Load the settings, of which some may be overridden. Raises InvalidSettings."""
    from rookery.commands.options import read_settings

    return read_settings(**overrides)


def load_started() -> "Settings":
    """Load the settings of a platform that was started before, running or not.

    Raises InvalidSettings, or ClickException if an embedded database of these settings does not exist: a command must
    not create one beside the platform that it is meant for.
    """
    from rookery.commands.backup import missing_databases

    settings = load_settings()
    try:
        missing = missing_databases(settings)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    if missing:
        raise click.ClickException(
            f"Rookery was never started with these settings: the data folder {settings.data.absolute()} has no "
            f"{', '.join(missing)}. Set ROOKERY_DATA to the folder of the running one, and ROOKERY_ENGINES if it has "
            "other engines (`rookery up --engines`), or start it first"
        )
    return settings


def read_password(file: TextIO | None, *, confirm: bool) -> str:
    """Return the first line of the file; without a file, prompt for the password."""
    if file is not None:
        return file.readline().rstrip("\r\n")
    label = "New password (10 to 128 characters)" if confirm else "Password"
    return str(click.prompt(label, hide_input=True, confirmation_prompt=confirm, err=True))


def run(work: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    """Run work on the platform's own engines on Trio, and return its result. It needs the extra `server`.

    Raises ClickException, one sentence, for an error of the set-up.
    """
    from shared.backplane.sqlite.log import LogInUse
    from shared.configuration.protocol import InvalidConfiguration

    try:
        return _run(work, *arguments)
    except LogInUse as error:
        raise click.ClickException(f"{error}: stop it first, or set ROOKERY_DATA to another folder") from error
    except InvalidConfiguration as error:
        raise click.ClickException(str(error)) from error


def run_client(work: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    """Run work of a client like `run`, which loads no module of the client: they would double the time of a command."""
    from rookery.client.errors import RookeryError
    from rookery.load.sessions import LoadError

    try:
        return _run(work, *arguments)
    except (LoadError, RookeryError) as error:
        raise click.ClickException(str(error)) from error


def _run(work: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    import trio

    from shared.contract.errors import Unavailable, UnusableSetting
    from shared.net.pem import UnusableCertificate
    from shared.telemetry.logs import configure_logs

    configure_logs("warning", role="command")  # stdout is for the answer; a process that serves sets its own level
    try:
        return trio.run(work, *arguments)
    except (UnusableCertificate, UnusableSetting) as error:
        raise InvalidSettings(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BaseExceptionGroup as group:  # Ctrl-C inside nurseries
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        sys.exit(INTERRUPTED)
    except (OSError, Unavailable, sqlite3.Error) as error:
        raise click.ClickException(str(error)) from error
