"""One trace follows a message from its frame to each delivery and into the store, and a request into the store."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from rookery.serve.engines import open_configuration
from rookery.serve.platform import open_up
from rookery.v1 import session_pb2 as pb
from shared.contract.chats import direct_chat_id
from shared.settings import Settings
from tests.spans import Spans, attributes_of, ids_of
from tests.system.sessions import TRANSPORTS, connector, open_session, text_to
from tools.launch.people import PASSWORD, PATIENCE, Person, open_http, sign_out, sign_up
from tools.launch.process import ANNOUNCED, Process

pytestmark = pytest.mark.usefixtures("spans")

SECRET = "Quetzalcoatl rides at dawn"


def make_settings(folder: Path, **more: object) -> Settings:
    """Everything on loopback, on free ports."""
    gateway = {"websocket_port": 0, "grpc_port": 0, "health_port": 0}
    archive = {"grpc_port": 0, "health_port": 0}
    return Settings.model_validate({"data": folder, "bff": {"port": 0}, "gateway": gateway, "archive": archive, **more})


@asynccontextmanager
async def opened(settings: Settings, *, ratio: float = 1) -> AsyncIterator[Process]:
    """Open the whole platform in this process, as `rookery up` does; yield its addresses."""
    async with open_configuration(settings) as configuration:
        await configuration.set("trace_ratio", json.dumps(ratio))
        await configuration.set("registrations_per_minute", "1000")
    async with open_up(settings) as lines:
        text = "\n".join(lines)
        found = {name: re.search(pattern, text) for name, (pattern, _) in ANNOUNCED.items()}
        addresses = {name: match[1] for name, match in found.items() if match}
        yield cast(Process, SimpleNamespace(url=addresses["page"].rstrip("/"), **addresses))


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Process]:
    async with opened(make_settings(tmp_path)) as ready:
        yield ready


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.01)


async def send(
    platform: Process, spans: Spans, transport: str, *, others: list[str]
) -> tuple[Person, Person, pb.Accepted]:
    """Ada sends to Grace, whose sessions are over the `others`. Return when all spans of the message have ended."""
    ada, grace = await sign_up(platform.url, "ada"), await sign_up(platform.url, "grace")
    async with trio.open_nursery() as nursery:

        async def receive_one(other: str, task_status: trio.TaskStatus[None]) -> None:
            async with open_session(connector(platform, other), grace) as session:
                task_status.started()
                await session.receive_messages(1)

        for other in others:
            await nursery.start(receive_one, other)
        async with open_session(connector(platform, transport), ada) as session:
            spans.clear()
            accepted = await session.send_text(grace.user_id, SECRET)
            await until(lambda: spans.named("record log") and len(spans.named("session deliver")) == len(others))
    return ada, grace, accepted


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_message_is_one_trace_from_its_frame_to_each_session_and_into_the_store(
    platform: Process, spans: Spans, transport: str
) -> None:
    ada, grace, accepted = await send(platform, spans, transport, others=["websocket", "grpc", "grpc"])
    first = spans.one("session send")
    assert {ids_of(span)[0] for span in spans} == {ids_of(first)[0]}
    assert first.parent is None
    assert first.kind is SpanKind.SERVER
    attributes = attributes_of(first)
    assert re.fullmatch("[0-9a-f]{16}", attributes.pop("session.id"))
    assert attributes == {
        "user.id": str(ada.user_id),
        "rookery.transport": transport,
        "rookery.frame": 2,
        "rookery.chat_id": direct_chat_id(ada.user_id, grace.user_id),
        "rookery.event_id": str(accepted.event_id),
    }
    assert [span.name for span in spans.below(first)] == ["publish log", *["read accounts.db"] * 2]
    publish = spans.one("publish log")
    assert publish.kind is SpanKind.PRODUCER
    _see_deliveries(spans, publish, accepted.event_id, grace)
    _see_record(spans, publish, accepted.event_id)


def _see_deliveries(spans: Spans, publish: ReadableSpan, message_id: int, to: Person) -> None:
    deliveries = spans.named("deliver log")
    records = attributes_of(publish)["messaging.batch.message_count"]
    assert len(deliveries) == records
    for delivery in deliveries:
        assert delivery in spans.below(publish)
        assert delivery.kind is SpanKind.CONSUMER
        attributes = attributes_of(delivery)
        assert attributes["messaging.consumer.group.name"] == "gateway"
        assert attributes["messaging.message.id"] == str(message_id)
        assert attributes["rookery.event"] == "message"
        assert {"messaging.destination.partition.id", "messaging.kafka.offset"} <= attributes.keys()
    sessions = [attributes_of(span) for delivery in deliveries for span in spans.below(delivery)]
    assert sorted(session["rookery.transport"] for session in sessions) == ["grpc", "grpc", "websocket"]
    assert {session["user.id"] for session in sessions} == {str(to.user_id)}
    assert len({session["session.id"] for session in sessions}) == 3


def _see_record(spans: Spans, publish: ReadableSpan, message_id: int) -> None:
    record = spans.one("record log")
    assert record in spans.below(publish)
    assert record.kind is SpanKind.CONSUMER
    attributes = attributes_of(record)
    assert attributes["messaging.consumer.group.name"] == "archive"
    assert attributes["messaging.message.id"] == str(message_id)
    (write,) = spans.below(record)
    assert (write.name, write.kind) == ("write chats.db", SpanKind.CLIENT)
    assert attributes_of(write) == {
        "db.system.name": "sqlite",
        "db.namespace": "chats.db",
        "db.operation.name": "write",
    }
    assert record.start_time is not None
    assert record.start_time >= (publish.start_time or 0)


async def test_a_request_is_one_trace_through_the_archive_into_the_store(platform: Process, spans: Spans) -> None:
    ada, _, accepted = await send(platform, spans, "websocket", others=["grpc"])
    spans.clear()
    async with open_http(platform.url) as http:
        answer = await http.get(f"/v1/chats/{accepted.chat_id}/messages", headers=ada.headers)
        assert answer.status_code == 200
        await until(lambda: spans.named("GET /v1/chats/<chat_id>/messages"))
    first = spans.one("GET /v1/chats/<chat_id>/messages")
    assert first.parent is None
    assert first.kind is SpanKind.SERVER
    assert attributes_of(first) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.route": "/v1/chats/<chat_id>/messages",
        "http.response.status_code": 200,
        "user.id": str(ada.user_id),
    }
    (client,) = [span for span in spans.below(first) if "rpc.method" in (span.attributes or {})]
    assert client.kind is SpanKind.CLIENT
    (server,) = spans.below(client)
    assert client.name == server.name == "rookery.v1.ArchiveService/ListMessages"
    assert server.kind is SpanKind.SERVER
    reads = [span.name for span in spans.below(server)]  # of the watermarks, unless they are cached, and of the page
    assert reads in (["read chats.db"], ["read chats.db"] * 2)
    assert {ids_of(span)[0] for span in spans} == {ids_of(first)[0]}


async def test_changes_and_typing_are_traced(platform: Process, spans: Spans) -> None:
    ada, grace = await sign_up(platform.url, "ada"), await sign_up(platform.url, "grace")
    chat_id = ada.chat_with(grace)
    async with open_session(connector(platform, "grpc"), ada) as session:
        target_id = (await session.send_text(grace.user_id, SECRET)).event_id
        await until(lambda: spans.named("record log"))
        spans.clear()
        changes = {
            "reacted": pb.Change(target_id=target_id, client_change_id="a", reacted=pb.Reacted(emoji="🦜", set=True)),
            "edited": pb.Change(target_id=target_id, client_change_id="b", edited=pb.Edited(text=pb.Text(body=SECRET))),
            "marked": pb.Change(marked=pb.Marked(read_up_to=target_id)),
        }
        for change in changes.values():
            change.chat_id = chat_id
            await session.send_frame(change=change)
        await session.send_frame(typing=pb.Typing(chat_id=chat_id))
        names = [f"session {name}" for name in changes]
        await until(
            lambda: {*names, "session typing"} <= set(spans.names) and len(spans.named("record log")) == len(changes)
        )
        for name in names:
            first = spans.one(name)
            assert "publish log" in [span.name for span in spans.below(first)]
    assert not [secret for secret in ("🦜", SECRET) if secret in spans.exported()]


async def test_a_sign_out_is_a_step_of_its_request(platform: Process, spans: Spans) -> None:
    ada = await sign_up(platform.url, "ada")
    spans.clear()
    await sign_out(platform.url, ada)
    await until(lambda: spans.named("DELETE /v1/tokens/current"))
    first = spans.one("DELETE /v1/tokens/current")
    assert {"write accounts.db", "publish log"} <= {span.name for span in spans.below(first)}


async def test_a_refusal_ends_the_trace_with_its_code(platform: Process, spans: Spans) -> None:
    ada = await sign_up(platform.url, "ada")
    async with open_session(connector(platform, "websocket"), ada) as session:
        spans.clear()
        await session.send_frame(send=text_to(1 << 40, SECRET))
        await session.next("refused")
        await until(lambda: spans.named("session send"))
    first = spans.one("session send")
    assert attributes_of(first)["rookery.refusal"] == "not_found"
    assert first.status.status_code is StatusCode.UNSET


async def test_traces_contain_no_texts_and_no_names(platform: Process, spans: Spans) -> None:
    ada, grace, accepted = await send(platform, spans, "websocket", others=["grpc"])
    async with open_http(platform.url) as http:
        found = await http.get("/v1/profiles", params={"query": grace.name}, headers=ada.headers)
        await http.patch("/v1/me", json={"display_name": "Countess", "version": 1}, headers=ada.headers)
        await http.post("/v1/tokens", json={"name": ada.name, "password": "wrong password"})
        await http.post("/v1/tokens/refresh", json={"refresh_token": ada.refresh_token})
        await http.get(f"/v1/{grace.name}", headers=ada.headers)
        assert found.status_code in (200, 400, 422)
    async with open_session(connector(platform, "grpc"), grace) as session:
        await session.send_frame(send=text_to(ada.user_id, "Nahuatl", "my-own-message-id"))
        await session.next("accepted")
        await until(lambda: len(spans.named("record log")) == 2)
    exported = spans.exported()
    assert str(accepted.event_id) in exported
    secrets = [SECRET, "Nahuatl", "my-own-message-id", PASSWORD, "wrong password", "Countess"]
    secrets += [each for person in (ada, grace) for each in (person.name, person.access_token, person.refresh_token)]
    assert [secret for secret in secrets if secret in exported] == []


async def test_no_session_is_traced_at_a_ratio_of_0(tmp_path: Path, spans: Spans) -> None:
    async with opened(make_settings(tmp_path), ratio=0) as platform:
        ada, grace = await sign_up(platform.url, "ada"), await sign_up(platform.url, "grace")
        async with (
            open_session(connector(platform, "websocket"), ada) as session,
            open_session(connector(platform, "grpc"), grace) as other,
        ):
            await session.send_text(grace.user_id, SECRET)
            await other.receive_messages(1)
    assert not spans.names


# ---- the decision to trace a request

SAMPLED = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
UNSAMPLED = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
GARBAGE = {"traceparent": "00-whatever"}

PATHS = ("/v1/me", "/v1/chats", "/v1/me/connections", "/v1/me/gateway")
"""One for each request, since a span may end after the response is received."""


async def spans_of_requests(
    settings: Settings, spans: Spans, *headers: dict[str, str], ratio: float
) -> list[list[ReadableSpan]]:
    """Send a request to the API with each of the headers; return its server span, or none if it is not traced."""
    requests = dict(zip(PATHS, headers, strict=False))
    async with (
        opened(settings, ratio=ratio) as platform,
        httpx.AsyncClient(base_url=platform.url, timeout=PATIENCE) as http,
    ):
        for path, each in requests.items():
            (await http.get("/readyz", headers=each)).raise_for_status()
            await http.get(path, headers=each)
    return [spans.named(f"GET {path}") for path in requests]


async def test_an_untrusted_caller_can_not_turn_its_trace_on(tmp_path: Path, spans: Spans) -> None:
    assert await spans_of_requests(make_settings(tmp_path), spans, SAMPLED, ratio=0) == [[]]
    assert not spans.names


async def test_the_trace_of_an_untrusted_caller_is_linked_to_and_not_joined(tmp_path: Path, spans: Spans) -> None:
    callers = (SAMPLED, UNSAMPLED)
    found = await spans_of_requests(make_settings(tmp_path), spans, *callers, ratio=1)
    for headers, (span,) in zip(callers, found, strict=True):
        assert span.parent is None
        (link,) = span.links
        assert f"{link.context.trace_id:032x}" in headers["traceparent"]
        assert ids_of(span)[0] not in headers["traceparent"]


@pytest.mark.parametrize(
    ("ratio", "traced"), [(0, (True, False, False, False)), (1, (True, False, True, True))], ids=["none", "all"]
)
async def test_a_trusted_caller_decides(
    tmp_path: Path, spans: Spans, ratio: float, traced: tuple[bool, bool, bool, bool]
) -> None:
    settings = make_settings(tmp_path, traces={"trust_callers": True})
    (sampled, *others) = found = await spans_of_requests(settings, spans, SAMPLED, UNSAMPLED, GARBAGE, {}, ratio=ratio)
    assert tuple(len(each) == 1 for each in found) == traced
    parent = sampled[0].parent
    assert parent is not None
    assert f"{parent.trace_id:032x}-{parent.span_id:016x}" in SAMPLED["traceparent"]
    assert [span.parent for each in others for span in each] == [None] * sum(traced[1:])
