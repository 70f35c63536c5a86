"""Commands that run the platform's processes, prepare their engines, and check their health."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rookery.commands.cli.common import ca_file_option, load_settings, run
from rookery.commands.errors import InvalidSettings

if TYPE_CHECKING:
    from rookery.serve.platform import Role
    from shared.settings import Settings


@click.command()
@click.option(
    "--engines",
    metavar="NAMES",
    help="Comma-separated engines (kafka, cassandra, redis) to use instead of the embedded ones. Other commands need "
    "the same in ROOKERY_ENGINES.",
)
def up(engines: str | None) -> None:
    """Start the whole platform in one process, until Ctrl-C or SIGTERM."""
    settings = load_settings() if engines is None else load_settings(engines=engines)
    from rookery.serve.platform import open_up
    from rookery.serve.process import serve

    sys.exit(run(serve, settings, "up", open_up(settings)))


@click.command()
def bff() -> None:
    """Start one BFF process, which serves the HTTP API and the page."""
    _serve_role("bff")


@click.command()
def gateway() -> None:
    """Start one gateway process, which holds the sessions."""
    _serve_role("gateway")


@click.command()
def archive() -> None:
    """Start one archive process, which stores the history."""
    _serve_role("archive")


@click.command()
@click.option(
    "--last",
    "is_last",
    is_flag=True,
    help="No process of the former release runs any more: convert its rows for the last time. Without it, each run in "
    "the week after an upgrade reads all chats.",
)
def migrate(*, is_last: bool) -> None:
    """Create the topics and tables in the engines. Run it before the first start, before each upgrade, and after it."""
    from rookery.serve.migrate import migrate_engines

    done = run(partial(migrate_engines, is_last=is_last), load_settings())
    for line in done or ["nothing to do: ROOKERY_ENGINES names neither kafka nor cassandra"]:
        click.echo(line)


@click.command()
@click.argument("url")
@ca_file_option
def probe(url: str, ca_file: Path | None) -> None:
    """Check the health of a process, such as at http://127.0.0.1:8080/readyz. The exit status is 0 if it is healthy.

    For https:// without --ca-file, if the settings name a certificate, the server must present that certificate. So a
    health check on the same machine does not need a host name of the certificate.
    """
    from rookery.commands.probe import check_health

    sys.exit(check_health(url, ca_file))


def _serve_role(role: "Role") -> None:
    settings = _distributed_settings()
    from rookery.serve.platform import open_platform
    from rookery.serve.process import serve

    sys.exit(run(serve, settings, role, open_platform(settings, [role])))


def _distributed_settings() -> "Settings":
    """Load the settings of a process that shares its engines with others. Raises InvalidSettings."""
    from typing import get_args

    from shared.settings import Engine

    settings = load_settings()
    if missing := [engine for engine in get_args(Engine) if engine not in settings.engines]:
        raise InvalidSettings(
            f"a platform of many processes needs {', '.join(missing)} too: the setting `engines` (ROOKERY_ENGINES) "
            f"must be {','.join(get_args(Engine))}"
        )
    return settings


COMMANDS = (up, bff, gateway, archive, migrate, probe)
