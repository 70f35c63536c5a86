"""Traces of several processes on real engines, as Jaeger returns them."""

from collections.abc import Iterator

import pytest
import trio

from rookery.v1 import session_pb2 as pb
from tests.needed import needed
from tests.operations.watched import sign_up_at
from tests.system.sessions import connector, open_session
from tools.engines.engine import running
from tools.engines.kinds import Engines
from tools.launch.cluster import UNHURRIED, Cluster, running_cluster
from tools.launch.people import PASSWORD, PATIENCE, Person, open_http, read_history
from tools.launch.process import Process, wait_until
from tools.operations.jaeger import Jaeger, Span, Trace

pytestmark = pytest.mark.slow

SECRET = "Quetzalcoatl rides at dawn"

MESSAGES = "messages_by_chat"
"""The table of messages."""

DELIVERIES = 3
"""Of each message: to Ada's other device, and to two devices of Grace."""


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    needed(Jaeger.install)
    with running(Jaeger(tmp_path_factory.mktemp("jaeger"))) as ready:
        yield ready


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory,
    engines: Engines,
    jaeger: Jaeger,
) -> Iterator[Cluster]:
    """Each process sends its traces to Jaeger, without an error in its log, and stops cleanly."""
    folder = tmp_path_factory.mktemp("cluster")
    traces = {"ROOKERY_TRACES__ENDPOINT": jaeger.endpoint, "ROOKERY_TRACES__TIMEOUT_SECONDS": "30"}
    with running_cluster(Cluster(folder, engines, bffs=1, archives=1, settings=UNHURRIED | traces)) as ready:
        yield ready
    assert [process.name for process in ready.processes if process.process.returncode != 0] == []
    for process in ready.processes:
        lines = process.log_lines()
        assert [line for line in lines if line["level"] == "error" or line["event"].startswith("traces_")] == []


def set_ratio(cluster: Cluster, ratio: float) -> None:
    """Set the ratio by command; return once every process that samples has applied it."""
    cluster.run("config", "set", "trace_ratio", str(ratio))
    deciding = [*cluster.gateways, *cluster.bffs]
    assert wait_until(lambda: {ratio_of(process) for process in deciding} == {ratio}, PATIENCE)


def ratio_of(process: Process) -> float | None:
    """The ratio that the process has applied last."""
    changes = [line for line in process.log_lines() if line["event"] == "configuration_changed"]
    ratios: list[float] = [line["trace_ratio"] for line in changes if "trace_ratio" in line]
    return ratios[-1] if ratios else None


async def send(cluster: Cluster, ada: Person, grace: Person) -> pb.Accepted:
    """Send from Ada's browser; wait until Ada's phone, Grace's phone and Grace's browser receive the message."""
    first, second = cluster.gateways
    async with (
        open_session(connector(first, "websocket"), ada) as browser,
        open_session(connector(first, "grpc"), ada) as phone,
        open_session(connector(second, "grpc"), grace) as her_phone,
        open_session(connector(second, "websocket"), grace) as her_browser,
    ):
        accepted = await browser.send_text(grace.user_id, SECRET)
        for receiver in (phone, her_phone, her_browser):
            await receiver.next_where(lambda frame: frame.event.event_id == accepted.event_id)
    return accepted


def trace_of(jaeger: Jaeger, accepted: pb.Accepted) -> Trace:
    """Return the trace of a message, once it is complete."""

    def find(jaeger: Jaeger) -> Trace | None:
        for trace in jaeger.traces("session send", rookery__event_id=str(accepted.event_id)):
            if trace.is_whole and len(trace.named("session deliver")) == DELIVERIES and _writes(trace):
                return trace
        return None

    return jaeger.wait_for(find)


def _writes(trace: Trace) -> list[Span]:
    return [span for span in trace.spans if span.tags.get("db.operation.name") == "BATCH"]


async def test_a_message_is_one_trace_through_all_processes_and_a_request_too(cluster: Cluster, jaeger: Jaeger) -> None:
    async with open_http(cluster.bffs[0].url) as http:
        ada, grace = [await sign_up_at(http, cluster.bffs[0].url, gateway.grpc) for gateway in cluster.gateways]
    await trio.to_thread.run_sync(set_ratio, cluster, 1)
    accepted = await send(cluster, ada, grace)
    history = await read_history(cluster.bffs[0].url, grace, accepted.chat_id, until=bool)
    assert [item.message.message_id for item in history] == [accepted.event_id]
    trace = await trio.to_thread.run_sync(trace_of, jaeger, accepted)
    print(trace)
    see_message(trace, cluster, ada, grace, accepted)
    request = await trio.to_thread.run_sync(request_of, jaeger, grace)
    print(request)
    see_request(request)
    spans = "".join(str(span) for trace in jaeger.traces() for span in trace.spans)
    assert str(accepted.event_id) in spans
    secrets = [SECRET, PASSWORD, *(word for each in (ada, grace) for word in (each.name, each.access_token))]
    assert [secret for secret in secrets if secret in spans] == []


def see_message(trace: Trace, cluster: Cluster, ada: Person, grace: Person, accepted: pb.Accepted) -> None:
    """Each step is below the one that caused it, in the process that did it. Unit tests check the other attributes."""
    topic = cluster.environment["ROOKERY_KAFKA__TOPIC"]
    sent = trace.first
    assert (sent.name, sent.kind, sent.role) == ("session send", "server", "gateway")
    assert (sent.process["service"], sent.process["service.instance.id"]) == ("rookery", "gateway-1")
    assert sent.tags["rookery.chat_id"] == accepted.chat_id
    (publish,) = [span for span in trace.below(sent) if span.kind == "producer"]
    assert publish.name == f"publish {topic}"
    see_deliveries(trace, publish, ada, grace)
    (record,) = trace.named(f"record {topic}")
    assert record in trace.below(publish)
    assert record.process["service.instance.id"] == "archive-1"
    (write,) = _writes(trace)
    assert write in trace.below(record)
    assert trace.is_within(write, sent)
    assert not any("error" in span.tags for span in trace.spans)


def see_deliveries(trace: Trace, publish: Span, ada: Person, grace: Person) -> None:
    """Each gateway has read its copy, and has delivered it to each session except the sender's."""
    deliveries = [span for span in trace.below(publish) if span.tags.get("messaging.consumer.group.name") == "gateway"]
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
    """Return the trace of a request that read messages, once it is complete.

    A request before the archive has recorded the first message gets an empty answer, and reads none.
    """

    def find(jaeger: Jaeger) -> Trace | None:
        for trace in jaeger.traces("GET /v1/chats/<chat_id>/messages", user__id=str(reader.user_id)):
            if trace.is_whole and any(span.tags.get("db.collection.name") == MESSAGES for span in trace.spans):
                return trace
        return None

    return jaeger.wait_for(find)


def see_request(trace: Trace) -> None:
    first = trace.first
    assert (first.name, first.kind, first.role) == ("GET /v1/chats/<chat_id>/messages", "server", "bff")
    client, server = trace.named("rookery.v1.ArchiveService/ListMessages")
    assert (client.role, server.role) == ("bff", "archive")
    assert client in trace.below(first)
    assert trace.below(client) == [server]
    assert {(span.role, span.tags["db.system.name"]) for span in trace.below(server)} == {("archive", "cassandra")}
