"""What the command `rookery` promises, short of a running server."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from rookery.commands.cli import main
from rookery.commands.options import read_settings
from rookery.serve.folder import DataFolder
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.backplane import DeadLetter, StoredRecord
from shared.backplane.sqlite.log import open_sqlite_log
from shared.configuration import LiveConfiguration
from shared.contract.errors import Unavailable
from shared.net.health_server import serve_health
from shared.telemetry.health import Health

Invoke = Callable[..., Result]

ROLES = ["bff", "gateway", "archive"]
COMMANDS = [
    *("up", *ROLES, "migrate", "probe", "dead-letters", "backup", "restore", "keys", "chat", "user", "processes"),
    *("audit", "config", "doctor", "load", "verify"),
]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs the command with a data folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOKERY_DATA", str(tmp_path / "data"))

    def run(*arguments: str, stdin: str = "", **environment: str) -> Result:
        return CliRunner().invoke(main, arguments, input=stdin, env=environment)

    return run


def test_help_needs_none_of_the_platform() -> None:
    check = "import sys, rookery.commands.cli; print([m for m in ('trio', 'pydantic', 'quart') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(invoke: Invoke, command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


# ---- settings


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ROOKERY_BFF__PROT", "1", "there is no setting `bff.prot` (ROOKERY_BFF__PROT)"),
        ("ROOKERY_BFF__PORT", "x", "the setting `bff.port` (ROOKERY_BFF__PORT) is 'x'"),
        ("ROOKERY_BFF__PORT", "70000", "less than or equal to 65535"),
        ("ROOKERY_LOG_LEVEL", "loud", "`log_level`"),
        ("ROOKERY_ENGINES", "kafka,kassandra", "`engines"),
        ("ROOKERY_KAFKA__TOPIC", "no spaces", "the setting `kafka.topic` (ROOKERY_KAFKA__TOPIC) is 'no spaces'"),
        ("ROOKERY_BFF__WEBSOCKET_ORIGINS", "wss://x.org; script-src *", "is not an origin"),
        ("ROOKERY_DTAA", "/x", "there is no setting ROOKERY_DTAA: did you mean ROOKERY_DATA?"),
    ],
)
def test_a_setting_that_is_wrong_is_named_and_exits_2(invoke: Invoke, variable: str, value: str, words: str) -> None:
    result = invoke("config", "list", **{variable: value})
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize("text", ["prot = 1", "[bff]\nprot = 1"])
def test_an_unknown_key_in_the_file_is_named(invoke: Invoke, tmp_path: Path, text: str) -> None:
    (tmp_path / "rookery.toml").write_text(text)
    result = invoke("config", "list")
    assert result.exit_code == 2
    assert "prot`" in result.output


def test_a_file_that_is_no_toml_is_said_to_be_so(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "rookery.toml").write_text("bff = ")
    result = invoke("config", "list")
    assert result.exit_code == 2
    assert "rookery.toml is not TOML" in result.output


def test_lists_have_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOKERY_ENGINES", "redis, kafka")
    monkeypatch.setenv("ROOKERY_KAFKA__SERVERS", "one:9092,two:9092")
    settings = read_settings()
    assert settings.engines == {"kafka", "redis"}
    assert settings.kafka.servers == ("one:9092", "two:9092")


@pytest.mark.parametrize(
    "token", ["too-short", "has a space in it, and more", "has-a-line-break-at-its-end\n", f"{'a' * 16},short"]
)
def test_a_secret_that_is_wrong_is_named_and_not_shown(invoke: Invoke, token: str) -> None:
    result = invoke("config", "list", ROOKERY_ARCHIVE_TOKEN=token)
    assert result.exit_code == 2
    assert "`archive_token` (ROOKERY_ARCHIVE_TOKEN) can't be used" in result.output
    assert token.strip() not in result.output


def test_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOKERY_CASSANDRA__PASSWORD", "sesame")
    monkeypatch.setenv("ROOKERY_REDIS__URL", "redis://:sesame@somewhere:6379/0")
    settings = read_settings()
    assert "sesame" not in repr(settings)
    assert settings.cassandra.password.get_secret_value() == "sesame"


# ---- processes of a platform


@pytest.mark.parametrize("role", ROLES)
def test_a_role_alone_needs_engines_that_processes_share(invoke: Invoke, role: str) -> None:
    result = invoke(role, ROOKERY_ENGINES="kafka")
    assert result.exit_code == 2
    assert "needs cassandra, redis too" in result.output
    assert "ROOKERY_ENGINES" in result.output


def test_up_refuses_engines_that_it_does_not_know(invoke: Invoke) -> None:
    result = invoke("up", "--engines", "kafka,postgres")
    assert result.exit_code == 2
    assert "postgres" in result.output


def test_the_embedded_engines_need_no_migration(invoke: Invoke) -> None:
    result = invoke("migrate")
    assert (result.exit_code, result.output) == (0, "there is nothing to do\n")


def test_dead_letters_are_shown_as_json(invoke: Invoke, tmp_path: Path) -> None:
    record = StoredRecord(2, 17, 1_800_000_000_000, b"\xff poison", "00-0af7-b7ad-01")

    async def dead_letter() -> None:
        path = DataFolder(tmp_path / "data").log
        async with open_sqlite_log(path, partitions=4, retention_hours=1) as log:
            await log.dead_letter(DeadLetter(record, "archive", "not an envelope"))

    assert invoke("dead-letters").output == ""
    trio.run(dead_letter)
    (line,) = invoke("dead-letters").output.splitlines()
    letter = json.loads(line)
    assert (letter["partition"], letter["offset"], letter["reason"]) == (2, 17, "not an envelope")
    assert letter["traceparent"] == record.traceparent
    assert base64.b64decode(letter["value"]) == record.value


def test_a_probe_of_nothing_says_so(invoke: Invoke) -> None:
    result = invoke("probe", "http://127.0.0.1:1/readyz")
    assert result.exit_code == 1
    assert "it does not answer" in result.output


@pytest.mark.parametrize(("failing", "code"), [(False, 0), (True, 1)])
async def test_a_probe_says_which_check_fails(invoke: Invoke, nursery: trio.Nursery, failing: bool, code: int) -> None:
    async def check() -> None:
        if failing:
            raise Unavailable("the disk is full")

    health = Health()
    health.add("disk", "there is room", check)
    health.mark_started()
    port = await nursery.start(serve_health, health, "127.0.0.1", 0)
    result = await trio.to_thread.run_sync(invoke, "probe", f"http://127.0.0.1:{port}/readyz")
    assert (result.exit_code, result.output) == (code, "disk: the disk is full\n" if failing else "")


# ---- config


def test_a_value_that_was_set_is_shown_until_it_is_unset(invoke: Invoke) -> None:
    assert invoke("config", "get", "max_text_bytes").stdout == "16384\n"
    assert invoke("config", "set", "max_text_bytes", "100").stdout == "max_text_bytes = 100\n"
    assert invoke("config", "get", "max_text_bytes").stdout == "100\n"
    assert "* max_text_bytes = 100" in invoke("config", "list").output
    assert invoke("config", "unset", "max_text_bytes").stdout == "max_text_bytes = 16384\n"
    assert "  max_text_bytes = 16384" in invoke("config", "list").output


def test_the_list_has_every_key_with_its_bounds(invoke: Invoke) -> None:
    output = invoke("config", "list").output
    assert all(key in output for key in LiveConfiguration.model_fields)
    assert "a whole number from 1 to 524288" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("set", "max_text_bytes", "0"), "max_text_bytes must be a whole number from 1 to 524288, not '0'"),
        (("set", "max_text_byte", "1"), "did you mean 'max_text_bytes'?"),
        (("get", "nothing"), "there is no key 'nothing'"),
        (("unset", "nothing"), "there is no key 'nothing'"),
    ],
)
def test_a_value_or_key_that_is_wrong_is_refused_in_words(
    invoke: Invoke, arguments: tuple[str, ...], words: str
) -> None:
    result = invoke("config", *arguments)
    assert result.exit_code == 1
    assert words in result.output


# ---- user add


def test_an_account_is_made_in_the_data_folder(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("user", "add", "Ada", "--password-stdin", "--display-name", "Ada L.", stdin="correct horse\n")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("ada is user ")

    async def display_name() -> str:
        async with open_sqlite_accounts(DataFolder(tmp_path / "data").accounts) as accounts:
            (user,) = await accounts.users([int(result.output.split()[-1])])
            return user.display_name

    assert trio.run(display_name) == "Ada L."


def test_a_taken_name_is_refused(invoke: Invoke) -> None:
    invoke("user", "add", "ada", "--password-stdin", stdin="correct horse\n")
    result = invoke("user", "add", "ADA", "--password-stdin", stdin="correct horse\n")
    assert result.exit_code == 1
    assert "the name ada is taken" in result.output


@pytest.mark.parametrize(
    ("name", "password", "words"),
    [("a", "correct horse", "name"), ("ada", "short", "password"), ("a b c", "x" * 10, "name")],
)
def test_the_rules_of_the_api_hold_for_names_and_passwords(
    invoke: Invoke, name: str, password: str, words: str
) -> None:
    result = invoke("user", "add", name, "--password-stdin", stdin=f"{password}\n")
    assert result.exit_code == 1
    assert f"Error: {words}: " in result.output
    assert "short" not in result.output.replace("shorter", "")


# ---- load and chat


def test_a_load_on_another_machine_is_refused(invoke: Invoke) -> None:
    result = invoke("load", "--url", "http://192.0.2.1")
    assert result.exit_code == 1
    assert "--i-own-this-server" in result.output


def test_rate_and_saturation_exclude_each_other(invoke: Invoke) -> None:
    assert invoke("load", "--rate", "5", "--saturate").exit_code == 2


def test_a_chat_without_a_server_says_so(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    result = invoke("chat", "ada", "--url", "http://127.0.0.1:1", "--password-file", str(tmp_path / "password"))
    assert result.exit_code == 1
    assert "no answer from http://127.0.0.1:1" in result.output
