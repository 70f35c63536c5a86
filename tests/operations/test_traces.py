"""What a platform engineer sees in Jaeger of a platform of several processes, on real engines."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from rookery.v1 import session_pb2 as pb
from tests.needed import needed
from tests.operations.watched import UNHURRIED
from tests.system.sessions import Session, connector, open_session
from tools.engines.cassandra import Cassandra
from tools.engines.engine import running
from tools.engines.kafka import Kafka
from tools.engines.redis import Redis
from tools.launch.cluster import Cluster, Engines, running_cluster
from tools.launch.people import PASSWORD, PATIENCE, Person, open_http, read_history, sign_up
from tools.launch.process import Process, wait_until
from tools.operations.jaeger import Jaeger, Span, Trace

SECRET = "Quetzalcoatl rides at dawn"

MESSAGES = "messages_by_chat"
"""The table of what was said."""

DELIVERIES = 3
"""Of each message: to Ada's other device, and to two of Grace's."""


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    needed(Jaeger.install)
    with running(Jaeger(tmp_path_factory.mktemp("jaeger"))) as ready:
        yield ready


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_server: Kafka,
    cassandra_server: Cassandra,
    redis_server: Redis,
    jaeger: Jaeger,
) -> Iterator[Cluster]:
    """Each process tells Jaeger what it traces. None logs an error or a warning of that, and each stops cleanly."""
    engines = Engines(kafka_server, cassandra_server, redis_server)
    folder = tmp_path_factory.mktemp("cluster")
    told = {"ROOKERY_TRACES__ENDPOINT": jaeger.endpoint, "ROOKERY_TRACES__TIMEOUT_SECONDS": "30"}
    with running_cluster(Cluster(folder, engines, bffs=1, archives=1, settings=UNHURRIED | told)) as ready:
        yield ready
    assert [process.name for process in ready.processes if process.process.returncode != 0] == []
    for process in ready.processes:
        lines = process.log_lines()
        assert [line for line in lines if line["level"] == "error" or line["event"].startswith("traces_")] == []


def set_ratio(cluster: Cluster, ratio: float) -> None:
    """As a person does it; returns once every process that decides has heard of it."""
    cluster.run("config", "set", "trace_ratio", str(ratio))
    deciding = [*cluster.gateways, *cluster.bffs]
    assert wait_until(lambda: {ratio_of(process) for process in deciding} == {ratio}, PATIENCE)


def ratio_of(process: Process) -> float | None:
    """As it has said that it changed, the last time."""
    changes = [line for line in process.log_lines() if line["event"] == "configuration_changed"]
    ratios: list[float] = [line["trace_ratio"] for line in changes if "trace_ratio" in line]
    return ratios[-1] if ratios else None


async def sign_up_at(cluster: Cluster, gateway: Process) -> Person:
    """Someone whose sessions go to this gateway."""
    with trio.fail_after(PATIENCE):
        while True:
            person = await sign_up(cluster.bffs[0].url, "someone")
            async with open_http(cluster.bffs[0].url) as http:
                answer = await http.get("/v1/me/gateway", headers=person.headers)
            if answer.json()["grpc"] == gateway.grpc:
                return person


@asynccontextmanager
async def chatting(cluster: Cluster, ada: Person, grace: Person) -> AsyncIterator[tuple[Session, list[Session]]]:
    """Ada in a browser, whom others hear: she herself on her phone, and Grace on her phone and in a browser."""
    first, second = cluster.gateways
    async with (
        open_session(connector(first, "websocket"), ada) as browser,
        open_session(connector(first, "grpc"), ada) as phone,
        open_session(connector(second, "grpc"), grace) as her_phone,
        open_session(connector(second, "websocket"), grace) as her_browser,
    ):
        yield browser, [phone, her_phone, her_browser]


async def send(cluster: Cluster, ada: Person, grace: Person) -> pb.Accepted:
    async with chatting(cluster, ada, grace) as (browser, others):
        accepted = await browser.send_text(grace.user_id, SECRET)
        for other in others:
            await other.next_where(lambda frame: frame.event.event_id == accepted.message_id)
    return accepted


def trace_of(jaeger: Jaeger, accepted: pb.Accepted) -> Trace:
    """Of a message, once all of it is there."""

    def find(jaeger: Jaeger) -> Trace | None:
        for trace in jaeger.traces("session send", rookery__message_id=str(accepted.message_id)):
            if trace.is_whole and len(trace.named("session deliver")) == DELIVERIES and _writes(trace):
                return trace
        return None

    return jaeger.wait_for(find)


def _writes(trace: Trace) -> list[Span]:
    return [span for span in trace.spans if span.tags.get("db.operation.name") == "BATCH"]


async def test_a_message_is_one_trace_through_all_processes_and_a_request_too(cluster: Cluster, jaeger: Jaeger) -> None:
    first, second = cluster.gateways
    ada, grace = await sign_up_at(cluster, first), await sign_up_at(cluster, second)
    await trio.to_thread.run_sync(set_ratio, cluster, 1)
    accepted = await send(cluster, ada, grace)
    history = await read_history(cluster.bffs[0].url, grace, accepted.chat_id, until=bool)
    assert [item.message.message_id for item in history] == [accepted.message_id]
    trace = await trio.to_thread.run_sync(trace_of, jaeger, accepted)
    print(trace)
    see_message(trace, cluster, ada, grace, accepted)
    request = await trio.to_thread.run_sync(request_of, jaeger, grace)
    print(request)
    see_request(request, cluster)
    told = "".join(str(span) for trace in jaeger.traces() for span in trace.spans)
    assert str(accepted.message_id) in told
    secrets = [SECRET, PASSWORD, *(word for each in (ada, grace) for word in (each.name, each.access_token))]
    assert [secret for secret in secrets if secret in told] == []


def see_message(trace: Trace, cluster: Cluster, ada: Person, grace: Person, accepted: pb.Accepted) -> None:
    topic = cluster.environment["ROOKERY_KAFKA__TOPIC"]
    sent = trace.first
    assert (sent.name, sent.kind, sent.role) == ("session send", "server", "gateway")
    assert sent.process["service"] == "rookery"
    assert sent.process["service.instance.id"] == "gateway-1"
    assert sent.process["service.version"]
    assert (sent.tags["user.id"], sent.tags["rookery.transport"]) == (str(ada.user_id), "websocket")
    assert sent.tags["rookery.chat_id"] == accepted.chat_id
    (publish,) = [span for span in trace.below(sent) if span.kind == "producer"]
    assert publish.name == f"publish {topic}"
    assert publish.tags["messaging.system"] == "kafka"
    assert publish.tags["messaging.batch.message_count"] in (1, 2)
    assert sent.start_us <= publish.start_us <= publish.end_us <= sent.end_us
    see_deliveries(trace, publish, ada, grace)
    (record,) = trace.named(f"record {topic}")
    assert record in trace.below(publish)
    assert (record.kind, record.role, record.process["service.instance.id"]) == ("consumer", "archive", "archive-1")
    assert record.tags["messaging.consumer.group.name"] == "archive"
    assert record.tags["messaging.message.id"] == str(accepted.message_id)
    (write,) = _writes(trace)
    assert write in trace.below(record)
    assert trace.is_within(write, sent)
    assert (write.kind, write.tags["db.system.name"]) == ("client", "cassandra")
    assert write.tags["db.namespace"] == cluster.environment["ROOKERY_CASSANDRA__KEYSPACE"]
    assert not any("error" in span.tags for span in trace.spans)


def see_deliveries(trace: Trace, publish: Span, ada: Person, grace: Person) -> None:
    """Each gateway has read its copy, and each session but the one that sent it was given it."""
    deliveries = [span for span in trace.below(publish) if span.tags.get("messaging.consumer.group.name") == "gateway"]
    assert {(span.kind, span.role) for span in deliveries} == {("consumer", "gateway")}
    assert {span.process["service.instance.id"] for span in deliveries} == {"gateway-1", "gateway-2"}
    at = {
        (delivery.process["service.instance.id"], span.tags["user.id"], span.tags["rookery.transport"])
        for delivery in deliveries
        for span in trace.below(delivery)
    }
    assert at == {
        ("gateway-1", str(ada.user_id), "grpc"),
        ("gateway-2", str(grace.user_id), "grpc"),
        ("gateway-2", str(grace.user_id), "websocket"),
    }


def request_of(jaeger: Jaeger, reader: Person) -> Trace:
    """Of one in which they read messages, once all of it is there.

    Whoever asks before the archive has written the first gets an empty answer, for which it needs no messages.
    """

    def find(jaeger: Jaeger) -> Trace | None:
        for trace in jaeger.traces("GET /v1/chats/<chat_id>/messages", user__id=str(reader.user_id)):
            if trace.is_whole and any(span.tags.get("db.collection.name") == MESSAGES for span in trace.spans):
                return trace
        return None

    return jaeger.wait_for(find)


def see_request(trace: Trace, cluster: Cluster) -> None:
    first = trace.first
    assert (first.name, first.kind, first.role) == ("GET /v1/chats/<chat_id>/messages", "server", "bff")
    assert first.tags["http.response.status_code"] == 200
    asked, answered = trace.named("rookery.v1.ArchiveService/ListMessages")
    assert (asked.kind, asked.role, answered.kind, answered.role) == ("client", "bff", "server", "archive")
    assert asked in trace.below(first)
    assert trace.below(asked) == [answered]
    reads = trace.below(answered)
    assert reads
    assert {(span.kind, span.role, span.tags["db.system.name"]) for span in reads} == {
        ("client", "archive", "cassandra")
    }
    assert MESSAGES in {span.tags.get("db.collection.name") for span in reads}
    assert all("?" in span.tags["db.query.text"] for span in reads if "db.query.text" in span.tags)


async def test_a_ratio_of_0_stops_new_traces_at_once_and_1_brings_them_back(cluster: Cluster, jaeger: Jaeger) -> None:
    first, second = cluster.gateways
    ada, grace = await sign_up_at(cluster, first), await sign_up_at(cluster, second)
    messages: list[pb.Accepted] = []
    for ratio in (1, 0, 1):
        await trio.to_thread.run_sync(set_ratio, cluster, ratio)
        messages.append(await send(cluster, ada, grace))
    before, between, after = messages
    await trio.to_thread.run_sync(trace_of, jaeger, before)
    await trio.to_thread.run_sync(trace_of, jaeger, after)  # what came before it was sent before it
    assert not jaeger.traces(rookery__message_id=str(between.message_id))
    assert not jaeger.traces(messaging__message__id=str(between.message_id))
