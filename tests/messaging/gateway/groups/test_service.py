"""The gRPC service: calls need the token of a user, and count as theirs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import structlog
import trio
from opentelemetry.trace import SpanKind

from messaging.gateway import role
from messaging.gateway.gateway import Gateway
from messaging.gateway.groups import service
from messaging.gateway.groups.service import MAX_CALLS, GroupService
from messaging.gateway.role import GRPC_LIMITS, grpc_interceptors
from rookery.v1.group_service_grpc import GroupServiceStub
from rookery.v1.group_service_pb2 import AddMembers, ChangeGroupRequest, ChangeMember, ChangeSettings, RemoveMember
from rookery.v1.groups_pb2 import ROLE_OWNER
from rookery.v1.session_pb2 import Event
from shared.accounts.departures import DepartureTokens
from shared.accounts.tokens import TokenVerifier
from shared.background import open_background
from shared.configuration import LiveConfiguration
from shared.configuration.live import Live
from shared.contract.errors import Refusal, Unavailable
from shared.net.admission import Admission, ConnectionBudget
from shared.rpc import RpcError, Status, call_unary, open_channel, open_stream, serve_rpc
from shared.rpc.client.prepare import propagate_trace, send_token
from shared.rpc.refusals import refusal_sent_with
from shared.rpc.server.interceptors import MAX_STRANGERS
from shared.telemetry import traces
from shared.throttle import HOUR
from tests.messaging.gateway.groups.test_forms import ANN, change, creation, invite, joined
from tests.messaging.gateway.harness import BEN, PATIENCE, Platform
from tests.spans import Spans, ids_of
from tests.waiting import until

LIVE = Live.fixed(
    LiveConfiguration(trace_ratio=1, groups_per_hour=3, member_additions_per_minute=2, unknown_chats_per_minute=2)
)


class Server:
    def __init__(self, platform: Platform, gateway: Gateway) -> None:
        self.platform = platform
        self.departures = DepartureTokens(platform.accounts, platform.issuer.keys)
        self.service = GroupService(gateway.sequencer, TokenVerifier(platform.accounts), self.departures, LIVE)
        self.admission: Admission = ConnectionBudget().add_listener()
        self.port = 0

    @asynccontextmanager
    async def stub(self, token: str | None) -> AsyncIterator[GroupServiceStub]:
        prepare = [propagate_trace] if token is None else [propagate_trace, send_token(token)]
        async with open_channel("127.0.0.1", self.port, prepare=prepare) as channel:
            yield GroupServiceStub(channel)

    async def call(self, token: str | None, request: ChangeGroupRequest) -> Event | Refusal:
        async with self.stub(token) as stub:
            try:
                return (await call_unary(stub.ChangeGroup, request, timeout=PATIENCE)).event
            except RpcError as error:
                refusal = refusal_sent_with(error)
                assert refusal is not None
                return refusal


@pytest.fixture
def max_strangers() -> int:
    """Calls that may wait for the verification of their tokens."""
    return MAX_STRANGERS


@pytest.fixture
async def server(
    platform: Platform, gateway: Gateway, max_strangers: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    monkeypatch.setattr(role, "MAX_STRANGERS", max_strangers)
    opened = Server(platform, gateway)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    opened.port = listeners[0].socket.getsockname()[1]
    async with open_background() as nursery:
        interceptors = grpc_interceptors(opened.service)
        serve = partial(serve_rpc, limits=GRPC_LIMITS, admission=opened.admission, interceptors=interceptors)
        await nursery.start(serve, [opened.service], listeners)
        yield opened


async def test_a_user_changes_a_group_and_its_members_receive_it(
    server: Server, gateway: Gateway, spans: Spans
) -> None:
    """It is a trace that the caller's is linked to."""
    platform, request = server.platform, creation("a", BEN)
    token = await platform.token(ANN)
    async with platform.sign_in(gateway, BEN) as ben:
        span = traces.begin("HTTP", SpanKind.SERVER, {})
        with traces.current(span):
            event = await server.call(token, request)
        span.end()
        assert isinstance(event, Event)
        assert (event.message.chat_id, event.message.sender_id) == (request.chat_id, ANN)
        received = (await ben.until("event")).event
        assert received.message == event.message
        assert received.position.epoch
    (call,) = (each for each in spans.named("rookery.v1.GroupService/ChangeGroup") if each.kind is SpanKind.SERVER)
    assert call.links[0].context.trace_id == span.get_span_context().trace_id
    assert ids_of(spans.one("publish log"))[0] == ids_of(call)[0]


async def test_a_refusal_has_its_code_and_field(server: Server) -> None:
    refusal = await server.call(await server.platform.token(ANN), creation(name=""))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == ("invalid", "name")


@pytest.mark.parametrize("token", [None, "forged"])
async def test_a_call_without_a_valid_token_is_refused_unread(server: Server, token: str | None) -> None:
    async with server.stub(token) as stub, open_stream(stub.ChangeGroup) as stream:
        with pytest.raises(RpcError) as caught:
            await stream.receive()
    refusal = refusal_sent_with(caught.value)
    assert refusal is not None
    assert refusal.code == "unauthenticated"


async def test_a_departure_token_takes_only_a_deleted_account_out_of_a_group(server: Server) -> None:
    chat_id = creation("a", BEN).chat_id
    assert isinstance(await server.call(await server.platform.token(ANN), creation("a", BEN)), Event)
    leave = ChangeGroupRequest(chat_id=chat_id, client_change_id="l", remove_member=RemoveMember(user_id=ANN))
    hand_over = ChangeGroupRequest(
        chat_id=chat_id, client_change_id="h", change_member=ChangeMember(user_id=BEN, role=ROLE_OWNER)
    )
    rename = ChangeGroupRequest(chat_id=chat_id, client_change_id="r", change_settings=ChangeSettings(name="Mine"))
    remove = ChangeGroupRequest(chat_id=chat_id, client_change_id="b", remove_member=RemoveMember(user_id=BEN))
    token = await server.departures.issue(ANN)
    codes = []
    for request in (leave, rename, remove, hand_over, leave):
        answer = await server.call(token, request)
        codes.append("done" if isinstance(answer, Event) else str(answer.code))
        await server.platform.accounts.delete_user(ANN)
    assert codes == ["unauthenticated", "forbidden", "forbidden", "done", "done"]


async def test_new_groups_and_additions_of_a_user_are_limited_but_failures_of_ours_do_not_count(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await server.platform.token(ANN)
    add = ChangeGroupRequest(chat_id="g-7", client_change_id="x", add_members=AddMembers(user_ids=[BEN]))
    with monkeypatch.context() as patch:
        patch.setattr(server.service._sequencer, "is_closed", True)
        for request in (creation(), add) * 4:
            assert getattr(await server.call(token, request), "code", "") == "unavailable"
    made = [await server.call(token, creation(str(number))) for number in range(4)]
    added = [await server.call(token, request) for request in (add, joined("s"), invite())]
    assert [getattr(answer, "code", "done") for answer in made] == ["done"] * 3 + ["rate_limited"]
    assert [getattr(answer, "code", "done") for answer in added] == ["not_found"] * 2 + ["rate_limited"]
    assert isinstance(refused := made[-1], Refusal)
    assert 0 < refused.retry_after_ms <= HOUR * 1000 / 3
    other = await server.call(await server.platform.token(BEN), creation())
    assert getattr(other, "code", "") != "rate_limited"


async def test_requests_for_chats_of_others_are_limited_and_invalid_links_on_their_own(server: Server) -> None:
    """Not the departures of a deleted account."""
    token = await server.platform.token(ANN)
    assert isinstance(await server.call(token, creation()), Event)
    stranger = await server.platform.token(BEN)
    rename = change(change_settings=ChangeSettings(name="Mine"))
    rename.chat_id, rename.client_change_id = creation().chat_id, "b"
    leave = change(remove_member=RemoveMember(user_id=BEN))
    answers = [await server.call(stranger, request) for request in (rename, leave, leave, rename, joined())]
    assert [getattr(each, "code", "") for each in answers] == ["not_found"] * 2 + ["rate_limited"] * 3
    guesses = [await server.call(stranger, joined("s")) for _ in range(3)]
    assert [getattr(each, "code", "") for each in guesses] == ["not_found"] * 2 + ["rate_limited"]
    for refused in (answers[-1], guesses[-1]):
        assert isinstance(refused, Refusal)
        assert "not yours" in refused.message
    assert isinstance(await server.call(token, rename), Event), "others are not limited"
    departure = await server.departures.issue(BEN)
    await server.platform.accounts.delete_user(BEN)
    assert getattr(await server.call(departure, leave), "code", "") == "not_found"


async def test_a_user_joins_one_group_a_few_times_an_hour(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "JOINS_PER_HOUR", 1)
    token = await server.platform.token(ANN)
    other = joined()
    other.chat_id = "g-8"
    answers = [await server.call(token, request) for request in (joined(), joined(), other)]
    assert [getattr(answer, "code", "") for answer in answers] == ["not_found", "rate_limited", "not_found"]


async def test_changes_of_settings_by_a_user_are_limited_but_failures_of_ours_do_not_count(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SETTINGS_PER_MINUTE", 2)
    token = await server.platform.token(ANN)
    assert isinstance(await server.call(token, creation()), Event)

    def rename(name: str) -> ChangeGroupRequest:
        changed = ChangeSettings(name=name)
        return ChangeGroupRequest(chat_id=creation().chat_id, client_change_id=name, change_settings=changed)

    with monkeypatch.context() as patch:
        patch.setattr(server.service._sequencer, "is_closed", True)
        for _ in range(3):
            assert getattr(await server.call(token, rename("A")), "code", "") == "unavailable"
    answers = [await server.call(token, rename(name)) for name in "ABC"]
    assert [getattr(answer, "code", "done") for answer in answers] == ["done"] * 2 + ["rate_limited"]
    assert isinstance(refused := answers[-1], Refusal)
    assert 0 < refused.retry_after_ms <= 30_000


async def test_nothing_is_remembered_of_a_join_whose_chat_id_is_that_of_no_group(server: Server) -> None:
    """Such an id may be as long as a request."""
    request = joined()
    request.chat_id = "g-" + "7" * 100_000
    refusal = await server.call(await server.platform.token(ANN), request)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == ("not_found", "chat_id")
    assert len(server.service._joins) == 0


async def test_an_engine_that_does_not_answer_makes_calls_unavailable(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("secret")

    token = await server.platform.token(ANN)
    for owner, method in ((server.platform.accounts, "users"), (TokenVerifier, "verify")):
        monkeypatch.setattr(owner, method, away)
        refusal = await server.call(token, creation("a", BEN))
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.retryable) == ("unavailable", True)
        assert "secret" not in refusal.message


async def test_calls_of_strangers_that_an_engine_does_not_answer_are_logged_once_a_minute(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(TokenVerifier, "verify", away)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert getattr(await server.call("any", creation()), "code", "") == "unavailable"
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["group_request_unavailable"]


@pytest.mark.parametrize("max_strangers", [2])
async def test_calls_whose_tokens_are_not_verified_yet_have_a_bound(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many ends the oldest, which its client may make again."""
    waiting, ended = 0, list[Status]()

    async def slow(*_: object) -> None:
        nonlocal waiting
        waiting += 1
        await trio.sleep_forever()

    monkeypatch.setattr(TokenVerifier, "verify", slow)
    async with server.stub("any") as stub, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def oldest() -> None:
            with pytest.raises(RpcError, match="call again") as caught:
                await call_unary(stub.ChangeGroup, creation(), timeout=PATIENCE)
            ended.append(caught.value.status)

        await until(lambda: waiting == 1)
        for _ in range(2):
            nursery.start_soon(partial(call_unary, stub.ChangeGroup, creation(), timeout=PATIENCE))
        await until(lambda: ended == [Status.UNAVAILABLE])
        await until(lambda: waiting == 3)
        nursery.cancel_scope.cancel()


async def test_a_connection_is_authenticated_while_a_call_lasts_and_a_user_has_a_few_at_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls whose message does not arrive end in time."""
    monkeypatch.setattr(service, "REQUEST_SECONDS", 60.0)
    token = await server.platform.token(ANN)
    ended: list[object] = []
    async with server.stub(token) as stub:

        async def hold() -> None:
            async with open_stream(stub.ChangeGroup) as stream:
                with pytest.raises(RpcError) as caught:
                    await stream.receive()
            refusal = refusal_sent_with(caught.value)
            ended.append(refusal and refusal.code)

        async with trio.open_nursery() as nursery:
            for _ in range(MAX_CALLS + 1):
                nursery.start_soon(hold)
            await until(lambda: ended == ["rate_limited"])
            assert not server.admission.unauthenticated
            nursery.cancel_scope.cancel()
        await until(lambda: server.admission.unauthenticated)
        monkeypatch.setattr(service, "REQUEST_SECONDS", 0.05)
        await hold()
        assert ended == ["rate_limited", "timed_out"]
        await until(lambda: server.admission.unauthenticated)
    assert isinstance(await server.call(token, creation()), Event)
