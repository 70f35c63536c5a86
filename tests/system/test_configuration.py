"""Live configuration reaches running sessions; an invalid value or setting is refused with its name."""

import time
from pathlib import Path

import pytest
import trio

from tests.system.sessions import TRANSPORTS, Session, connector, open_session, text_to
from tools.launch.people import PATIENCE, Person, sign_up
from tools.launch.process import ANNOUNCED, Rookery, port_of

REACH_SECONDS = 2.0
"""From `rookery config set` to its effect."""

SLACK_SECONDS = 8.0
"""Margin for a busy machine."""


async def test_a_changed_limit_holds_in_sessions_that_are_open(own_rookery: Rookery) -> None:
    ada, grace = await sign_up(own_rookery.url, "ada"), await sign_up(own_rookery.url, "grace")
    for transport in TRANSPORTS:
        async with open_session(connector(own_rookery, transport), ada) as session:
            await session.send_text(grace.user_id, "twelve bytes")
            await configure(own_rookery, "set", "max_text_bytes", "11")
            await until_answered(session, grace, "refused")
            refused = session.frames[-1].refused
            assert (refused.code, refused.field) == ("too_large", "send.text.body")
            assert "11 bytes" in refused.message
            await configure(own_rookery, "unset", "max_text_bytes")
            await until_answered(session, grace, "accepted")
    changes = [line for line in own_rookery.log_lines() if line["event"] == "configuration_changed"]
    assert [line["max_text_bytes"] for line in changes if "max_text_bytes" in line] == [11, 16384] * 2


async def configure(rookery: Rookery, *words: str) -> None:
    done = await trio.to_thread.run_sync(rookery.run, "config", *words)
    assert done.returncode == 0, done.stderr


async def until_answered(session: Session, to: Person, kind: str) -> None:
    """Send until the answer has this kind; it must be soon."""
    began = time.monotonic()
    with trio.fail_after(PATIENCE):
        while True:
            await session.send_frame(send=text_to(to.user_id, "twelve bytes"))
            frame = await session.next_where(lambda frame: not frame.HasField("event"), refused=True)
            if frame.HasField(kind):
                break
            await trio.sleep(0.05)
    seconds = time.monotonic() - began
    print(f"{kind} {seconds:.2f} s after the change")
    assert seconds < REACH_SECONDS + SLACK_SECONDS


def test_an_invalid_value_is_refused_with_its_key_and_bounds(rookery: Rookery) -> None:
    refused = rookery.run("config", "set", "max_text_bytes", "0")
    why = "Error: max_text_bytes must be a whole number from 1 to 524288, not '0'\n"
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", why)


def test_current_values_are_listed_with_their_bounds(rookery: Rookery) -> None:
    listed = rookery.run("config", "list").stdout.splitlines()
    assert "  max_text_bytes = 16384    Longest text" in "\n".join(listed)
    assert any(line.startswith("* registrations_per_minute = 100000 ") for line in listed)


# ---- settings


@pytest.mark.parametrize(
    ("settings", "file", "why"),
    [
        ({"ROOKERY_BFF__PORT": "70000"}, "", "`bff.port` (ROOKERY_BFF__PORT)"),
        ({}, "[gateway\n", "rookery.toml is not TOML"),
    ],
)
def test_a_bad_setting_ends_the_start_with_2_and_its_name(
    tmp_path: Path, settings: dict[str, str], file: str, why: str
) -> None:
    (tmp_path / "rookery.toml").write_text(file)
    rookery = Rookery(tmp_path / "data")
    for key in ("ROOKERY_FILE", *(setting for _, setting in ANNOUNCED.values())):
        del rookery.environment[key]
    refused = rookery.run("up", **settings)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert why in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    "name", ["chats.db", *(pytest.param(f"{name}.db", marks=pytest.mark.slow) for name in ("log", "accounts"))]
)
def test_a_file_that_can_not_be_used_ends_the_start_with_1_and_its_name(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_bytes(b"this is no database " * 1000)
    refused = Rookery(data).run("up")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"Error: {data / name} can't be used: ")


# ---- doctor


def test_the_doctor_finds_a_good_set_up_good(rookery: Rookery, tmp_path: Path) -> None:
    for patient in (rookery, Rookery(tmp_path / "data")):
        examined = patient.run("doctor")
        assert examined.returncode == 0, examined.stdout
        assert "problem" not in examined.stdout
    ports = {setting: "0" for _, setting in ANNOUNCED.values()}
    assert "a Rookery is running" in rookery.run("doctor").stdout
    assert "another process has the log in" in rookery.run("doctor", **ports).stdout


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
