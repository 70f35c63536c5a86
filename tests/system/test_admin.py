"""Admin actions over HTTP and by commands: they take effect at once, and are in the audit log."""

import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import trio

from tests.system.commands import command, list_processes
from tests.system.sessions import TRANSPORTS, Session, connector, open_session, open_sessions
from tests.waiting import until
from tools.launch.people import PASSWORD, PATIENCE, Person, open_http, sign_in, sign_up
from tools.launch.process import Process, Rookery

END_SECONDS = 2.0
"""From an action to the end of a session."""

SLACK_SECONDS = 25.0
"""Margin for a busy machine. Together with END_SECONDS below PATIENCE, which bounds each wait."""


async def make_admin(rookery: Process) -> Person:
    """Register a user, and make them an admin by command."""
    person = await sign_up(rookery.url, "admin")
    assert f"{person.name} ({person.user_id}) is an admin" in await command(rookery, "user", "admin", person.name)
    return person


async def ask(rookery: Process, person: Person, method: str, path: str, body: Any = None) -> httpx.Response:
    async with open_http(rookery.url) as http:
        return await http.request(method, path, json=body, headers=person.headers)


async def password_sign_in(rookery: Process, person: Person) -> httpx.Response:
    async with open_http(rookery.url) as http:
        return await http.post("/v1/tokens", json={"name": person.name, "password": PASSWORD})


async def refresh(rookery: Process, person: Person) -> httpx.Response:
    async with open_http(rookery.url) as http:
        return await http.post("/v1/tokens/refresh", json={"refresh_token": person.refresh_token})


async def ends_sessions(rookery: Process, person: Person, act: Callable[[], Awaitable[object]]) -> None:
    """Check that the action ends a session on each transport, at once and with a goodbye."""
    async with open_sessions(*((connector(rookery, transport), person) for transport in TRANSPORTS)) as sessions:
        await act()
        began = time.monotonic()
        with trio.fail_after(PATIENCE):
            for session in sessions:
                assert (await session.read_to_end())[-1].goodbye.code == "unauthenticated"
    seconds = time.monotonic() - began
    print(f"sessions ended {seconds:.2f} s after the act")
    assert seconds < END_SECONDS + SLACK_SECONDS


async def test_a_suspension_ends_sessions_at_once_and_a_restored_user_signs_in_again(rookery: Rookery) -> None:
    before = len(rookery.log_lines())
    admin, bob, ada = await make_admin(rookery), await sign_up(rookery.url, "bob"), await sign_up(rookery.url, "ada")
    suspension = f"/v1/admin/users/{bob.user_id}/suspension"

    async def suspend() -> None:
        assert (await ask(rookery, admin, "PUT", suspension, {"reason": "spam"})).status_code == 204

    await ends_sessions(rookery, bob, suspend)
    for refused in (await password_sign_in(rookery, bob), await refresh(rookery, bob)):
        assert (refused.status_code, refused.json()["code"]) == (403, "suspended")
    for transport in TRANSPORTS:
        async with connector(rookery, transport)() as stream:
            session = Session(stream)
            await session.send_frame(authenticate={"access_token": bob.access_token})
            assert (await session.read_to_end())[-1].goodbye.code == "suspended"
    async with open_session(connector(rookery, "grpc"), ada) as session:
        await session.send_text(bob.user_id, "read it when you are back")
    assert (await ask(rookery, admin, "DELETE", suspension)).status_code == 204
    assert (await refresh(rookery, bob)).status_code == 401
    again = await sign_in(rookery.url, bob.name)
    async with open_session(connector(rookery, "websocket"), again) as session:
        await session.check_alive()

    log = (await ask(rookery, admin, "GET", "/v1/admin/audit")).json()["entries"]
    acts = [(entry["act"], entry["target"].split()[0]) for entry in reversed(log)]
    assert [(act, name) for act, name in acts if name in (admin.name, bob.name)] == [
        ("make_admin", admin.name),
        ("suspend_user", bob.name),
        ("restore_user", bob.name),
    ]
    logged = [line for line in rookery.log_lines()[before:] if line["logger"] == "rookery.audit"]
    assert [line["act"] for line in logged] == ["suspend_user", "restore_user"]


async def audited_acts(rookery: Rookery) -> list[str]:
    """The acts in the audit log, oldest first; each has to be by a command."""
    entries = [json.loads(line) for line in (await command(rookery, "audit", "--json")).splitlines()]
    assert {next(iter(entry["actor"])) for entry in entries} == {"command"}
    return [entry["act"] for entry in entries]


@pytest.mark.slow
async def test_commands_end_sessions_of_the_running_process(own_rookery: Rookery) -> None:
    rookery = own_rookery
    bob = await sign_up(rookery.url, "bob")
    await ends_sessions(rookery, bob, lambda: command(rookery, "user", "sign-out", bob.name))
    bob = await sign_in(rookery.url, bob.name)
    await ends_sessions(rookery, bob, lambda: command(rookery, "user", "suspend", bob.name, "--reason", "spam"))
    assert (await password_sign_in(rookery, bob)).json()["code"] == "suspended"
    found = json.loads(await command(rookery, "user", "find", bob.name, "--json"))
    assert (found["user_id"], found["suspended_reason"]) == (str(bob.user_id), "spam")
    await command(rookery, "user", "restore", bob.name)
    bob = await sign_in(rookery.url, bob.name)
    await ends_sessions(rookery, bob, lambda: command(rookery, "user", "delete", bob.name, "--yes"))
    assert (await password_sign_in(rookery, bob)).json()["code"] == "unauthenticated"
    assert await audited_acts(rookery) == ["sign_out_user", "suspend_user", "restore_user", "delete_user"]


@pytest.mark.slow
async def test_commands_are_in_the_audit_log_of_the_running_process(own_rookery: Rookery) -> None:
    rookery = own_rookery
    await command(rookery, "config", "set", "max_text_bytes", "100")
    await command(rookery, "user", "add", "grace", "--password-stdin", typed=f"{PASSWORD}\n")
    assert await audited_acts(rookery) == ["set_configuration", "add_user"]
    (change,) = (await command(rookery, "config", "history", "--json")).splitlines()[-1:]
    assert (json.loads(change)["key"], json.loads(change)["new"]) == ("max_text_bytes", 100)
    assert PASSWORD not in await command(rookery, "audit")


@pytest.mark.slow
async def test_the_three_roles_of_one_process_are_listed_with_its_sessions(own_rookery: Rookery) -> None:
    rookery = own_rookery
    admin = await make_admin(rookery)
    async with open_sessions(*((connector(rookery, transport), admin) for transport in (*TRANSPORTS, "grpc"))):
        answer = await list_processes(rookery, admin, {"websocket": 1, "grpc": 2})
        (gateway,) = [process for process in answer["processes"] if process["role"] == "gateway"]
        assert {process["role"] for process in answer["processes"]} == {"bff", "gateway", "archive"}
        assert all(process["ready"] for process in answer["processes"])
        assert {each["owner"] for each in answer["partitions"]} == {gateway["instance"]}
        assert gateway["owned"] == [each["partition"] for each in answer["partitions"]]
        lines = [json.loads(line) for line in (await command(rookery, "processes", "--json")).splitlines()]
        assert [line["role"] for line in lines] == ["archive", "bff", "gateway"]
    await list_processes(rookery, admin, {"websocket": 0, "grpc": 0})
    assert await trio.to_thread.run_sync(rookery.terminate) == 0
    assert await command(rookery, "processes") == ""


@pytest.mark.slow
async def test_a_suspension_while_no_process_runs_is_published_at_the_next_start(own_rookery: Rookery) -> None:
    rookery = own_rookery
    bob = await sign_up(rookery.url, "bob")
    await trio.to_thread.run_sync(rookery.terminate)
    await command(rookery, "user", "suspend", bob.name, "--reason", "spam")
    await trio.to_thread.run_sync(rookery.start)
    assert (await refresh(rookery, bob)).json()["code"] == "suspended"
    await until(lambda: not os.listdir(rookery.data / "spool"))
