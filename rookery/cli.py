"""The command `rookery`. Each command imports what it needs when it runs, so that `rookery --help` answers at once."""

import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.settings import Settings

SERVER = "http://127.0.0.1:8080"
"""Where `rookery up` serves HTTP by default."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rookery", message="%(prog)s %(version)s")
def main() -> None:
    """Rookery: a chat platform that a team runs itself.

    Settings come from the environment (such as ROOKERY_DATA, the data folder), then rookery.toml, then defaults.
    """


@main.command()
def up() -> None:
    """Start the whole platform in one process, until Ctrl-C or SIGTERM."""
    settings = _settings()
    from rookery import up as platform

    sys.exit(_run(platform.run, settings))


@main.command()
@click.argument("name")
@click.option("--url", default=SERVER, show_default=True, help="Where the HTTP API is.")
@click.option("--with", "other", metavar="NAME", help="Whom to write to; /with NAME changes it.")
@click.option("--register", is_flag=True, help="Make the account first.")
@click.option("--password-file", type=click.File(), help="Read the password from here instead of asking for it.")
def chat(name: str, url: str, other: str | None, register: bool, password_file: Any) -> None:
    """Chat in the terminal, or in a pipe, as NAME."""
    from rookery.terminal import run_chat

    password = _password(password_file, confirm=register)
    sys.exit(_run(run_chat, url, name, password, other, register))


@main.group()
def user() -> None:
    """Accounts in the data folder."""


@user.command("add")
@click.argument("name")
@click.option("--display-name", help="What others see; the name if not given.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def add_user(name: str, display_name: str | None, password_stdin: bool) -> None:
    """Make the account NAME, whether Rookery is running or not."""
    from rookery.accounts import add_account

    settings = _settings()
    password = _password(sys.stdin if password_stdin else None, confirm=True)
    made = _run(add_account, settings, name, password, display_name)
    click.echo(f"{made.name} is user {made.user_id}")


@main.group()
def config() -> None:
    """Live configuration: what may change while Rookery runs."""


@config.command("list")
def list_configuration() -> None:
    """Show every key: its value, whether it was set, its bounds, and what it is for."""
    from rookery import configuration

    _run(configuration.list_values, _settings())


@config.command("get")
@click.argument("key")
def get_configuration(key: str) -> None:
    """Show the value of KEY that holds now."""
    from rookery import configuration

    _run(configuration.get_value, _settings(), key)


@config.command("set")
@click.argument("key")
@click.argument("value")
def set_configuration(key: str, value: str) -> None:
    """Set KEY to VALUE. Running processes have it within a second."""
    from rookery import configuration

    _run(configuration.set_value, _settings(), key, value)


@config.command("unset")
@click.argument("key")
def unset_configuration(key: str) -> None:
    """Let the default of KEY hold again."""
    from rookery import configuration

    _run(configuration.unset_value, _settings(), key)


@config.command("watch")
def watch_configuration() -> None:
    """Show every change as it happens, until Ctrl-C."""
    from rookery import configuration

    _run(configuration.watch, _settings())


@main.command()
def doctor() -> None:
    """Check this set-up, and say what to do about what is wrong with it."""
    from rookery.doctor import examine

    sys.exit(_run(examine))


@main.command()
@click.option("--url", default=SERVER, show_default=True, help="Where the HTTP API is.")
@click.option("--users", default=200, show_default=True, help="An even number: they write to each other in pairs.")
@click.option("--transport", type=click.Choice(["websocket", "grpc"]), default="websocket", show_default=True)
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Messages a second, together.  [default: 500]")
@click.option("--saturate", is_flag=True, help="Instead of a rate: send as fast as answers come.")
@click.option(
    "--in-flight", type=click.IntRange(1, 64), default=1, show_default=True, help="Of each user, to saturate."
)
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=20.0, show_default=True)
@click.option("--warm-up", type=click.FloatRange(0), default=2.0, show_default=True, help="Seconds before those.")
@click.option("--bytes", "size", type=click.IntRange(1, 500_000), default=256, show_default=True, help="Of each text.")
@click.option(
    "--idle",
    type=click.IntRange(0, 20_000),
    default=0,
    help="Idle sessions to open first, to see what memory one takes in a server that was just started.",
)
@click.option("--server-pid", type=click.IntRange(1), help="The server's process, if its port does not tell.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Make the users straight in this data folder, rather than over HTTP, where each costs a slow hash.",
)
@click.option("--i-own-this-server", "anywhere", is_flag=True, help="Allow a server on another machine.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def load(rate: float | None, saturate: bool, data: Path | None, as_json: bool, **options: Any) -> None:
    """Load a running Rookery with pairs of users, and measure what it does."""
    from rookery.folder import DataFolder
    from rookery.load.report import show
    from rookery.load.run import Plan, run

    if saturate and rate is not None:
        raise click.UsageError("--rate and --saturate exclude each other")
    accounts_file = DataFolder(data).accounts if data else None
    plan = Plan(rate=None if saturate else rate or 500.0, accounts_file=accounts_file, **options)
    click.echo(show(_run(run, plan), as_json=as_json))


def _settings() -> "Settings":
    from rookery.options import read_settings

    return read_settings()


def _password(file: Any, *, confirm: bool) -> str:
    """The first line of the file, or what someone types."""
    if file is not None:
        return str(file.readline()).rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))


def _run(work: "Callable[..., Awaitable[Any]]", *arguments: object) -> Any:
    """Run it on Trio. What a person can do something about becomes one sentence on stderr."""
    import trio

    from rookery.client.errors import RookeryError
    from rookery.load.sessions import LoadError
    from shared.configuration.protocol import InvalidConfiguration
    from shared.errors import Unavailable

    try:
        return trio.run(work, *arguments)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        sys.exit(INTERRUPTED)
    except (InvalidConfiguration, LoadError, OSError, RookeryError, Unavailable, sqlite3.Error) as error:
        raise click.ClickException(str(error)) from error
