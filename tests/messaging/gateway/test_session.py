"""The session core: states, sequence numbers, drops and gaps, rates, deadlines. No I/O, no waiting."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.gateway import session as session_module
from messaging.gateway.frames import ProtobufEncoding, SharedEvent
from messaging.gateway.requests import SendRequest
from messaging.gateway.session import (
    AUTHENTICATE_SECONDS,
    MAX_QUEUED_ANSWERS,
    MAX_REFUSED_SENDS,
    REFUSED_SENDS_SECONDS,
    RETRY_AFTER_MS,
    SIGN_IN_SECONDS,
    Session,
    State,
)
from rookery.v1.session_pb2 import (
    Accepted,
    Authenticate,
    ClientFrame,
    Event,
    Gap,
    Goodbye,
    Message,
    PeopleChanged,
    Ping,
    Position,
    Presence,
    Renew,
    Send,
    ServerFrame,
    Text,
)
from shared.accounts.tokens import Claims
from shared.configuration import LiveConfiguration
from shared.contract.chats import MAX_CLIENT_ID
from shared.contract.errors import Code, Refusal
from shared.contract.ids import wall_clock_ms

EXPIRES_MS = 1_000_000
NOW = 100.0
SEND = ClientFrame(send=Send(client_message_id="a", chat_id="d-7-9", text=Text(body="hi")))
PING = ClientFrame(ping=Ping(payload=b"p"))


@dataclass
class Client:
    """A session, and its client's frames."""

    session: Session
    frames: list[ServerFrame] = field(default_factory=list)

    def read(self) -> list[ServerFrame]:
        """The queued frames, as the client decodes them."""
        new = [ServerFrame.FromString(frame) for frame in self.session.take()]
        self.frames += new
        return new


def new_client(**limits: int) -> Client:
    configuration = LiveConfiguration.model_validate(limits)
    return Client(Session("s1", ProtobufEncoding(), lambda: configuration, NOW))


def live_client(**limits: int) -> Client:
    """A client whose session is live; its Welcome is read."""
    client = new_client(**limits)
    client.session.receive(ClientFrame(authenticate=Authenticate(access_token="t")), NOW)
    client.session.welcome(Claims(7, "f1", EXPIRES_MS), Position(offset=4, epoch=1), [], None, 30_000)
    client.read()
    return client


def event(number: int, size: int = 100) -> SharedEvent:
    position = Position(offset=number, epoch=1)
    return SharedEvent(Event(event_id=number << 22, position=position, message=Message(message_id=number)), size)


@pytest.mark.parametrize(("frame", "code"), [(SEND, "unauthenticated"), (Refusal(Code.MALFORMED, "no"), "malformed")])
def test_the_first_frame_must_authenticate(frame: ClientFrame | Refusal, code: str) -> None:
    client = new_client()
    assert client.session.receive(frame, NOW) is None
    (goodbye,) = client.read()
    assert (goodbye.sequence, goodbye.goodbye.code) == (1, code)
    assert client.session.state is State.ENDED


@pytest.mark.parametrize(
    ("refusal", "goodbye"),
    [
        (Refusal(Code.RATE_LIMITED, "Slow."), Goodbye(code="rate_limited", message="Slow.")),
        (
            Refusal(Code.UNAVAILABLE, "Not now.", retry_after_ms=RETRY_AFTER_MS),
            Goodbye(code="unavailable", message="Not now.", retry_after_ms=RETRY_AFTER_MS),
        ),
        (Refusal(Code.UNAUTHENTICATED, "Expired."), Goodbye(code="unauthenticated", message="Expired.")),
        (Refusal(Code.SUSPENDED, "No."), Goodbye(code="suspended", message="No.", is_final=True)),
    ],
)
def test_a_goodbye_tells_whether_and_when_the_client_connects_again(refusal: Refusal, goodbye: Goodbye) -> None:
    client = live_client()
    client.session.end(refusal)
    assert client.read()[0].goodbye == goodbye


def test_a_bad_authenticate_is_refused_for_good_by_the_name_of_its_field() -> None:
    client = new_client()
    authenticate = Authenticate(access_token="t", client_name="x" * 65)
    assert client.session.receive(ClientFrame(authenticate=authenticate), NOW) is None
    goodbye = client.read()[0].goodbye
    assert (goodbye.code, goodbye.field, goodbye.is_final) == ("too_large", "authenticate.client_name", True)


def test_a_welcome_has_the_limits_and_precedes_the_replay() -> None:
    client = new_client(max_text_bytes=99, max_file_bytes=2**40 // 100, edit_seconds=60)
    command = client.session.receive(ClientFrame(authenticate=Authenticate(access_token="t")), NOW)
    assert command is not None
    assert isinstance(command.request, Authenticate)
    client.session.welcome(Claims(7, "f1", EXPIRES_MS), Position(offset=4, epoch=1), [event(3), event(4)], None, 30_000)
    welcome, *replay = client.read()
    assert (welcome.welcome.user_id, welcome.welcome.session_id, welcome.welcome.replayed) == (7, "s1", 2)
    limits = welcome.welcome.limits
    assert (limits.max_text_bytes, limits.max_file_bytes, limits.edit_seconds) == (99, 2**40 // 100, 60)
    assert welcome.welcome.token_expires_at_ms == EXPIRES_MS
    assert [frame.event.position.offset for frame in replay] == [3, 4]
    assert [frame.sequence for frame in client.frames] == [1, 2, 3]


def test_a_second_authentication_is_refused_and_the_session_lives() -> None:
    client = live_client()
    assert client.session.receive(ClientFrame(authenticate=Authenticate(access_token="t")), NOW) is None
    (refused,) = client.read()
    assert (refused.refused.code, refused.refused.frame) == ("out_of_order", 2)
    assert client.session.state is State.LIVE


def test_a_good_frame_becomes_a_request_and_a_bad_one_a_refusal() -> None:
    client = live_client()
    send = client.session.receive(SEND, NOW)
    renew = client.session.receive(ClientFrame(renew=Renew(access_token="t")), NOW + 1)
    assert send is not None
    assert renew is not None
    assert isinstance(send.request, SendRequest)
    assert isinstance(renew.request, Renew)
    assert [(each.frame, each.received_at) for each in (send, renew)] == [(2, NOW), (3, NOW + 1)]
    bad = ClientFrame(send=Send(client_message_id="b", chat_id="d-7-9", text=Text(body=" ")))
    assert client.session.receive(bad, NOW) is None
    assert client.session.receive(Refusal(Code.MALFORMED, "no", "send"), NOW) is None
    first, second = client.read()
    assert (first.refused.frame, first.refused.client_id, first.refused.field) == (4, "b", "send.text.body")
    assert (second.refused.frame, second.refused.code, second.refused.retryable) == (5, "malformed", False)


def test_a_full_queue_drops_and_counts_events_and_sends_a_gap_once_it_is_read() -> None:
    client = live_client(session_queue_frames=10)
    for number in range(10, 25):
        client.session.deliver(event(number))
    began_ms = wall_clock_ms()
    frames = client.read()
    assert [frame.event.position.offset for frame in frames[:-1]] == list(range(10, 20))
    gap = frames[-1].gap
    assert began_ms <= gap.at_ms <= wall_clock_ms()
    assert gap == Gap(since=Position(offset=19, epoch=1), since_ms=1_767_225_590_019, dropped=5, at_ms=gap.at_ms)
    assert frames[-1].sequence == frames[-2].sequence + 6, "the numbers show what is missing"
    client.session.deliver(event(25))
    (after,) = client.read()
    assert after.event.position.offset == 25
    assert after.sequence == frames[-1].sequence + 1


def test_a_gap_after_an_event_without_an_id_has_the_time_of_the_event_before() -> None:
    client = live_client(session_queue_frames=10)
    client.session.deliver(event(10))
    without_id = Event(position=Position(offset=11, epoch=1), people_changed=PeopleChanged(user_id=9))
    for _ in range(10):
        client.session.deliver(SharedEvent(without_id, 100))
    gap = client.read()[-1].gap
    assert gap == Gap(since=Position(offset=11, epoch=1), since_ms=1_767_225_590_010, dropped=1, at_ms=gap.at_ms)


def test_signals_take_half_of_the_queue_at_most_and_are_no_place_to_resume_from() -> None:
    client = live_client(session_queue_frames=10)
    for number in range(20):
        client.session.signal(SharedEvent(Event(presence=Presence(user_id=number)), 100))
    for number in range(10, 16):
        client.session.deliver(event(number))
    frames = client.read()
    assert [frame.event.presence.user_id for frame in frames[:5]] == list(range(5))
    assert [frame.event.position.offset for frame in frames[5:-1]] == list(range(10, 15))
    assert (frames[-1].gap.since.offset, frames[-1].gap.dropped) == (14, 1)


def test_a_queue_is_bounded_in_bytes_too() -> None:
    client = live_client(session_queue_bytes=64 * 1024)
    for number in range(10):
        client.session.deliver(event(number, size=30_000))
    assert [frame.WhichOneof("frame") for frame in client.read()] == ["event", "event", "event", "gap"]


def test_answers_are_never_dropped() -> None:
    client = live_client(session_queue_frames=10)
    for number in range(20):
        client.session.deliver(event(number))
        client.session.accept(Accepted(event_id=number + 1))
    accepted = [frame.accepted.event_id for frame in client.read() if frame.HasField("accepted")]
    assert accepted == list(range(1, 21))


def test_no_more_is_received_while_too_many_answers_are_queued_or_due() -> None:
    client = live_client()
    for _ in range(MAX_QUEUED_ANSWERS):
        assert client.session.may_receive
        client.session.receive(PING, NOW)
    assert not client.session.may_receive
    client.read()
    assert client.session.may_receive
    client.session.unanswered = LiveConfiguration().max_unanswered_sends
    assert not client.session.may_receive


def test_a_flood_is_refused_then_ended() -> None:
    """At four times the rate: three frames of four are refused, and that adds up."""
    client = live_client(frame_burst=5, frames_per_second=10)
    for number in range(4 + 2 * (session_module.MAX_RATE_EXCESS + 10)):
        client.session.receive(PING, NOW + max(number - 4, 0) / 40)
        client.read()
    frames = client.frames[1:]
    assert [frame.WhichOneof("frame") for frame in frames[:4]] == ["pong"] * 4
    assert frames[5].refused.code == "rate_limited"
    assert (frames[5].refused.retryable, frames[5].refused.retry_after_ms) == (True, 100)
    assert "10 frames a second" in frames[5].refused.message
    assert frames[-1].goodbye.code == "rate_limited"


def test_the_rate_recovers() -> None:
    client = live_client(frame_burst=1, frames_per_second=10)
    client.session.receive(PING, NOW)
    assert client.read()[0].HasField("refused")
    client.session.receive(PING, NOW + 0.11)
    assert client.read()[0].pong.payload == b"p"


def test_a_client_that_never_authenticates_is_ended() -> None:
    client = new_client()
    client.session.tick(NOW + AUTHENTICATE_SECONDS - 0.1, 0)
    assert client.read() == []
    client.session.tick(NOW + AUTHENTICATE_SECONDS, 0)
    goodbye = client.read()[0].goodbye
    assert (goodbye.code, "within 5 seconds" in goodbye.message) == ("timed_out", True)  # its token may be good


def test_a_client_that_is_not_signed_in_in_time_keeps_its_token_and_connects_anew() -> None:
    client = new_client()
    client.session.receive(ClientFrame(authenticate=Authenticate(access_token="t")), NOW)
    client.session.tick(NOW + SIGN_IN_SECONDS - 0.1, 0)
    assert client.read() == []
    client.session.tick(NOW + SIGN_IN_SECONDS, 0)
    reconnect, goodbye = client.read()
    assert (reconnect.reconnect.after_ms, goodbye.goodbye.code) == (RETRY_AFTER_MS, "unavailable")


def test_an_expiring_token_is_announced_once_and_renewed() -> None:
    client = live_client()
    client.session.tick(NOW, EXPIRES_MS - 59_000)
    client.session.tick(NOW, EXPIRES_MS - 58_000)
    (expiring,) = client.read()
    assert expiring.expiring.token_expires_at_ms == EXPIRES_MS
    client.session.renew(Claims(7, "f1", 2 * EXPIRES_MS))
    client.session.tick(NOW, EXPIRES_MS)
    assert client.session.state is State.LIVE
    client.session.tick(NOW, 2 * EXPIRES_MS)
    assert client.read()[0].goodbye.code == "unauthenticated"


def test_only_queued_frames_are_sent_after_the_end() -> None:
    client = live_client()
    client.session.deliver(event(1))
    client.session.reconnect(250)
    client.session.deliver(event(2))
    client.session.accept(Accepted(event_id=1))
    assert [frame.WhichOneof("frame") for frame in client.read()] == ["event", "reconnect", "goodbye"]
    assert client.frames[-2].reconnect.after_ms == 250
    assert client.session.receive(SEND, NOW) is None


def test_a_moved_session_gets_the_addresses() -> None:
    client = new_client()
    client.session.move("ws://other:1/session", "other:2")
    moved, goodbye = client.read()
    assert (moved.moved.websocket, moved.moved.grpc) == ("ws://other:1/session", "other:2")
    assert goodbye.HasField("goodbye")


@given(st.lists(st.sampled_from(["event", "signal", "answer", "read"]), max_size=200))
def test_sequence_numbers_and_gaps_always_add_up(steps: list[str]) -> None:
    """Numbers rise, each missing number is a dropped event, and each drop is counted in a Gap; a signal's is not. No
    answer is dropped."""
    client = live_client(session_queue_frames=10)
    given_events = 0
    for step in steps:
        if step == "event":
            given_events += 1
            client.session.deliver(event(given_events))
        elif step == "signal":
            client.session.signal(SharedEvent(Event(presence=Presence(user_id=1)), 100))
        elif step == "answer":
            client.session.accept(Accepted(event_id=1))
        else:
            client.read()
    client.read()
    numbers = [frame.sequence for frame in client.frames]
    assert numbers == sorted(set(numbers))
    missing = numbers[-1] - len(numbers)
    counted = sum(frame.gap.dropped for frame in client.frames)
    received = [frame.event for frame in client.frames if frame.event.HasField("position")]
    assert missing == counted == given_events - len(received)
    assert sum(frame.HasField("accepted") for frame in client.frames) == steps.count("answer")


# ---- the order of sends

AWAY = Refusal(Code.UNAVAILABLE, "The log is away.", "", 1_000)


def test_a_refused_send_holds_back_later_ones_until_it_is_sent_again() -> None:
    session = live_client().session
    session.refuse(AWAY, 2, "a")
    session.refuse(AWAY, 3, "b")
    assert not session.may_send("c", NOW)
    assert session.may_send("a", NOW)
    assert not session.may_send("c", NOW), "b may still be unread"
    assert session.may_send("b", NOW)
    assert session.may_send("c", NOW)


def test_a_client_that_repeats_a_send_has_read_all_earlier_refusals() -> None:
    session = live_client().session
    session.refuse(AWAY, 2, "a")
    session.refuse(AWAY, 3, "b")
    assert session.may_send("b", NOW)
    assert session.may_send("c", NOW)


def test_a_send_that_is_refused_again_holds_back_those_that_were_repeated_behind_it() -> None:
    session = live_client().session
    for frame, key in enumerate("abc", 2):
        session.refuse(AWAY, frame, key)
    assert session.may_send("a", NOW)
    session.refuse(AWAY, 5, "a")  # which the client has not read yet
    assert not session.may_send("b", NOW)
    session.refuse(AWAY, 6, "b")
    for key in "abcd":
        assert session.may_send(key, NOW)
        session.accept(Accepted(client_id=key))


def test_a_send_that_is_refused_late_holds_back_later_ones_that_were_refused_before() -> None:
    session = live_client().session
    session.refuse(AWAY, 3, "b")  # at once
    session.refuse(AWAY, 2, "a")  # after the log's timeout; the client has not read it yet
    assert not session.may_send("b", NOW)
    session.refuse(AWAY, 4, "b")
    assert session.may_send("a", NOW)
    assert session.may_send("b", NOW)


def test_only_a_refusal_that_may_be_repeated_holds_back_and_for_a_bounded_time() -> None:
    session = live_client().session
    session.refuse(Refusal(Code.INVALID, "no text"), 2, "a")
    session.refuse(AWAY, 3)  # of another kind of frame
    assert session.may_send("b", NOW)
    session.refuse(AWAY, 4, "a")
    late = NOW + 1_000  # of frames that waited for the look-ups of the refused one
    assert not session.may_send("b", late)
    assert not session.may_send("b", late + REFUSED_SENDS_SECONDS)
    assert session.may_send("b", late + REFUSED_SENDS_SECONDS + 1)


def test_a_client_that_repeats_no_refused_send_is_held_back_for_a_bounded_time_however_often_it_tries() -> None:
    session = live_client().session
    session.refuse(AWAY, 2, "a")
    for number in range(3, 43):
        assert not session.may_send(str(number), NOW + number - 3)
        session.refuse(AWAY, number, str(number))
    assert session.may_send("last", NOW + REFUSED_SENDS_SECONDS + 1)


def test_a_repetition_that_is_late_still_comes_before_the_sends_behind_it() -> None:
    session = live_client().session
    session.refuse(AWAY, 2, "a")
    for frame, key in enumerate("bc", 3):
        assert not session.may_send(key, NOW)
        session.refuse(AWAY, frame, key)
    assert session.may_send("a", NOW + REFUSED_SENDS_SECONDS)
    late = NOW + REFUSED_SENDS_SECONDS + 1
    assert not session.may_send("d", late), "b and c may still be unread"
    session.refuse(AWAY, 6, "d")
    for key in "bcd":
        assert session.may_send(key, late)


def test_a_send_that_is_refused_by_itself_holds_back_for_the_whole_time() -> None:
    """The client may have given up an earlier one, and repeats this one."""
    session = live_client().session
    session.refuse(AWAY, 2, "given up")
    assert not session.may_send("a", NOW)
    session.refuse(AWAY, 3, "a")
    later = NOW + REFUSED_SENDS_SECONDS + 1
    assert session.may_send("b", later)
    session.refuse(AWAY, 4, "b")  # the log is away still
    assert not session.may_send("c", later)
    session.refuse(AWAY, 5, "c")
    assert not session.may_send("d", later + REFUSED_SENDS_SECONDS)
    assert session.may_send("b", later + REFUSED_SENDS_SECONDS)


@pytest.mark.parametrize("client_id", ["x" * 60_000, "é" * MAX_CLIENT_ID], ids=["long", "of two bytes each"])
def test_a_client_id_that_is_too_long_to_be_accepted_is_not_remembered_when_its_frame_is_refused(
    client_id: str,
) -> None:
    """The rate is checked before the form: else a session could fill the memory with such ids."""
    session = live_client(frame_burst=1).session
    session.receive(ClientFrame(send=Send(client_message_id=client_id, text=Text(body="hi"))), NOW)
    assert not session._refused_sends
    assert session.may_send("a", NOW)


def test_a_client_that_never_repeats_a_send_is_ended() -> None:
    client = live_client()
    for number in range(MAX_REFUSED_SENDS + 1):
        assert client.session.state is State.LIVE
        client.session.refuse(AWAY, number, str(number))
    assert client.read()[-1].goodbye.code == "rate_limited"
