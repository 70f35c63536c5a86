"""Connections, blocks and reports over HTTP."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from trio.testing import MockClock

from bff import people
from bff.people import CHANGES_PER_MINUTE, INVITATIONS_PER_DAY, REPORTS_PER_DAY
from rookery.v1.archive_pb2 import (
    Chat,
    GetChatResponse,
    GetMessageResponse,
    HistoryMessage,
    ListChatsResponse,
    ListMarksResponse,
    Mark,
)
from rookery.v1.session_pb2 import Change, Edited, Event, Message, Starred, Text
from shared.accounts.people import Relationship, Report
from shared.contract.chats import direct_chat_id
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.wire import to_object
from tests.bff.conftest import PASSWORD, Api, Reply, disconnect_after_write


class Person:
    """A signed-in user."""

    def __init__(self, api: Api, user_id: int, token: str) -> None:
        self.api = api
        self.user_id = user_id
        self.token = token

    async def call(self, method: str, path: str, body: Any = None) -> Reply:
        return await self.api.call(method, path, body, token=self.token)

    async def connections(self) -> dict[int, str]:
        """The states of the user's connections, by user id."""
        found = (await self.call("GET", "/v1/me/connections")).body["connections"]
        return {int(each["user_id"]): each["state"] for each in found}


async def person(api: Api, name: str) -> Person:
    user = await api.register(name)
    return Person(api, int(user["user_id"]), (await api.sign_in(name))["access_token"])


@pytest.fixture
async def ada(api: Api) -> Person:
    return await person(api, "ada")


@pytest.fixture
async def ben(api: Api) -> Person:
    return await person(api, "ben")


def told(api: Api) -> set[tuple[int, int]]:
    """The users whose sessions were told since the last call, and of whom."""
    events = {(to, each.event.people_changed.user_id) for _, each in api.log.published for to in each.recipient_ids}
    api.log.published.clear()
    return events


async def test_a_repeated_block_is_announced_to_the_gateways_again(api: Api, ada: Person, ben: Person) -> None:
    """The first attempt may have been applied after its announcement."""
    path = f"/v1/me/blocks/{ben.user_id}"
    assert (await ada.call("PUT", path)).status == 204
    told(api)
    assert (await ada.call("PUT", path)).status == 204
    assert {each.sender_id for _, each in api.log.published} == {ada.user_id, ben.user_id}
    assert told(api) == {(ada.user_id, ben.user_id)}, "the answer of the first attempt may have been lost"


async def test_an_invitation_without_an_answer_does_not_count(
    api: Api, ada: Person, ben: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def be_away(*_: object, **__: object) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(people, "INVITATIONS_PER_DAY", 1)
    path = f"/v1/me/connections/{ben.user_id}"
    with monkeypatch.context() as away:
        away.setattr(api.accounts, "change_relationship", be_away)
        assert (await ada.call("PUT", path)).status == 503
    assert (await ada.call("PUT", path)).status == 200


@pytest.mark.parametrize("end", [0, 1])
async def test_both_devices_are_told_of_each_step_of_a_connection(api: Api, ada: Person, ben: Person, end: int) -> None:
    both = {(ada.user_id, ben.user_id), (ben.user_id, ada.user_id)}
    for one, other, state in ((ada, ben, "invited"), (ben, ada, "connected")):
        for _ in range(2):
            reply = await one.call("PUT", f"/v1/me/connections/{other.user_id}")
            wanted = {"user_id": str(other.user_id), "state": state, "since_ms": str(api.clock.now_ms)}
            assert (reply.status, reply.body) == (200, {"connection": wanted})
            assert told(api) == both
    assert (await ada.connections(), await ben.connections()) == (
        {ben.user_id: "connected"},
        {ada.user_id: "connected"},
    )
    one, other = (ada, ben) if end else (ben, ada)
    assert (await one.call("DELETE", f"/v1/me/connections/{other.user_id}")).status == 204
    assert told(api) == both
    assert (await ada.connections(), await ben.connections()) == ({}, {})


async def test_a_block_is_known_to_its_user_and_to_gateways_alone(api: Api, ada: Person, ben: Person) -> None:
    path = f"/v1/me/blocks/{ben.user_id}"
    assert (await ada.call("PUT", path)).status == 204
    partitions = [(partition, envelope.sender_id) for partition, envelope in api.log.published]
    assert {sender_id for _, sender_id in partitions} == {ada.user_id, ben.user_id}
    assert told(api) == {(ada.user_id, ben.user_id)}
    assert (await ada.call("GET", "/v1/me/blocks")).body == {"user_ids": [str(ben.user_id)]}
    assert (await ben.call("GET", "/v1/me/blocks")).body == {"user_ids": []}
    assert (await ben.call("PUT", f"/v1/me/connections/{ada.user_id}")).body["connection"]["state"] == "invited"
    assert told(api) == {(ben.user_id, ada.user_id)}
    assert await ada.connections() == {}
    refused = await ada.call("PUT", f"/v1/me/connections/{ben.user_id}")
    assert refused.refusal == (409, "out_of_order", "user_id")
    assert (await ada.call("DELETE", path)).status == 204
    assert await ada.connections() == {ben.user_id: "invites_me"}


async def test_a_deleted_account_is_no_connection_any_more(ada: Person, ben: Person) -> None:
    await ada.call("PUT", f"/v1/me/connections/{ben.user_id}")
    assert (await ada.call("POST", "/v1/me/deletion", {"current_password": PASSWORD})).status == 204
    assert await ben.connections() == {}


async def test_a_block_hides_how_far_both_have_received_and_read(api: Api, ada: Person, ben: Person) -> None:
    async def marks_seen(reader: Person, other: Person) -> list[tuple[str | None, str | None]]:
        """How far the other one has received and read, as the chat list, the chat and its marks show it."""
        marks = [Mark(user_id=each.user_id, delivered_up_to=8, read_up_to=7) for each in (ada, ben)]
        chat_id = direct_chat_id(ada.user_id, ben.user_id)
        chat = Chat(chat_id=chat_id, marks=marks)
        found = []
        for path, response in (
            ("", ListChatsResponse(chats=[chat])),
            (f"/{chat_id}", GetChatResponse(chat=chat)),
            (f"/{chat_id}/marks", ListMarksResponse(marks=marks)),
        ):
            api.archive.response = response
            body = (await reader.call("GET", f"/v1/chats{path}")).body
            shown = body["marks"] if path else body["chats"][0]["marks"]
            mark: dict[str, str] = next((each for each in shown if each["user_id"] == str(other.user_id)), {})
            found.append((mark.get("delivered_up_to"), mark.get("read_up_to")))
        return found

    pairs = ((ada, ben), (ben, ada), (ada, ada))
    assert [await marks_seen(*pair) for pair in pairs] == [[("8", "7")] * 3] * 3
    await ada.call("PUT", f"/v1/me/blocks/{ben.user_id}")
    hidden = [(None, None)] * 3
    assert [await marks_seen(*pair) for pair in pairs] == [hidden, hidden, [("8", "7")] * 3]
    await ada.call("PATCH", "/v1/me", {"version": 1, "shows_read_marks": False})
    assert await marks_seen(ada, ben) == hidden, "also if read marks are hidden anyway"


@pytest.mark.parametrize("path", ["/v1/me/connections/", "/v1/me/blocks/"])
async def test_a_relationship_needs_another_user_who_exists(api: Api, ada: Person, ben: Person, path: str) -> None:
    assert (await ada.call("PUT", f"{path}{ada.user_id}")).refusal == (422, "invalid", "user_id")
    await api.accounts.delete_user(ben.user_id)
    for user_id in (ben.user_id, 77):
        assert (await ada.call("PUT", f"{path}{user_id}")).refusal == (404, "not_found", "user_id")


async def test_a_block_counts_also_if_the_log_is_away(api: Api, ada: Person, ben: Person) -> None:
    api.log.down = True
    assert (await ada.call("PUT", f"/v1/me/blocks/{ben.user_id}")).status == 204
    assert (await api.accounts.relationships(ben.user_id, [ada.user_id]))[ada.user_id].is_blocked


async def test_a_client_that_disconnects_while_it_blocks_has_told_the_gateways(
    api: Api, ada: Person, ben: Person
) -> None:
    block = partial(ada.call, "PUT", f"/v1/me/blocks/{ben.user_id}")
    await disconnect_after_write(api.accounts, "change_relationship", block)
    assert {envelope.sender_id for _, envelope in api.log.published} == {ada.user_id, ben.user_id}


@contextmanager
def lost_answers(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The store applies changes of relationships, and does not answer."""
    change_relationship = api.accounts.change_relationship

    async def lose_answer(before: Relationship, after: Relationship) -> None:
        await change_relationship(before, after)
        raise Unavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(api.accounts, "change_relationship", lose_answer)
        yield


async def test_a_block_that_the_store_did_not_confirm_is_told_to_the_gateways_and_its_user(
    api: Api, ada: Person, ben: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated request finds the block."""
    for method, user_ids in (("PUT", [str(ben.user_id)]), ("DELETE", [])):
        with lost_answers(api, monkeypatch):
            assert (await ada.call(method, f"/v1/me/blocks/{ben.user_id}")).status == 503
        for _ in range(2):
            assert {envelope.sender_id for _, envelope in api.log.published} == {ada.user_id, ben.user_id}
            assert told(api) == {(ada.user_id, ben.user_id)}
            assert (await ada.call(method, f"/v1/me/blocks/{ben.user_id}")).status == 204
        assert (await ada.call("GET", "/v1/me/blocks")).body == {"user_ids": user_ids}
        told(api)


@pytest.mark.parametrize(
    ("method", "blocker"), [("PUT", ""), ("PUT", "ben"), ("DELETE", ""), ("DELETE", "ada"), ("DELETE", "ben")]
)
async def test_a_connection_that_the_store_did_not_confirm_is_told_to_both_unless_one_blocks_the_other(
    api: Api, ada: Person, ben: Person, monkeypatch: pytest.MonkeyPatch, method: str, blocker: str
) -> None:
    if blocker == "ben":
        await ben.call("PUT", f"/v1/me/blocks/{ada.user_id}")
        await ada.call("PUT", f"/v1/me/connections/{ben.user_id}")
    else:
        await ben.call("PUT", f"/v1/me/connections/{ada.user_id}")
    if blocker == "ada":
        await ada.call("PUT", f"/v1/me/blocks/{ben.user_id}")
        await ben.call("PUT", f"/v1/me/connections/{ada.user_id}")
    own = {(ada.user_id, ben.user_id)}
    wanted = own if blocker else {*own, (ben.user_id, ada.user_id)}
    path = f"/v1/me/connections/{ben.user_id}"
    told(api)
    with lost_answers(api, monkeypatch):
        await ada.call(method, path)
    for _ in range(2):
        assert told(api) == wanted
        await ada.call(method, path)


async def test_connections_and_blocks_have_limits(
    api: Api, ada: Person, ben: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = await person(api, "cat")
    monkeypatch.setattr("bff.people.MAX_CONNECTIONS", 1)
    monkeypatch.setattr("bff.people.MAX_BLOCKS", 1)
    await ada.call("PUT", f"/v1/me/connections/{ben.user_id}")
    await ada.call("PUT", f"/v1/me/blocks/{cat.user_id}")
    assert (await ada.call("PUT", f"/v1/me/blocks/{ben.user_id}")).refusal == (409, "out_of_order", "")
    assert (await ada.call("PUT", f"/v1/me/blocks/{cat.user_id}")).status == 204, "a repetition"
    await ada.call("DELETE", f"/v1/me/blocks/{cat.user_id}")
    assert (await ada.call("PUT", f"/v1/me/connections/{cat.user_id}")).refusal == (409, "out_of_order", "")
    assert (await cat.call("PUT", f"/v1/me/connections/{ben.user_id}")).refusal == (409, "out_of_order", "user_id")
    assert (await ben.call("PUT", f"/v1/me/connections/{ada.user_id}")).body["connection"]["state"] == "connected"


async def test_refused_invitations_do_not_count_in_those_of_the_day(
    api: Api, ada: Person, ben: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = await person(api, "cat")
    monkeypatch.setattr("bff.people.MAX_CONNECTIONS", 1)
    monkeypatch.setattr("bff.people.INVITATIONS_PER_DAY", 1)
    await cat.call("PUT", f"/v1/me/connections/{ben.user_id}")
    for _ in range(2):
        refused = await ada.call("PUT", f"/v1/me/connections/{ben.user_id}")
        assert refused.refusal == (409, "out_of_order", "user_id")
    await cat.call("DELETE", f"/v1/me/connections/{ben.user_id}")
    assert (await ada.call("PUT", f"/v1/me/connections/{ben.user_id}")).status == 200
    await ada.call("DELETE", f"/v1/me/connections/{ben.user_id}")
    assert (await ada.call("PUT", f"/v1/me/connections/{cat.user_id}")).refusal[:2] == (429, "rate_limited")


@pytest.mark.parametrize("limit", [CHANGES_PER_MINUTE, INVITATIONS_PER_DAY])
async def test_changes_and_invitations_are_limited(
    api: Api, ada: Person, ben: Person, limit: int, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    if limit == INVITATIONS_PER_DAY:
        monkeypatch.setattr("bff.people.CHANGES_PER_MINUTE", 1_000)
    path = f"/v1/me/connections/{ben.user_id}"
    for number in range(limit if limit == INVITATIONS_PER_DAY else limit // 2):
        assert (await ada.call("PUT", path)).status == 200, number
        assert (await ada.call("DELETE", path)).status == 204, number
    assert (await ada.call("PUT", path)).refusal[:2] == (429, "rate_limited")


# ---- reports


async def test_a_report_has_its_messages_as_they_are_now(api: Api, ada: Person, ben: Person) -> None:
    message = Message(message_id=9, chat_id="d-1-2", sender_id=ben.user_id, text=Text(body="Rude."))
    edit = Event(change=Change(edited=Edited(text=Text(body="Hi."))))
    star = Event(change=Change(starred=Starred(set=True)))
    api.archive.response = GetMessageResponse(message=HistoryMessage(message=message, changes=[edit, star]))
    body = {"user_id": str(ben.user_id), "chat_id": "d-1-2", "message_ids": ["9"], "reason": " He is\nrude. "}
    reply = await ada.call("POST", "/v1/reports", body)
    assert reply.status == 201
    assert [(each.user_id, each.chat_id, each.message_id) for each in api.archive.requests] == [
        (ada.user_id, "d-1-2", 9)
    ]
    report_id = int(reply.body["report_id"])
    (report,) = await api.accounts.reports(is_open=True, after=0, limit=2)
    assert json.loads(report.messages) == [{"message": to_object(message), "changes": [to_object(edit)]}]
    wanted = Report(report_id, ada.user_id, ben.user_id, "d-1-2", report.messages, "He is\nrude.")
    assert report == wanted


async def test_messages_of_a_deleted_account_can_be_reported(api: Api, ada: Person, ben: Person) -> None:
    message = Message(message_id=9, chat_id="d-1-2", sender_id=ben.user_id, text=Text(body="Rude."))
    api.archive.response = GetMessageResponse(message=HistoryMessage(message=message))
    assert (await ben.call("POST", "/v1/me/deletion", {"current_password": PASSWORD})).status == 204
    body = {"user_id": str(ben.user_id), "reason": "Rude."}
    for method, path in (
        ("POST", "/v1/reports"),
        ("PUT", f"/v1/me/connections/{ben.user_id}"),
        ("PUT", f"/v1/me/blocks/{ben.user_id}"),
    ):
        reply = await ada.call(method, path, body if method == "POST" else None)
        assert reply.refusal == (404, "not_found", "user_id")
    reply = await ada.call("POST", "/v1/reports", body | {"chat_id": "d-1-2", "message_ids": ["9"]})
    assert reply.status == 201
    (report,) = await api.accounts.reports(is_open=True, after=0, limit=2)
    assert report.user_id == ben.user_id


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"user_id": "77"}, (404, "not_found", "user_id")),
        ({"reason": " "}, (422, "invalid", "reason")),
        ({"reason": "x" * 1_001}, (422, "invalid", "reason")),
        ({"message_ids": [str(number + 1) for number in range(21)]}, (422, "invalid", "message_ids")),
        ({"chat_id": ""}, (422, "invalid", "chat_id")),
        ({}, (404, "not_found", "message_ids[0]")),
        ({"message_ids": ["70"]}, (503, "unavailable", "message_ids")),
    ],
)
async def test_a_bad_report_is_refused_and_stores_nothing(
    api: Api, ada: Person, ben: Person, change: dict[str, Any], refusal: tuple[int, str, str]
) -> None:
    api.archive.response = GetMessageResponse(complete_up_to=60)
    body = {"user_id": str(ben.user_id), "chat_id": "d-1-2", "message_ids": ["9"], "reason": "Rude."}
    assert (await ada.call("POST", "/v1/reports", body | change)).refusal == refusal
    assert await api.accounts.reports(is_open=True, after=0, limit=1) == []


async def test_a_user_makes_a_bounded_number_of_reports_a_day_and_of_own_chats_only(
    api: Api, ada: Person, ben: Person
) -> None:
    body = {"user_id": str(ben.user_id), "reason": "Rude."}
    api.archive.response = Refusal(Code.NOT_FOUND, "There is no such chat.", field="chat_id")
    foreign = body | {"chat_id": "d-7-8"}
    assert (await ada.call("POST", "/v1/reports", foreign)).refusal == (404, "not_found", "chat_id")
    for _ in range(REPORTS_PER_DAY):
        assert (await ada.call("POST", "/v1/reports", body)).status == 201
    assert (await ada.call("POST", "/v1/reports", body)).refusal[:2] == (429, "rate_limited")
    assert (await ben.call("POST", "/v1/reports", body | {"user_id": str(ada.user_id)})).status == 201


async def test_a_report_that_could_not_be_stored_counts_for_nothing(
    api: Api, ada: Person, ben: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(_: Report) -> None:
        raise Unavailable("the disk is gone")

    body = {"user_id": str(ben.user_id), "reason": "Rude."}
    with monkeypatch.context() as patch:
        patch.setattr(api.accounts, "add_report", unavailable)
        for _ in range(REPORTS_PER_DAY):
            assert (await ada.call("POST", "/v1/reports", body)).status == 503
    assert (await ada.call("POST", "/v1/reports", body)).status == 201
