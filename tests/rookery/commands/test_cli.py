"""The command `rookery` without a running server: help, settings, probes, dead letters, configuration and accounts."""

import base64
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from messaging.archive.store.sqlite.store import open_sqlite_chats
from messaging.archive.sweep import GRACE_MS
from rookery.client import open_api
from rookery.commands.options import read_settings
from rookery.commands.terminal import chat as terminal_chat
from rookery.serve.folder import DataFolder
from rookery.v1.archive_pb2 import FILE_STATE_UPLOADING, StoredFile
from rookery.v1.files_pb2 import FileInfo
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.backplane import DeadLetter, StoredRecord
from shared.backplane.sqlite.log import open_sqlite_log
from shared.configuration import LiveConfiguration
from shared.contract.errors import Unavailable
from shared.contract.ids import wall_clock_ms
from shared.files.folder import open_folder_files
from shared.files.owner import claim
from shared.net.health_server import serve_health
from shared.net.tls import ServerTls
from shared.telemetry.health import Health
from tests.rookery.commands.conftest import Invoke
from tools.launch.certificates import Authority, Issued

ROLES = ["bff", "gateway", "archive"]
COMMANDS = [
    *("up", *ROLES, "migrate", "probe", "dead-letters", "backup", "restore", "keys", "chat", "user", "processes"),
    *("files", "audit", "config", "doctor", "load", "verify"),
]


def test_help_loads_no_part_of_the_platform() -> None:
    check = "import sys, rookery.commands.cli; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in loaded if name.partition(".")[0] in {"bff", "messaging", "rookery", "shared"}}
    assert {name for name in ours if not f"{name}.".startswith("rookery.commands.cli.")} == {
        "rookery",
        "rookery.commands",
        "rookery.commands.errors",
    }
    assert not {"trio", "pydantic", "quart", "google.protobuf", "httpx"} & set(loaded)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(invoke: Invoke, command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


# ---- a chat


def test_a_chat_looks_for_its_server_before_it_asks_for_a_password(invoke: Invoke) -> None:
    result = invoke("chat", "ada", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "no answer from http://127.0.0.1:1" in result.output
    assert "--url sets another address" in result.output
    assert "assword" not in result.output


@pytest.mark.parametrize("url", ["localhost:8080", "http://", "http://[", "http://localhost:99999"])
def test_a_url_that_is_none_is_an_invalid_argument(invoke: Invoke, url: str) -> None:
    result = invoke("chat", "ada", "--url", url)
    assert (result.exit_code, "must be http:// or https:// and a host" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("options", "exit_code", "words"),
    [
        (["--register"], 1, "pass its link with --invite"),
        (["--register", "--invite", "http://localhost/#invite=used"], 1, "This invite is used up."),
        (["--invite", "http://localhost/#invite=token"], 0, "New password (10 to 128 characters)"),
        (["--register", "--invite", "token"], 0, ""),
    ],
)
def test_an_account_is_created_with_an_invite(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, bff: Any, options: list[str], exit_code: int, words: str
) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        invite = json.loads(request.content).get("invite") if request.content else None
        if request.method == "POST" and invite != "token":
            detail = "This invite is used up." if invite else "An account needs an invite here."
            return httpx.Response(403, json={"code": "invite_required", "detail": detail})
        response: httpx.Response = await bff.transport.handle_async_request(request)
        return response

    async def chat(*_: object) -> int:
        return 0

    bff.answers["POST /v1/users"] = 201, {"user_id": "7", "name": "ada", "display_name": "Ada"}
    monkeypatch.setattr(terminal_chat, "open_api", partial(open_api, transport=httpx.MockTransport(answer)))
    monkeypatch.setattr(terminal_chat, "run_chat", chat)
    result = invoke("chat", "ada", *options, stdin="correct horse\n" * 2)
    assert (result.exit_code, words in result.output) == (exit_code, True), result.output


# ---- settings


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ROOKERY_BFF__PROT", "1", "there is no setting `bff.prot` (ROOKERY_BFF__PROT)"),
        ("ROOKERY_BFF__PORT", "x", "the setting `bff.port` (ROOKERY_BFF__PORT) is 'x'"),
        ("ROOKERY_BFF__PORT", "70000", "less than or equal to 65535"),
        ("ROOKERY_TRACES__ENDPOINT", "collector:4318", "`traces.endpoint`"),
        ("ROOKERY_LOG_LEVEL", "loud", "`log_level`"),
        ("ROOKERY_ENGINES", "kafka,kassandra", "kassandra"),
        ("ROOKERY_KAFKA__TOPIC", "no spaces", "the setting `kafka.topic` (ROOKERY_KAFKA__TOPIC) is 'no spaces'"),
        ("ROOKERY_BFF__WEBSOCKET_ORIGINS", "wss://x.org; script-src *", "is not an origin"),
        ("ROOKERY_DTAA", "/x", "there is no setting ROOKERY_DTAA: did you mean ROOKERY_DATA?"),
        ("ROOKERY_FILE__URL", "s3://b", "there is no setting ROOKERY_FILE__URL: did you mean ROOKERY_FILES?"),
        ("ROOKERY_LOG_LEVEL__BFF", "debug", "there is no setting ROOKERY_LOG_LEVEL__BFF"),
        ("ROOKERY_FILE", "/nowhere/r.toml", "/nowhere/r.toml"),
        ("ROOKERY_FILE", "/", "the settings can't be read"),
    ],
)
def test_an_invalid_setting_is_named_and_exits_2(invoke: Invoke, variable: str, value: str, words: str) -> None:
    result = invoke("config", "list", **{variable: value})
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("text", "words"),
    [("prot = 1", "prot`"), ("[bff]\nprot = 1", "prot`"), ("bff = ", "rookery.toml is not TOML")],
)
def test_an_error_in_the_file_is_named(invoke: Invoke, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "rookery.toml").write_text(text)
    result = invoke("config", "list")
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    "token", ["too-short", "has a space in it, and more", "has-a-line-break-at-its-end\n", f"{'a' * 16},short"]
)
def test_an_invalid_secret_is_named_and_not_shown(invoke: Invoke, token: str) -> None:
    result = invoke("config", "list", ROOKERY_ARCHIVE_TOKEN=token)
    assert result.exit_code == 2
    assert "`archive_token` (ROOKERY_ARCHIVE_TOKEN) can't be used" in result.output
    assert token.strip() not in result.output


def test_an_invalid_url_of_redis_is_named_and_not_shown(invoke: Invoke) -> None:
    result = invoke("config", "list", ROOKERY_REDIS__URL="redis://:sec/ret@host:6379/0")
    assert result.exit_code == 2
    assert "`redis.url` (ROOKERY_REDIS__URL) can't be used" in result.output
    assert "sec" not in result.output


@pytest.mark.parametrize(("section", "secret"), [("kafka", "KAFKA__PASSWORD"), ("files", "FILES__SECRET_KEY")])
def test_a_section_that_contradicts_itself_is_named_and_its_secret_not_shown(
    invoke: Invoke, section: str, secret: str
) -> None:
    result = invoke("config", "list", **{f"ROOKERY_{secret}": "sesame", "ROOKERY_FILES__URL": "s3://bucket"})
    assert result.exit_code == 2
    assert f"the setting `{section}` (ROOKERY_{section.upper()}) can't be used: value error, " in result.output
    assert "sesame" not in result.output


def test_an_option_that_redis_does_not_have_is_named_and_the_url_not_shown(invoke: Invoke) -> None:
    environment = {
        "ROOKERY_ENGINES": "kafka,cassandra,redis",
        "ROOKERY_REDIS__URL": "redis://:secret@host/0?nonsense=1",
    }
    result = invoke("config", "list", **environment)
    assert result.exit_code == 2
    assert "`redis.url` has an unknown or invalid option" in result.output
    assert "secret" not in result.output


def test_lists_in_the_environment_have_commas_and_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOKERY_ENGINES", "redis, kafka")
    monkeypatch.setenv("ROOKERY_KAFKA__SERVERS", "one:9092,two:9092")
    monkeypatch.setenv("ROOKERY_CASSANDRA__PASSWORD", "sesame")
    monkeypatch.setenv("ROOKERY_REDIS__URL", "redis://:sesame@somewhere:6379/0")
    settings = read_settings()
    assert settings.engines == {"kafka", "redis"}
    assert settings.kafka.servers == ("one:9092", "two:9092")
    assert "sesame" not in repr(settings)
    assert settings.cassandra.password.get_secret_value() == "sesame"


# ---- roles, migrations and health


@pytest.mark.parametrize("role", ROLES)
def test_a_single_role_needs_shared_engines(invoke: Invoke, role: str) -> None:
    result = invoke(role, ROOKERY_ENGINES="kafka")
    assert result.exit_code == 2
    assert "needs cassandra, redis too" in result.output
    assert "ROOKERY_ENGINES" in result.output


def test_the_embedded_engines_need_no_migration(invoke: Invoke) -> None:
    result = invoke("migrate")
    assert result.exit_code == 0
    assert result.output == "nothing to do: ROOKERY_ENGINES names neither kafka nor cassandra\n"


@pytest.mark.parametrize("is_last", [True, False])
def test_rows_are_converted_for_the_last_time_if_the_operator_says_so(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, is_last: bool
) -> None:
    runs: list[bool] = []

    async def migrate(*_: object, is_last: bool) -> list[int]:
        runs.append(is_last)
        await trio.lowlevel.checkpoint()
        return []

    monkeypatch.setattr("shared.drivers.cassandra.migrations.migrate", migrate)
    result = invoke("migrate", *["--last"][:is_last], ROOKERY_ENGINES="cassandra")
    assert result.output == "the keyspace rookery exists\n"
    assert runs == [is_last]


@pytest.mark.usefixtures("started")
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


@pytest.mark.usefixtures("started")
def test_a_sweep_of_files_prints_what_it_has_done(invoke: Invoke, folder: DataFolder) -> None:
    stored = StoredFile(file=FileInfo(file_id=1), owner_id=1, state=FILE_STATE_UPLOADING)

    async def reserve() -> None:
        async with open_sqlite_chats(folder.chats) as chats:
            await chats.files.reserve("a", stored, quota_bytes=1, max_uploads=1)

    assert invoke("files", "sweep").exit_code == 0
    trio.run(reserve)
    assert invoke("files", "sweep").output.splitlines() == [
        "0 files deleted, which no message uses",
        "1 more can't be sent any more, and are deleted by a later sweep",
        "0 squares of pictures deleted, which no user and no group has",
        "0 keys and 0 uploads without a file deleted",
    ]


@pytest.mark.usefixtures("started")
def test_a_sweep_without_the_setting_of_the_engines_is_refused(invoke: Invoke, folder: DataFolder) -> None:
    async def claim_folder() -> None:
        async with open_folder_files(folder.files) as files:
            await claim(files, "Cassandra's keyspace rookery")

    trio.run(claim_folder)
    result = invoke("files", "sweep")
    assert result.exit_code == 1
    assert "correct ROOKERY_ENGINES" in result.output


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(("behind", "deleted"), [({}, 1), ({5: 1}, 0)])
def test_a_sweep_of_files_waits_for_partitions_that_the_settings_leave_out(
    invoke: Invoke, folder: DataFolder, behind: dict[int, int], deleted: int
) -> None:
    """The shell may have another number of partitions than the processes: here 4, while history has six."""
    now_ms = wall_clock_ms()
    stored = StoredFile(file=FileInfo(file_id=1), owner_id=1, state=FILE_STATE_UPLOADING)

    async def condemn() -> None:
        async with open_sqlite_chats(folder.chats) as chats:
            await chats.files.reserve("a", stored, quota_bytes=1, max_uploads=1)
            await chats.files.condemn((await chats.files.rows([1])).values(), now_ms - 2 * GRACE_MS)
            await chats.raise_watermarks(dict.fromkeys(range(4), now_ms) | behind)

    trio.run(condemn)
    assert invoke("files", "sweep").output.startswith(f"{deleted} files deleted")


@pytest.mark.parametrize(("failing", "code"), [(False, 0), (True, 1)])
async def test_a_probe_prints_the_failed_check(invoke: Invoke, nursery: trio.Nursery, failing: bool, code: int) -> None:
    async def check() -> None:
        if failing:
            raise Unavailable("the disk is full")

    health = Health()
    health.add("disk", "there is room", check)
    health.mark_started()
    port = await nursery.start(serve_health, health, "127.0.0.1", 0)
    result = await trio.to_thread.run_sync(invoke, "probe", f"http://127.0.0.1:{port}/readyz")
    assert (result.exit_code, result.output) == (code, "disk: the disk is full\n" if failing else "")


@pytest.mark.parametrize("words", [["--ca-file", "{ca}"], []], ids=["of a file", "of the system"])
async def test_a_probe_of_the_client_alone_trusts_authorities(
    nursery: trio.Nursery, authority: Authority, issued: Issued, words: list[str]
) -> None:
    health = Health()
    health.mark_started()
    tls = ServerTls(issued.settings(), issued.certificate)
    port = await nursery.start(partial(serve_health, health, "127.0.0.1", 0, tls=tls))
    client = "import sys; sys.modules['pydantic'] = None; from rookery.commands.cli import main; main()"
    arguments = ["probe", *(word.format(ca=authority.file) for word in words), f"https://127.0.0.1:{port}/readyz"]
    result = await trio.run_process(
        [sys.executable, "-c", client, *arguments],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={**os.environ, **({} if words else {"SSL_CERT_FILE": str(authority.file)})},
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


# ---- a platform that was never started


@pytest.mark.parametrize(
    "arguments",
    [
        *("config set sign_up invite", "config list", "config get sign_up", "config history", "invite create"),
        *("user add ada --password-stdin", "user find ada", "audit", "processes", "keys rotate", "dead-letters"),
        *("files sweep", "backup backup"),
    ],
)
def test_a_command_without_its_platform_is_refused_and_creates_nothing(
    invoke: Invoke, folder: DataFolder, arguments: str
) -> None:
    (folder.path / "files").mkdir(parents=True)  # exists beside other engines too
    result = invoke(*arguments.split(), stdin="correct horse\n")
    assert result.exit_code == 1
    assert f"the data folder {folder.path} has no chats.db, log.db, accounts.db, configuration.db" in result.stderr
    assert "ROOKERY_DATA" in result.stderr
    assert "ROOKERY_ENGINES" in result.stderr
    assert [path.name for path in folder.path.parent.rglob("*")] == ["data", "files"]


@pytest.mark.usefixtures("started")
def test_only_databases_that_no_engine_replaces_are_needed(invoke: Invoke, folder: DataFolder) -> None:
    folder.log.unlink()
    assert "has no log.db." in invoke("config", "get", "sign_up").stderr
    assert invoke("config", "get", "sign_up", ROOKERY_ENGINES="kafka").exit_code == 0


# ---- config


@pytest.mark.usefixtures("started")
def test_a_value_is_set_shown_with_its_bounds_and_unset(invoke: Invoke) -> None:
    assert invoke("config", "get", "max_text_bytes").stdout == "16384\n"
    assert invoke("config", "set", "max_text_bytes", "100").stdout == "max_text_bytes = 100\n"
    assert invoke("config", "get", "max_text_bytes").stdout == "100\n"
    assert "* max_text_bytes = 100" in invoke("config", "list").output
    assert invoke("config", "unset", "max_text_bytes").stdout == "max_text_bytes = 16384\n"
    output = invoke("config", "list").output
    assert "  max_text_bytes = 16384" in output
    assert all(key in output for key in LiveConfiguration.model_fields)
    assert "a whole number from 1 to 524288" in output


# ---- user add


@pytest.mark.usefixtures("started")
def test_an_account_is_created_in_the_data_folder(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("user", "add", "Ada", "--password-stdin", "--display-name", "Ada L.", stdin="correct horse\n")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("ada is user ")

    async def display_name() -> str:
        async with open_sqlite_accounts(DataFolder(tmp_path / "data").accounts) as accounts:
            (user,) = await accounts.users([int(result.output.split()[-1])])
            return user.display_name

    assert trio.run(display_name) == "Ada L."


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    ("name", "password", "words"),
    [("a", "correct horse", "name"), ("ada", "short", "password"), ("a b c", "x" * 10, "name")],
)
def test_names_and_passwords_follow_the_rules_of_the_api(invoke: Invoke, name: str, password: str, words: str) -> None:
    result = invoke("user", "add", name, "--password-stdin", stdin=f"{password}\n")
    assert result.exit_code == 1
    assert f"Error: The {words} must have " in result.output
    assert "short" not in result.output


# ---- refusals that need no server


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("up --engines kafka,postgres", 2, "postgres"),
        ("config get nothing", 1, "there is no key 'nothing'"),
        ("config set max_text_bytes 0", 1, "max_text_bytes must be a whole number from 1 to 524288, not '0'"),
        ("probe http://127.0.0.1:1/readyz", 1, "it does not respond"),
        ("probe file:///etc/passwd", 2, "must begin with http:// or https://"),
        ("load --url http://192.0.2.1", 1, "--i-own-this-server"),
        ("load --rate 5 --saturate", 2, "exclude each other"),
        ("load --password-file nowhere/file", 2, "no password can be read from nowhere/file, or kept there: "),
        ("verify --password-file nowhere/file", 2, "no password can be read from nowhere/file, or kept there: "),
        ("load --data .", 2, "--data must be the data folder of a Rookery: . has no accounts.db"),
        ("chat ada --url http://127.0.0.1:1 --password-file password", 1, "no answer from http://127.0.0.1:1"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_status(
    invoke: Invoke, tmp_path: Path, arguments: str, code: int, words: str
) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    result = invoke(*arguments.split())
    assert (result.exit_code, words in result.output) == (code, True), result.output
