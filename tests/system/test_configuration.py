"""Live configuration reaches running sessions; an invalid value or setting is refused with its name."""

import time
from pathlib import Path

import pytest

from tests.system.commands import check_refused, command
from tests.system.sessions import TRANSPORTS, Session, connector, open_session, until_answered
from tools.launch.people import Person, sign_up
from tools.launch.process import ANNOUNCED, Rookery, port_of

REACH_SECONDS = 2.0
"""From `rookery config set` to its effect."""

SLACK_SECONDS = 25.0
"""Margin for a busy machine. Together with REACH_SECONDS below PATIENCE, which bounds each wait."""


@pytest.mark.slow
async def test_a_changed_limit_holds_in_sessions_that_are_open(own_rookery: Rookery) -> None:
    ada, grace = await sign_up(own_rookery.url, "ada"), await sign_up(own_rookery.url, "grace")
    for transport in TRANSPORTS:
        async with open_session(connector(own_rookery, transport), ada) as session:
            await session.send_text(grace.user_id, "twelve bytes")
            await command(own_rookery, "config", "set", "max_text_bytes", "11")
            await until_answered_soon(session, grace, "refused")
            refused = session.frames[-1].refused
            assert (refused.code, refused.field) == ("too_large", "send.text.body")
            assert "11 bytes" in refused.message
            await command(own_rookery, "config", "unset", "max_text_bytes")
            await until_answered_soon(session, grace, "accepted")
    changes = [line for line in own_rookery.log_lines() if line["event"] == "configuration_changed"]
    assert [line["max_text_bytes"] for line in changes if "max_text_bytes" in line] == [11, 16384] * 2


async def until_answered_soon(session: Session, to: Person, kind: str) -> None:
    began = time.monotonic()
    await until_answered(session, to, kind)
    seconds = time.monotonic() - began
    print(f"{kind} {seconds:.2f} s after the change")
    assert seconds < REACH_SECONDS + SLACK_SECONDS


# ---- settings


def test_a_bad_setting_ends_the_start_with_2_and_its_name(tmp_path: Path) -> None:
    """The other kinds are in tests/rookery/commands/test_cli.py. This file has no certificate."""
    check_refused(Rookery(tmp_path / "data").run("up", ROOKERY_TLS__CERTIFICATE_FILE=__file__), 2, __file__)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chats.db", "log.db", "accounts.db"])
def test_a_file_that_can_not_be_used_ends_the_start_with_1_and_its_name(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_bytes(b"this is no database " * 1000)
    check_refused(Rookery(data).run("up"), 1, f"Error: {data / name} can't be used: ")


# ---- doctor


@pytest.mark.slow
def test_the_doctor_finds_no_problem_in_a_valid_set_up(rookery: Rookery, tmp_path: Path) -> None:
    for process in (rookery, Rookery(tmp_path / "data")):
        examined = process.run("doctor")
        assert examined.returncode == 0, examined.stdout
        assert "problem" not in examined.stdout
    ports = {setting: "0" for _, setting in ANNOUNCED.values()}
    assert "a Rookery is running" in rookery.run("doctor").stdout
    assert "another process has the log in" in rookery.run("doctor", **ports).stdout


@pytest.mark.slow
def test_the_doctor_names_the_fault_and_its_remedy(rookery: Rookery, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "chats.db").write_text("this is no database " * 100)
    taken = str(port_of(rookery.grpc))
    examined = Rookery(data).run("doctor", ROOKERY_GATEWAY__WEBSOCKET_PORT=taken)
    assert examined.returncode == 1
    problems = [line for line in examined.stdout.splitlines() if line.startswith("problem")]
    assert len(problems) == 2, examined.stdout
    assert f"127.0.0.1:{taken}" in problems[0]
    assert "set ROOKERY_GATEWAY__WEBSOCKET_PORT" in problems[0]
    assert "chats.db can't be read" in problems[1]
