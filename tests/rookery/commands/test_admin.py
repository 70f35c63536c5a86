"""The commands of admins without a running server: their results, and their entries in the audit log."""

import json
import math
import os
import pwd
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import structlog
import trio
from click.testing import Result
from trio.testing import MockClock

from rookery.commands import admin
from rookery.serve.folder import DataFolder
from shared.accounts.sign_outs import end_of_sign_in
from shared.accounts.sqlite.store import SqliteAccounts, open_sqlite_accounts
from shared.background import open_background
from shared.backplane import Record
from shared.backplane.kafka.client import CONNECT_TIMEOUT
from shared.backplane.protocol import Done
from shared.contract.avatars import new_avatar
from shared.contract.errors import Unavailable
from shared.contract.partitions import partition_of
from shared.files.folder import open_folder_files
from shared.files.keys import avatar_keys
from shared.settings import Settings
from tests.rookery.commands.conftest import Invoke
from tests.shared.drivers.redis_clients import settings_for
from tools.engines.redis import Redis


@pytest.fixture(autouse=True)
def users(started: None, invoke: Invoke) -> None:
    """The users ada and grace."""
    for name in ("ada", "grace"):
        assert invoke("user", "add", name, "--password-stdin", stdin="correct horse\n").exit_code == 0


def actions(invoke: Invoke) -> list[tuple[str, str, str]]:
    """The entries of the audit log since the users were created: action, target, detail."""
    entries = [json.loads(line) for line in invoke("audit", "--json").output.splitlines()]
    assert [entry["act"] for entry in entries[:2]] == ["add_user"] * 2
    return [(entry["act"], entry["target"].split()[0], entry["detail"]) for entry in entries[2:]]


def logged(result: Result) -> list[tuple[str, str, str]]:
    """Event, act and target of the JSON lines on stderr."""
    lines = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    return [(line["event"], line["act"], line["target"].split()[0]) for line in lines]


def test_the_output_of_a_command_on_redis_is_its_answer_alone(invoke: Invoke, redis_server: Redis) -> None:
    structlog.reset_defaults()  # as in a process of its own: the commands of the fixture have configured the logs
    own = settings_for(redis_server)
    redis = {"ROOKERY_ENGINES": "redis", "ROOKERY_REDIS__URL": redis_server.url, "ROOKERY_REDIS__PREFIX": own.prefix}
    added = invoke("user", "add", "joan", "--password-stdin", stdin="correct horse\n", **redis)
    assert added.exit_code == 0, added.output
    assert re.fullmatch(r"joan is user \d+\n", added.stdout)
    assert logged(added) == [("admin_act", "add_user", "joan")]


@pytest.mark.parametrize(
    ("arguments", "act", "target"),
    [
        (("user", "admin", "ada"), "make_admin", "ada"),
        (("user", "suspend", "grace", "--reason", "spam"), "suspend_user", "grace"),
        (("user", "sign-out", "grace"), "sign_out_user", "grace"),
        (("user", "reset-password", "grace"), "reset_password", "grace"),
        (("user", "delete", "grace", "--yes"), "delete_user", "grace"),
        (("config", "set", "max_text_bytes", "1000"), "set_configuration", "max_text_bytes"),
        (("config", "unset", "max_text_bytes"), "unset_configuration", "max_text_bytes"),
    ],
)
def test_each_act_of_a_command_is_logged(invoke: Invoke, arguments: tuple[str, ...], act: str, target: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 0
    assert logged(result) == [("admin_act", act, target)]
    assert "admin_act" not in result.stdout


def test_a_rotation_of_keys_is_logged(invoke: Invoke) -> None:
    result = invoke("keys", "rotate")
    assert logged(result) == [("admin_act", "rotate_keys", result.stdout.split()[0])]


def found(invoke: Invoke, name: str) -> dict[str, object]:
    """The account in the JSON that `rookery user find` prints."""
    account: dict[str, object] = json.loads(invoke("user", "find", name, "--json").output)
    return account


def test_an_admin_is_made_and_revoked(invoke: Invoke) -> None:
    assert invoke("user", "admin", "ADA").output.endswith("is an admin\n")
    assert found(invoke, "ada")["is_admin"] is True
    assert invoke("user", "find", "ada").output.endswith("  ada  admin\n")
    assert invoke("user", "admin", "ada", "--revoke").output.endswith("is no longer an admin\n")
    assert found(invoke, "ada")["is_admin"] is False
    assert actions(invoke) == [("make_admin", "ada", ""), ("revoke_admin", "ada", "")]


def test_a_user_is_suspended_restored_and_signed_out_and_the_ends_are_spooled(
    invoke: Invoke, folder: DataFolder
) -> None:
    assert invoke("user", "suspend", "grace", "--reason", " spam ").exit_code == 0
    grace = found(invoke, "grace")
    assert grace["suspended_reason"] == "spam"
    assert ": spam\n" in invoke("user", "find", "grace").output
    (spooled,) = folder.spool.iterdir()
    assert spooled.read_bytes() == end_of_sign_in(int(str(grace["user_id"])), "")
    assert invoke("user", "restore", "grace").exit_code == 0
    assert found(invoke, "grace")["suspended_at_ms"] is None
    assert invoke("user", "sign-out", "grace").exit_code == 0
    assert len(list(folder.spool.iterdir())) == 2
    expected = [("suspend_user", "grace", "spam"), ("restore_user", "grace", ""), ("sign_out_user", "grace", "")]
    assert actions(invoke) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("user", "admin", "nobody"), "there is no user nobody"),
        (("user", "suspend", "nobody", "--reason", "x"), "there is no user nobody"),
        (("user", "restore", "nobody"), "there is no user nobody"),
        (("user", "sign-out", "nobody"), "there is no user nobody"),
        (("user", "suspend", "ada", "--reason", " "), "The reason must have at least 1 character."),
        (("user", "find", "a" * 65), "The part must have at most 64 characters."),
        (("user", "reset-password", "nobody"), "there is no user nobody"),
        (("user", "delete", "nobody", "--yes"), "there is no user nobody"),
        (("user", "delete", "ada"), "Aborted"),
        (("invite", "create", "--uses", "0"), "The uses must be at least 1."),
        (("invite", "create", "--days", "366"), "The days must be at most 365."),
        (("invite", "revoke", "nothing"), "There is no invite nothing"),
        (("config", "set", "sign_up", "closed"), "must be open or invite, not 'closed'"),
        (("user", "add", "ADA", "--password-stdin"), "the name ada is taken"),
        (("config", "set", "max_text_bytes", "0"), "must be a whole number from 1 to 524288, not '0'"),
        (("config", "set", "max_text_byte", "1"), "did you mean 'max_text_bytes'?"),
        (("config", "unset", "nothing"), "there is no key 'nothing'"),
    ],
)
def test_a_refused_command_prints_the_reason_and_is_not_recorded(
    invoke: Invoke, arguments: tuple[str, ...], words: str
) -> None:
    refused = invoke(*arguments, stdin="correct horse\n")
    assert (refused.exit_code, words in refused.output) == (1, True), refused.output
    assert actions(invoke) == []


def test_a_deleted_user_is_not_found_and_the_deletion_is_spooled(invoke: Invoke, folder: DataFolder) -> None:
    user_id = int(str(found(invoke, "grace")["user_id"]))
    avatar = new_avatar(str(user_id))

    async def give_picture() -> None:
        async with open_sqlite_accounts(folder.accounts) as accounts, open_folder_files(folder.files) as files:
            await accounts.update_profile(user_id, display_name="grace", about="", version=1, avatar=avatar)
            await files.put(avatar_keys(avatar)[0], b"picture")

    async def pictures() -> list[str]:
        async with open_folder_files(folder.files) as files:
            return [each.key for each in await files.keys("avatars/")]

    trio.run(give_picture)
    assert trio.run(pictures) == avatar_keys(avatar)[:1]
    assert invoke("user", "delete", "grace", stdin="y\n").output.endswith("is deleted\n")
    assert trio.run(pictures) == []
    (spooled,) = folder.spool.iterdir()
    assert spooled.read_bytes() == end_of_sign_in(user_id, "", is_deleted=True)
    assert invoke("user", "find", "grace").output == ""
    assert (
        "the name grace is taken" in invoke("user", "add", "grace", "--password-stdin", stdin="correct horse\n").output
    )
    assert [act for act, _, _ in actions(invoke)] == ["delete_user"]
    invoke("user", "admin", "ada")
    refused = invoke("user", "delete", "ada", "--yes")
    assert (refused.exit_code, "rookery user admin ada --revoke" in refused.output) == (1, True)


def test_a_deletion_that_broke_off_is_completed_by_the_same_command(
    invoke: Invoke, folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: SqliteAccounts, user_id: int) -> None:
        raise Unavailable("the disk is full")

    user_id = int(str(found(invoke, "grace")["user_id"]))
    with monkeypatch.context() as patch:
        patch.setattr(SqliteAccounts, "end_families", fail)
        assert invoke("user", "delete", "grace", "--yes").exit_code == 1
    assert list(folder.spool.glob("*")) == []
    assert invoke("user", "delete", "GRACE", "--yes").output.endswith(f"grace ({user_id}) is deleted\n")
    (spooled,) = folder.spool.iterdir()
    assert spooled.read_bytes() == end_of_sign_in(user_id, "", is_deleted=True)
    assert invoke("user", "restore", "grace").exit_code == 1


def test_an_admin_gets_a_new_password_by_command(invoke: Invoke) -> None:
    invoke("user", "admin", "ada")
    result = invoke("user", "reset-password", "ada")
    token = result.stdout.splitlines()[-1].removeprefix("/#reset=")
    assert token.startswith(f"{found(invoke, 'ada')['user_id']}.")
    assert token.split(".")[1] not in invoke("audit").output + result.stderr


def test_an_invite_is_created_listed_and_revoked(invoke: Invoke) -> None:
    token = invoke("invite", "create", "--uses", "5").stdout.splitlines()[-1].removeprefix("/#invite=")
    (line,) = invoke("invite", "list", "--json").output.splitlines()
    invite = json.loads(line)
    assert token.startswith(f"{invite['invite_id']}.")
    assert token.split(".")[1] not in line
    assert (invite["uses"], invite["uses_left"]) == (5, 5)
    assert "5 of 5 uses left" in invoke("invite", "list").output
    assert invoke("invite", "revoke", invite["invite_id"]).exit_code == 0
    assert invoke("invite", "list").output == ""
    expected = [("create_invite", invite["invite_id"], "uses: 5, days: 7"), ("revoke_invite", invite["invite_id"], "")]
    assert actions(invoke) == expected


def test_an_admin_is_not_suspended_and_a_suspended_user_is_not_made_an_admin(invoke: Invoke) -> None:
    invoke("user", "admin", "ada")
    refused = invoke("user", "suspend", "ada", "--reason", "x")
    assert (refused.exit_code, "rookery user admin ada --revoke" in refused.output) == (1, True)
    invoke("user", "suspend", "grace", "--reason", "spam")
    refused = invoke("user", "admin", "grace")
    assert (refused.exit_code, "restore them first" in refused.output) == (1, True)
    assert [act for act, _, _ in actions(invoke)] == ["make_admin", "suspend_user"]


def test_changes_of_the_configuration_are_shown_with_their_authors(invoke: Invoke) -> None:
    invoke("config", "set", "max_text_bytes", "100")
    invoke("config", "set", "log_level", "debug")
    invoke("config", "unset", "max_text_bytes")
    me = f"command:{pwd.getpwuid(os.getuid()).pw_name}"
    shown = [line.split("  ")[1:] for line in invoke("config", "history").output.splitlines()]
    assert shown == [
        [me, "max_text_bytes", "default", "->", "100"],
        [me, "log_level", "default", "->", '"debug"'],
        [me, "max_text_bytes", "100", "->", "default"],
    ]
    (newest,) = invoke("config", "history", "--limit", "1", "--json").output.splitlines()
    assert (json.loads(newest)["old"], json.loads(newest)["new"]) == (100, None)
    assert actions(invoke) == [
        ("set_configuration", "max_text_bytes", "100"),
        ("set_configuration", "log_level", '"debug"'),
        ("unset_configuration", "max_text_bytes", ""),
    ]


def test_the_audit_log_is_shown_oldest_first_up_to_the_limit(invoke: Invoke) -> None:
    invoke("user", "admin", "ada")
    lines = invoke("audit", "--limit", "2").output.splitlines()
    assert [line.split("  ")[2] for line in lines] == ["add_user", "make_admin"]
    assert "correct horse" not in invoke("audit").output


def test_without_a_running_process_none_is_listed(invoke: Invoke) -> None:
    result = invoke("processes", "--json")
    assert (result.exit_code, result.output) == (0, "no process has reported within the last 15 seconds\n")


def test_a_text_of_the_permitted_length_always_fits_in_a_frame(invoke: Invoke) -> None:
    refused = invoke("config", "set", "max_text_bytes", "100000")
    words = "max_frame_bytes (65536) must be at least twice max_text_bytes (100000)"
    assert (refused.exit_code, words in refused.output) == (1, True)
    assert invoke("config", "set", "max_frame_bytes", "200000").exit_code == 0
    assert invoke("config", "set", "max_text_bytes", "100000").exit_code == 0
    assert words in invoke("config", "unset", "max_frame_bytes").output
    assert invoke("config", "get", "max_frame_bytes").output == "200000\n"
    assert [act for act, _, _ in actions(invoke)] == ["set_configuration"] * 2
    assert invoke("config", "unset", "max_text_bytes").exit_code == 0
    assert invoke("config", "unset", "max_frame_bytes").exit_code == 0


class Announcements:
    """Opens a recording log in place of Kafka's, with a nursery as that has. With a clock, no broker answers."""

    def __init__(self, clock: MockClock | None = None) -> None:
        self._clock = clock
        self.records: list[Record] = []
        self.partitions = 4

    @asynccontextmanager
    async def open(self, settings: Settings) -> AsyncIterator["Announcements"]:
        if self._clock is not None:
            self._clock.jump(CONNECT_TIMEOUT)
            await trio.lowlevel.checkpoint()
            raise Unavailable("no broker answers")
        async with open_background():
            yield self

    def publish(self, records: Sequence[Record], done: Done, *, until: float = math.inf) -> None:
        self.records += records
        done(range(len(records)))


ENDS: Mapping[str, Callable[[Settings, str], Awaitable[None]]] = {
    "suspend": partial(admin.suspend, reason="spam"),
    "sign_out": admin.sign_out,
}
"""Commands that end the sessions of a user."""


@pytest.mark.parametrize("command", ENDS)
async def test_with_kafka_the_end_of_sessions_is_announced_once(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    log = Announcements()
    monkeypatch.setattr(admin, "open_backplane", log.open)
    await ENDS[command](Settings(data=folder.path, engines=frozenset({"kafka"})), "grace")
    async with open_sqlite_accounts(folder.accounts) as accounts:
        user_id = await accounts.user_id_of("grace")
    assert user_id is not None
    assert log.records == [Record(partition_of(user_id, log.partitions), end_of_sign_in(user_id, ""))]


@pytest.mark.parametrize("command", ENDS)
async def test_without_a_broker_the_end_of_sessions_is_done_and_says_that_it_is_not_announced(
    folder: DataFolder,
    monkeypatch: pytest.MonkeyPatch,
    mock_clock: MockClock,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.setattr(admin, "open_backplane", Announcements(mock_clock).open)
    await ENDS[command](Settings(data=folder.path, engines=frozenset({"kafka"})), "grace")
    output = capsys.readouterr()
    assert "could not notify the gateways" in output.err
    assert output.out.startswith("grace (")
