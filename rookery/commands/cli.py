"""The command `rookery`. Each command imports what it needs when it runs, so that `rookery --help` answers at once."""

import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rookery.commands.errors import CommandGroup, InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.settings import Settings

SERVER = "http://127.0.0.1:8080"
"""Where `rookery up` serves HTTP by default."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


ca_file_option = click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Who vouches for a server with TLS, as PEM.  [default: whom this system trusts]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print each as a line of JSON.")

limit_option = click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rookery", message="%(prog)s %(version)s")
def main() -> None:
    """Rookery: a chat platform that a team runs itself.

    Settings come from the environment (such as ROOKERY_DATA, the data folder), then rookery.toml, then defaults.
    """


@main.command()
@click.option(
    "--engines",
    metavar="NAMES",
    help="Of kafka, cassandra and redis those to use in place of the embedded engines, with commas between them.",
)
def up(engines: str | None) -> None:
    """Start the whole platform in one process, until Ctrl-C or SIGTERM."""
    settings = _settings() if engines is None else _settings(engines=engines)
    from rookery.serve.platform import open_up
    from rookery.serve.process import serve

    sys.exit(_run(serve, settings, "up", open_up(settings)))


@main.command()
def bff() -> None:
    """Start one BFF, the HTTP API and the page, of a platform of many processes."""
    settings = _distributed_settings()
    from rookery.serve.platform import open_platform
    from rookery.serve.process import serve

    sys.exit(_run(serve, settings, "bff", open_platform(settings, ["bff"])))


@main.command()
def gateway() -> None:
    """Start one gateway, which holds sessions, of a platform of many processes."""
    settings = _distributed_settings()
    from rookery.serve.platform import open_platform
    from rookery.serve.process import serve

    sys.exit(_run(serve, settings, "gateway", open_platform(settings, ["gateway"])))


@main.command()
def archive() -> None:
    """Start one archive, which keeps history, of a platform of many processes."""
    settings = _distributed_settings()
    from rookery.serve.platform import open_platform
    from rookery.serve.process import serve

    sys.exit(_run(serve, settings, "archive", open_platform(settings, ["archive"])))


@main.command()
def migrate() -> None:
    """Make the topics and tables that the engines must have. To be done before the first start and each upgrade."""
    from rookery.serve.migrate import migrate_engines

    settings = _settings()
    for line in _run(migrate_engines, settings) or ["there is nothing to do"]:
        click.echo(line)


@main.command()
@click.argument("url")
@ca_file_option
def probe(url: str, ca_file: Path | None) -> None:
    """Ask a process how it is, such as at http://127.0.0.1:8080/readyz; the exit status says whether it is well.

    At https://, if the settings have a certificate and there is no --ca-file, it must be the one that is shown: so a
    health check beside the process needs no name that the certificate is for.
    """
    from rookery.commands.probe import ask

    sys.exit(ask(url, ca_file))


@main.command("dead-letters")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
def dead_letters(limit: int) -> None:
    """Show the newest records of the log that could not be used, each as a line of JSON."""
    from rookery.commands.dead_letters import show

    _run(show, _settings(), limit)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def backup(folder: Path) -> None:
    """Copy the data folder into FOLDER, which must not be there, while Rookery runs or not."""
    from rookery.commands.backup import back_up

    for line in _run(back_up, _settings(), folder):
        click.echo(line)


@main.command("restore")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def restore_backup(folder: Path) -> None:
    """Put the backup in FOLDER into the data folder, which must be empty or not there, and start Rookery after it."""
    from rookery.commands.backup import restore

    for line in _run(restore, _settings(), folder):
        click.echo(line)


@main.group()
def keys() -> None:
    """The keys that sign access tokens: the newest signs, all of them are believed."""


@keys.command("list")
def list_keys() -> None:
    """Show each key, the newest first: its id, when it was made, and what it does."""
    from rookery.commands import keys

    _run(keys.list_keys, _settings())


@keys.command("rotate")
def rotate_keys() -> None:
    """Make a new key. Running processes sign with it within a minute or so."""
    from rookery.commands import keys

    _run(keys.rotate, _settings())


@keys.command("retire")
@click.argument("key_id")
@click.option("--now", is_flag=True, help="Even if tokens that it has signed have not ended: they do then.")
def retire_key(key_id: str, now: bool) -> None:
    """Believe KEY_ID no more. Running processes do so within a minute."""
    from rookery.commands import keys

    _run(keys.retire, _settings(), key_id, now)


@main.command()
@click.argument("name")
@click.option("--url", default=SERVER, show_default=True, help="Where the HTTP API is.")
@click.option("--with", "other", metavar="NAME", help="Whom to write to; /with NAME changes it.")
@click.option("--register", is_flag=True, help="Make the account first.")
@click.option("--password-file", type=click.File(), help="Read the password from here instead of asking for it.")
@ca_file_option
def chat(name: str, url: str, other: str | None, register: bool, password_file: Any, ca_file: Path | None) -> None:
    """Chat in the terminal, or in a pipe, as NAME."""
    from rookery.commands.terminal import run_chat

    password = _password(password_file, confirm=register)
    sys.exit(_run_client(run_chat, url, name, password, other, register, ca_file))


@main.group()
def user() -> None:
    """Accounts: make them, find them, and what an admin does."""


@user.command("add")
@click.argument("name")
@click.option("--display-name", help="What others see; the name if not given.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def add_user(name: str, display_name: str | None, password_stdin: bool) -> None:
    """Make the account NAME, whether Rookery is running or not."""
    from rookery.commands.accounts import add_account

    settings = _settings()
    password = _password(sys.stdin if password_stdin else None, confirm=True)
    made = _run(add_account, settings, name, password, display_name)
    click.echo(f"{made.name} is user {made.user_id}")


@user.command("admin")
@click.argument("name")
@click.option("--revoke", is_flag=True, help="Take it back: the next request of NAME is not an admin's any more.")
def make_admin(name: str, revoke: bool) -> None:
    """Make NAME an admin, who may use the page /admin and the API behind it."""
    from rookery.commands import admin

    _run(admin.revoke_admin if revoke else admin.make_admin, _settings(), name)


@user.command("find")
@click.argument("part")
@json_option
def find_users(part: str, as_json: bool) -> None:
    """Show the accounts with PART in their name or display name, and whether one is an admin or suspended."""
    from rookery.commands import admin

    _run(admin.find, _settings(), part, as_json)


@user.command("suspend")
@click.argument("name")
@click.option("--reason", required=True, help="Why, for other admins to read.")
def suspend_user(name: str, reason: str) -> None:
    """Let NAME in no more. All of their sessions end within a second; others may still write to them."""
    from rookery.commands import admin

    _run(admin.suspend, _settings(), name, reason)


@user.command("restore")
@click.argument("name")
def restore_user(name: str) -> None:
    """Let NAME in again, who was suspended."""
    from rookery.commands import admin

    _run(admin.restore, _settings(), name)


@user.command("sign-out")
@click.argument("name")
def sign_out_user(name: str) -> None:
    """End all sign-ins of NAME, with their sessions."""
    from rookery.commands import admin

    _run(admin.sign_out, _settings(), name)


@main.command()
@json_option
def processes(as_json: bool) -> None:
    """Show the processes that run: how they are, their sessions and partitions, and how far behind they are."""
    from rookery.commands import admin

    _run(admin.show_processes, _settings(), as_json)


@main.command()
@limit_option
@json_option
def audit(limit: int, as_json: bool) -> None:
    """Show what admins did, on the page, by the API or by commands: the newest acts, oldest first."""
    from rookery.commands import admin

    _run(admin.show_audit, _settings(), limit, as_json)


@main.group()
def config() -> None:
    """Live configuration: what may change while Rookery runs."""


@config.command("list")
def list_configuration() -> None:
    """Show every key: its value, whether it was set, its bounds, and what it is for."""
    from rookery.commands import configuration

    _run(configuration.list_values, _settings())


@config.command("get")
@click.argument("key")
def get_configuration(key: str) -> None:
    """Show the value of KEY that holds now."""
    from rookery.commands import configuration

    _run(configuration.get_value, _settings(), key)


@config.command("set")
@click.argument("key")
@click.argument("value")
def set_configuration(key: str, value: str) -> None:
    """Set KEY to VALUE. Running processes have it within a second."""
    from rookery.commands import configuration

    _run(configuration.set_value, _settings(), key, value)


@config.command("unset")
@click.argument("key")
def unset_configuration(key: str) -> None:
    """Let the default of KEY hold again."""
    from rookery.commands import configuration

    _run(configuration.unset_value, _settings(), key)


@config.command("history")
@limit_option
@json_option
def show_configuration_history(limit: int, as_json: bool) -> None:
    """Show who changed what: the newest changes, oldest first."""
    from rookery.commands import admin

    _run(admin.show_history, _settings(), limit, as_json)


@config.command("watch")
def watch_configuration() -> None:
    """Show every change as it happens, until Ctrl-C."""
    from rookery.commands import configuration

    _run(configuration.watch, _settings())


@main.command()
def doctor() -> None:
    """Check this set-up, and say what to do about what is wrong with it."""
    from rookery.commands.doctor import examine

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
@click.option(
    "--server-pid",
    "server_pids",
    type=click.IntRange(1),
    multiple=True,
    help="A process whose CPU and memory to tell; several may be given.  [default: the one that has the URL's port]",
)
@click.option(
    "--engine-pid", "engine_pids", type=click.IntRange(1), multiple=True, help="An engine's, to tell its CPU beside it."
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Make the users straight in this data folder, rather than over HTTP, where each costs a slow hash.",
)
@click.option("--i-own-this-server", "anywhere", is_flag=True, help="Allow a server on another machine.")
@ca_file_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def load(rate: float | None, saturate: bool, data: Path | None, as_json: bool, **options: Any) -> None:
    """Load a running Rookery with pairs of users, and measure what it does."""
    from rookery.load.report import show
    from rookery.load.run import Plan, run
    from rookery.serve.folder import DataFolder

    if saturate and rate is not None:
        raise click.UsageError("--rate and --saturate exclude each other")
    accounts_file = DataFolder(data).accounts if data else None
    plan = Plan(rate=None if saturate else rate or 500.0, accounts_file=accounts_file, **options)
    click.echo(show(_run_client(run, plan), as_json=as_json))


@main.command()
@click.option("--url", "urls", multiple=True, default=[SERVER], show_default=True, help="Of the HTTP API; several.")
@click.option("--clients", default=100, show_default=True, help="An even number, half on each transport.")
@click.option("--messages", default=10_000, show_default=True, help="In all.")
@click.option("--rate", type=float, help="Messages a second, together.  [default: as fast as they are answered]")
@click.option("--seconds", default=600.0, show_default=True, help="Begin no message after these.")
@click.option("--settle", "settle_seconds", default=60.0, show_default=True, help="Seconds for each step at the end.")
@click.option("--in-flight", default=4, show_default=True, help="Of each client, without a rate.")
@click.option("--bytes", "size", default=100, show_default=True, help="Of each text, at least.")
@click.option("--slow-clients", default=0, help="Further clients that are written to and never read.")
@click.option("--churn", default=0, help="Sessions that come and go meanwhile.")
@click.option("--accounts", default="verify", show_default=True, help="What the names of the accounts begin with.")
@click.option("--i-own-this-server", "anywhere", is_flag=True, help="Allow servers on other machines.")
@ca_file_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(as_json: bool, **options: Any) -> None:
    """Check that a running Rookery keeps its promises, while you kill its servers.

    Clients write to each other; all that they send, are told, hear and find in history at the end is judged. The exit
    status is 0 if nothing is wrong, 1 if a promise was broken, 2 if it could not be checked.
    """
    from rookery.verify.plan import Plan, VerifyError
    from rookery.verify.result import show
    from rookery.verify.run import verify

    try:
        result = _run_client(verify, Plan(**options), lambda text: click.echo(text, err=True))
    except VerifyError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    click.echo(show(result, as_json=as_json))
    sys.exit(result.exit_code)


def _settings(**overrides: object) -> "Settings":
    from rookery.commands.options import read_settings

    return read_settings(**overrides)


def _distributed_settings() -> "Settings":
    """Settings for a process that is not the only one."""
    from typing import get_args

    from shared.settings import Engine

    settings = _settings()
    if missing := [engine for engine in get_args(Engine) if engine not in settings.engines]:
        raise InvalidSettings(
            f"a platform of many processes needs {', '.join(missing)} too: the setting `engines` (ROOKERY_ENGINES) "
            f"must be {','.join(get_args(Engine))}"
        )
    return settings


def _password(file: Any, *, confirm: bool) -> str:
    """The first line of the file, or what someone types."""
    if file is not None:
        return str(file.readline()).rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))


def _run(work: "Callable[..., Awaitable[Any]]", *arguments: object) -> Any:
    """`_run_client`, for work on a platform's own engines, which needs the extra `server`."""
    from shared.backplane.sqlite.log import LogInUse
    from shared.configuration.protocol import InvalidConfiguration

    try:
        return _run_client(work, *arguments)
    except LogInUse as error:
        raise click.ClickException(f"{error}: stop it first, or set ROOKERY_DATA to another folder") from error
    except InvalidConfiguration as error:
        raise click.ClickException(str(error)) from error


def _run_client(work: "Callable[..., Awaitable[Any]]", *arguments: object) -> Any:
    """Run it on Trio. What a person can do something about becomes one sentence on stderr."""
    import trio

    from rookery.client.errors import RookeryError
    from rookery.load.sessions import LoadError
    from shared.contract.errors import Unavailable
    from shared.net.pem import UnusableCertificate

    try:
        return trio.run(work, *arguments)
    except UnusableCertificate as error:
        raise InvalidSettings(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        sys.exit(INTERRUPTED)
    except (LoadError, OSError, RookeryError, Unavailable, sqlite3.Error) as error:
        raise click.ClickException(str(error)) from error
