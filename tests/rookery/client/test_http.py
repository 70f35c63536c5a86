"""The HTTP part of the client: sign-in, fresh tokens, and errors."""

import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from trio.testing import MockClock

from rookery.client import Api, Change, Event, Refused, SignedOut, Unreachable, open_api


@pytest.fixture
async def api(bff: Any) -> AsyncIterator[Api]:
    async with open_api("http://bff", "ada", "correct horse", transport=bff.transport) as opened:
        yield opened


async def test_a_bff_that_is_down_is_named(api: Api, bff: Any) -> None:
    bff.down = True
    with pytest.raises(Unreachable, match="http://bff"):
        await api.sign_in()


class LosesConnections(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        async for _ in request.stream:
            raise httpx.WriteError("the connection is lost")
        raise AssertionError("a body")


async def test_a_connection_that_is_lost_within_a_body_leaves_no_unfinished_generator() -> None:
    async with open_api("http://bff", "ada", "correct horse", transport=LosesConnections()) as api:
        with pytest.raises(Unreachable, match="is lost"):
            await api.sign_in()
    gc.collect()  # would warn of one


async def test_a_server_is_found_by_its_refusal_and_another_kind_of_server_is_named(api: Api, bff: Any) -> None:
    await api.check_server()
    for status in (404, 200):
        bff.answers["GET /v1/me"] = status, "another server"
        with pytest.raises(Unreachable, match=r"no Rookery at http://bff: .*(404|without a sign-in)"):
            await api.check_server()


async def test_a_user_is_found_by_the_exact_name(api: Api, bff: Any) -> None:
    await api.sign_in()
    profile = {"user_id": "9", "name": "grace", "display_name": "Grace"}
    for name in ("grace", "grac"):
        bff.answers[f"GET /v1/profiles?name_contains={name}&limit=1"] = 200, {"profiles": [profile]}
    assert (await api.find_user(" @Grace")).user_id == 9
    with pytest.raises(Refused, match="There is no user grac"):
        await api.find_user("grac")


async def test_changes_versions_and_pinned_messages_are_read(api: Api, bff: Any) -> None:
    await api.sign_in()
    change = {"event_id": "6", "change": {"target_id": "5", "edited": {"text": {"body": "hello"}}}}
    event = Event(event_id=6, change=Change(target_id=5, edited={"text": {"body": "hello"}}))
    bff.answers = {
        "GET /v1/chats/d-7-9/changes?after=3": (200, {"events": [change], "complete_up_to": "4"}),
        "GET /v1/chats/d-7-9/messages/5/versions?kind=edited": (200, {"changes": [change]}),
        "GET /v1/chats/d-7-9/messages?limit=50&having=pinned": (200, {"messages": [{"changes": [change]}]}),
    }
    changes = await api.changes("d-7-9", after=3)
    assert (list(changes.events), changes.complete_up_to) == ([event], 4)
    assert list(await api.versions("d-7-9", 5, "edited")) == [event]
    assert list((await api.history("d-7-9", having="pinned")).messages[0].changes) == [event]


@pytest.mark.parametrize("body", ["no object", {"websocket": 1}])
async def test_a_response_of_another_kind_of_server_is_unreachable(api: Api, bff: Any, body: object) -> None:
    await api.sign_in()
    bff.answers["GET /v1/me/gateway"] = 200, body
    with pytest.raises(Unreachable, match="not a response of Rookery"):
        await api.gateway()


async def test_a_token_that_expires_soon_is_refreshed_first_but_not_again_within_10_s(
    api: Api, bff: Any, mock_clock: MockClock
) -> None:
    bff.token_seconds = 5  # the server's; or the clock of this machine is ahead
    await api.sign_in()
    for seconds, token in ((9, "token-1"), (1, "token-2"), (9, "token-2")):
        mock_clock.jump(seconds)
        assert [await api.access_token() for _ in range(2)] == [token] * 2
    assert await api.access_token(older_than="token-2") == "token-3"


async def test_a_sign_in_presents_the_device_token_of_the_one_before_also_after_a_restart(
    bff: Any, tmp_path: Path
) -> None:
    for device_file in (None, tmp_path / "ada"):
        for _ in range(2):
            async with open_api(
                "http://bff", "ada", bff.password, device_file=device_file, transport=bff.transport
            ) as api:
                await api.sign_in()
                await api.access_token(older_than=bff.token)
                await api.sign_in()
    presented = [body["device_token"] for body in bff.bodies if "password" in body]
    assert presented == ["", "device-1", "", "device-4", "", "device-7", "device-9", "device-10"]


async def test_a_request_with_a_revoked_token_is_repeated_with_a_fresh_one(api: Api, bff: Any) -> None:
    await api.sign_in()
    bff._tokens += 1
    bff.refresh_refused = True  # the refresh token is revoked too: the client signs in again
    assert (await api.gateway()).grpc == "gateway:1"
    assert bff.requests.count("POST /v1/tokens") == 2
    bff._tokens += 1
    bff.password = "another"
    with pytest.raises(SignedOut, match="Wrong name or password"):
        await api.gateway()


@pytest.mark.parametrize("failure", [(502, "Bad Gateway"), (403, "Forbidden"), (500, {"code": "internal"})])
@pytest.mark.parametrize("is_refreshed", [True, False], ids=["at a refresh", "at a new sign-in"])
async def test_a_proxy_or_a_fault_of_the_server_does_not_end_the_sign_in(
    api: Api, bff: Any, failure: tuple[int, object], *, is_refreshed: bool
) -> None:
    await api.sign_in()
    refused = 401, {"code": "unauthenticated", "detail": "This sign-in has ended."}
    bff.failures = [failure] if is_refreshed else [refused, failure]
    with pytest.raises(Refused) as caught:
        await api.access_token(older_than="token-1")
    assert not isinstance(caught.value, SignedOut)
    assert await api.access_token(older_than="token-1") == "token-2"
    assert bff.requests.count("POST /v1/tokens") == (1 if is_refreshed else 2)
