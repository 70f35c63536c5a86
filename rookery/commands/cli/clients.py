"""Commands that connect to a running Rookery as clients: `rookery chat`, `load` and `verify`."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click

from rookery.commands.cli.common import SERVER, ca_file_option, read_password, run_client, url_option


@click.command()
@click.argument("name")
@url_option
@click.option("--with", "other", metavar="NAME", help="The user to write to; /with NAME changes it.")
@click.option("--register", is_flag=True, help="Create the account first.")
@click.option("--invite", default="", help="The link of an invite, or its token, to create the account with.")
@click.option("--password-file", type=click.File(), help="Read the password from this file instead of prompting.")
@ca_file_option
def chat(
    name: str,
    url: str,
    other: str | None,
    register: bool,
    invite: str,
    password_file: TextIO | None,
    ca_file: Path | None,
) -> None:
    """Chat as NAME in the terminal or in a pipe. The exit status is 0 if every line was carried out."""
    from rookery.commands.terminal.chat import find_server, run_chat

    run_client(find_server, url, ca_file)
    password = read_password(password_file, confirm=register or bool(invite))
    if register or invite:
        _create_account(url, name, password, invite, ca_file)
    sys.exit(run_client(run_chat, url, name, password, other, ca_file))


def _create_account(url: str, name: str, password: str, invite: str, ca_file: Path | None) -> None:
    """Create the account. If sign-up needs an invite and none is passed, prompt for it. Raises ClickException."""
    from rookery.commands.terminal.chat import create_account

    if run_client(create_account, url, name, password, _token_of(invite), ca_file):
        return
    if not sys.stdin.isatty():
        raise click.ClickException("an account needs an invite here: pass its link with --invite")
    invite = click.prompt("An account needs an invite here. Link of the invite", err=True)
    run_client(create_account, url, name, password, _token_of(invite), ca_file)


def _token_of(invite: str) -> str:
    """The token in the link of an invite, or the text itself."""
    return invite.strip().rpartition("#invite=")[2]


def _keep_password(file: str, users: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option for the file with the password of the users of a command."""
    return click.option(
        "--password-file",
        "password",
        type=click.Path(dir_okay=False, path_type=Path),
        default=file,
        show_default=True,
        callback=_password_in,
        help=f"File with the password of the {users}, for this and later runs; if it does not exist, it is created "
        "with a random one.",
    )


def _password_in(_: click.Context, __: click.Parameter, file: Path) -> str:
    from rookery.load.passwords import password_in

    try:
        return password_in(file)
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"no password can be read from {file}, or kept there: {error}") from error


@click.command()
@url_option
@click.option(
    "--users", default=200, show_default=True, help="Number of users, even: they write to each other in pairs."
)
@click.option(
    "--group",
    type=click.IntRange(2, 100_000),
    help="Create a group with so many members, and write to it instead, 1 message per second by default. "
    "More than 1,000 members make a channel.",
)
@click.option("--online", type=click.IntRange(2, 20_000), help="Members of the group with a session.  [default: all]")
@click.option(
    "--open",
    "open_at",
    type=click.IntRange(2, 20_000),
    help="Members of the channel who have it open, and send; the others online follow it.  [default: all online]",
)
@click.option("--transport", type=click.Choice(["websocket", "grpc"]), default="websocket", show_default=True)
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Messages per second of all users.  [default: 500]"
)
@click.option("--saturate", is_flag=True, help="Send as fast as the server acknowledges, instead of at a rate.")
@click.option(
    "--in-flight",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Unacknowledged messages per user, with --saturate.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=20.0,
    show_default=True,
    help="Duration of the measurement.",
)
@click.option(
    "--warm-up", type=click.FloatRange(0), default=2.0, show_default=True, help="Seconds before the measurement."
)
@click.option(
    "--bytes", "size", type=click.IntRange(1, 500_000), default=256, show_default=True, help="Bytes of each text."
)
@click.option(
    "--files", type=click.IntRange(0, 200), default=0, help="Users who upload a file and download it all the time, too."
)
@click.option(
    "--file-bytes", type=click.IntRange(0), default=64 << 20, show_default=True, help="Bytes of each such file."
)
@click.option(
    "--idle",
    type=click.IntRange(0, 20_000),
    default=0,
    help="Idle sessions to open first, to measure the memory per session of a freshly started server.",
)
@click.option(
    "--server-pid",
    "server_pids",
    type=click.IntRange(1),
    multiple=True,
    help="Process whose CPU and memory to report; repeatable.  [default: the process that listens on the URL's port]",
)
@click.option(
    "--engine-pid",
    "engine_pids",
    type=click.IntRange(1),
    multiple=True,
    help="Engine process whose CPU to report separately; repeatable.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Create the users directly in this data folder: over HTTP each costs one slow password hash.",
)
@_keep_password("load.password", "users")
@click.option(
    "--metrics",
    multiple=True,
    help="URL of the metrics of a server's process, to report the log records and writes of a message; repeatable.",
)
@click.option("--i-own-this-server", "anywhere", is_flag=True, help="Allow a server on another machine.")
@ca_file_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def load(
    users: int,
    group: int | None,
    online: int | None,
    open_at: int | None,
    rate: float | None,
    saturate: bool,
    data: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Load a running Rookery with pairs of users, or with a group, and measure it."""
    from rookery.load.report import show
    from rookery.load.run import Plan, run
    from rookery.serve.folder import DataFolder

    if saturate and rate is not None:
        raise click.UsageError("--rate and --saturate exclude each other")
    if group is None and online is not None:
        raise click.UsageError("--online needs --group")
    open_accounts = None
    if data:
        from shared.accounts.sqlite.store import open_sqlite_accounts  # needs the extra `server`

        accounts_file = DataFolder(data).accounts
        if not accounts_file.exists():
            raise click.UsageError(f"--data must be the data folder of a Rookery: {data} has no {accounts_file.name}")
        open_accounts = partial(open_sqlite_accounts, accounts_file)
    rate = None if saturate else rate or (1.0 if group else 500.0)
    users = (online or group) if group else users
    plan = Plan(rate=rate, users=users, group=group or 0, open=open_at or 0, is_embedded=data is not None, **options)
    click.echo(show(run_client(run, plan, open_accounts), as_json=as_json))


@click.command()
@click.option(
    "--url", "urls", multiple=True, default=[SERVER], show_default=True, help="URL of the HTTP API; repeatable."
)
@click.option("--clients", default=100, show_default=True, help="Number of clients, even: half use each transport.")
@click.option("--messages", default=10_000, show_default=True, help="Number of messages of all clients.")
@click.option("--rate", type=float, help="Messages per second of all clients.  [default: as fast as acknowledged]")
@click.option("--seconds", default=600.0, show_default=True, help="Send no new message after this time.")
@click.option("--settle", "settle_seconds", default=60.0, show_default=True, help="Seconds for each step at the end.")
@click.option("--in-flight", default=4, show_default=True, help="Unacknowledged messages per client, without --rate.")
@click.option("--bytes", "size", default=100, show_default=True, help="Least bytes of each text.")
@click.option("--changes", default=20.0, show_default=True, help="Percent of the messages that are changed afterwards.")
@click.option("--files", default=5.0, show_default=True, help="Percent of the messages that have a file.")
@click.option(
    "--group",
    "groups",
    multiple=True,
    type=click.IntRange(0, 1_000),
    default=(10, 200),
    show_default=True,
    help="Members of a group that users leave and join meanwhile, at most all clients; repeatable; 0 for none.",
)
@click.option(
    "--channel",
    type=click.IntRange(0, 1_000),
    default=60,
    show_default=True,
    help="Members of a channel, as of a group; half of its clients have it open; 0 for none.",
)
@click.option("--slow-clients", default=0, help="Additional clients that receive messages and never read them.")
@click.option("--churn", default=0, help="Sessions that open and close during the run.")
@click.option("--absences", default=0, help="Times that a client is away, and reads what it missed from history.")
@click.option("--late-retries", default=0, help="Accepted messages that are sent again at the end.")
@click.option(
    "--late-after", default=330.0, show_default=True, help="Seconds until then: more than the platform's tail_seconds."
)
@click.option("--accounts", default="verify", show_default=True, help="Prefix of the names of the accounts.")
@_keep_password("verify.password", "accounts")
@click.option("--i-own-this-server", "anywhere", is_flag=True, help="Allow servers on other machines.")
@ca_file_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(as_json: bool, **options: Any) -> None:
    """Check that a running Rookery keeps its promises while its servers are killed.

    Clients write to each other. At the end, all messages that they sent, received and found in history are compared.
    The exit status is 0 if every promise was kept, 1 if one was broken, 2 if the check could not be completed.
    """
    from rookery.verify.plan import Plan, VerifyError
    from rookery.verify.result import show
    from rookery.verify.run import verify

    try:
        options["groups"] = tuple(size for size in options["groups"] if size)
        result = run_client(verify, Plan(**options), lambda text: click.echo(text, err=True))
    except VerifyError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    click.echo(show(result, as_json=as_json))
    sys.exit(result.exit_code)


COMMANDS = (chat, load, verify)
