"""Log records have user, session and role. `test_log_secrecy.py` changes levels while Rookery runs."""

import pytest
import trio

from tests.system.sessions import TRANSPORTS, connector, open_session
from tests.waiting import until
from tools.launch.live import configure
from tools.launch.people import open_http, read_history, sign_up
from tools.launch.process import Rookery

LEVELS = "messaging.gateway=debug,shared.rpc=debug"


async def test_records_have_user_session_and_role(own_rookery: Rookery) -> None:
    ada, grace = await sign_up(own_rookery.url, "ada"), await sign_up(own_rookery.url, "grace")
    await trio.to_thread.run_sync(configure, own_rookery.environment, {"log_levels": LEVELS})
    await until(lambda: any("log_levels" in line for line in own_rookery.log_lines()))
    sessions = {}
    for transport in TRANSPORTS:
        async with open_session(connector(own_rookery, transport), ada) as session:
            sessions[session.frames[0].welcome.session_id] = transport
            await session.send_text(grace.user_id, "hello")
    await read_history(own_rookery.url, ada, ada.chat_with(grace))
    await trio.to_thread.run_sync(own_rookery.terminate)

    lines = own_rookery.log_lines()
    for session_id, transport in sessions.items():
        its = [line for line in lines if line.get("session_id") == session_id]
        events = [line["event"] for line in its]
        assert events == ["session_welcomed", "session_closed"] + ["rpc_call_ended"] * (transport == "grpc")
        assert {(line["role"], line["user_id"]) for line in its} == {("gateway", str(ada.user_id))}
    queries = [line for line in lines if "Archive" in line.get("method", "")]
    assert {(line["role"], line.get("user_id"), line.get("session_id")) for line in queries} == {
        ("archive", None, None)
    }
    assert {line["role"] for line in lines if line["logger"] == "bff.app"} == {"bff"}
    assert {line["role"] for line in lines if line["logger"] == "messaging.gateway.role"} == {"gateway"}
    assert [line["role"] for line in lines if line["event"] == "stopped"] == ["up"]


@pytest.mark.slow
async def test_the_user_of_a_request_is_not_in_the_record_of_the_next_on_the_connection(own_rookery: Rookery) -> None:
    ada, grace = await sign_up(own_rookery.url, "ada"), await sign_up(own_rookery.url, "grace")
    headers: list[dict[str, str]] = [ada.headers, {}, grace.headers, {"Authorization": "Bearer none"}]
    async with open_http(own_rookery.url) as http:  # on one connection
        for each in headers:
            await http.get("/v1/me", headers=each)
    asked = [line for line in own_rookery.log_lines() if line.get("route") == "/v1/me"]
    users = [str(ada.user_id), None, str(grace.user_id), None]
    assert [(line["status"], line.get("user_id")) for line in asked] == list(zip([200, 401] * 2, users, strict=True))
