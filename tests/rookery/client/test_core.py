"""What the client promises of its session, whatever connection carries it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.client.core import Connected, Reconnect, RenewToken, Session
from rookery.client.errors import Refused
from rookery.client.outbox import MAX_PENDING
from rookery.v1 import session_pb2 as pb

ME = 7
OTHER = 9
CHAT = "d-7-9"


class Server:
    """The other end of a `Session`: numbers its frames and keeps what came of them."""

    def __init__(self, max_unanswered_sends: int = 64) -> None:
        self.session = Session()
        self.limit = max_unanswered_sends
        self.sequence = 0
        self.heard: list[object] = []
        self.finished: list[object] = []

    def connect(self, *, replayed: int = 0, offset: int = 0) -> pb.ClientFrame:
        """A new connection up to its welcome; the frame that it began with."""
        first = self.session.begin("token", "test")
        self.sequence = 0
        welcome = pb.Welcome(session_id="s", user_id=ME, replayed=replayed, limits=pb.Limits())
        welcome.limits.max_unanswered_sends = self.limit
        welcome.position.CopyFrom(pb.Position(offset=offset, epoch=1))
        self.say(pb.ServerFrame(welcome=welcome))
        return first

    def say(self, frame: pb.ServerFrame, *, dropped: int = 0) -> None:
        self.sequence += 1 + dropped
        frame.sequence = self.sequence
        self.heard += self.session.receive(frame)

    def event(self, event: pb.Event, offset: int) -> None:
        event.position.CopyFrom(pb.Position(offset=offset, epoch=1))
        self.say(pb.ServerFrame(event=event))

    def message(self, message_id: int, *, sender: int = OTHER, key: str = "", offset: int | None = None) -> None:
        message = pb.Message(
            message_id=message_id, chat_id=CHAT, sender_id=sender, client_message_id=key or f"k{message_id}"
        )
        self.event(pb.Event(event_id=message_id, message=message), message_id if offset is None else offset)

    def accept(self, key: str, message_id: int = 100) -> None:
        self.say(pb.ServerFrame(accepted=pb.Accepted(client_message_id=key, message_id=message_id, chat_id=CHAT)))

    def submit(self, frame: pb.ClientFrame) -> None:
        self.session.outbox.submit(frame, self.finished.append)

    def sent(self) -> list[str]:
        """The keys of the messages that go out now."""
        return [frame.send.client_message_id for frame in self.session.outgoing() if frame.HasField("send")]

    def messages(self) -> list[int]:
        return [event.message_id for event in self.heard if isinstance(event, pb.Message)]


@pytest.fixture
def server() -> Server:
    return Server()


def send(key: str) -> pb.ClientFrame:
    return pb.ClientFrame(send=pb.Send(client_message_id=key, recipient_id=OTHER, text=pb.Text(body="hi")))


def react(emoji: str) -> pb.ClientFrame:
    return pb.ClientFrame(react=pb.React(chat_id=CHAT, message_id=3, emoji=emoji))


def refused(frame: int, key: str = "") -> pb.ServerFrame:
    return pb.ServerFrame(
        refused=pb.Refused(frame=frame, client_message_id=key, code="rate_limited", message="Slower.", retryable=True)
    )


def test_the_first_frame_authenticates_and_has_no_position(server: Server) -> None:
    first = server.connect()
    assert first.authenticate.access_token == "token"
    assert not first.authenticate.HasField("last_position")
    assert server.heard == [Connected("s", 0)]


def test_nothing_is_sent_before_the_welcome(server: Server) -> None:
    server.submit(send("a"))
    server.session.begin("token", "test")
    assert server.sent() == []


def test_a_message_that_is_accepted_finishes_with_its_id(server: Server) -> None:
    server.connect()
    server.submit(send("a"))
    assert server.sent() == ["a"]
    server.accept("a", 100)
    assert server.finished == [pb.Accepted(client_message_id="a", message_id=100, chat_id=CHAT)]


def test_unanswered_messages_are_sent_again_in_order_with_the_same_keys(server: Server) -> None:
    server.connect()
    for key in "abc":
        server.submit(send(key))
    assert server.sent() == ["a", "b", "c"]
    server.accept("b")
    server.session.end()
    server.connect()
    assert server.sent() == ["a", "c"]
    assert server.sent() == []


def test_no_more_messages_are_in_flight_than_the_server_allows() -> None:
    server = Server(max_unanswered_sends=2)
    server.connect()
    for key in "abcd":
        server.submit(send(key))
    assert server.sent() == ["a", "b"]
    server.accept("a")
    assert server.sent() == ["c"]
    server.say(refused(0, "b"))
    assert server.sent() == ["d"]


def test_too_much_that_waits_is_refused(server: Server) -> None:
    for number in range(MAX_PENDING):
        server.submit(send(str(number)))
    with pytest.raises(Refused, match="1000 commands"):
        server.submit(send("one more"))


def test_a_forgotten_message_is_not_sent_again(server: Server) -> None:
    frame = send("a")
    server.submit(frame)
    server.session.outbox.forget(frame)
    server.connect()
    assert server.sent() == []


def test_the_same_message_asked_for_twice_goes_out_once_and_answers_both(server: Server) -> None:
    server.connect()
    server.submit(send("a"))
    server.submit(send("a"))
    assert server.sent() == ["a"]
    server.accept("a")
    assert len(server.finished) == 2


def test_a_refusal_finds_its_frame_by_number(server: Server) -> None:
    server.connect()
    server.submit(send("a"))
    server.submit(react("👍"))
    server.session.outgoing()  # frames 2 and 3, after Authenticate
    server.say(refused(3))
    (refusal,) = server.finished
    assert isinstance(refusal, Refused)
    assert (refusal.code, refusal.message, refusal.retryable) == ("rate_limited", "Slower.", True)


def test_a_reaction_finishes_with_its_own_event(server: Server) -> None:
    server.connect()
    server.submit(react("👍"))
    reaction = pb.Reaction(chat_id=CHAT, message_id=3, user_id=OTHER, emoji="👍", set=True)
    server.event(pb.Event(event_id=50, reaction=reaction), 1)
    assert server.finished == []
    server.event(
        pb.Event(event_id=51, reaction=pb.Reaction(chat_id=CHAT, message_id=3, user_id=ME, emoji="👍", set=True)), 2
    )
    assert server.finished == [None]


def test_receipts_of_one_chat_become_one(server: Server) -> None:
    server.submit(pb.ClientFrame(receipt=pb.Receipt(chat_id=CHAT, read_up_to=5)))
    server.submit(pb.ClientFrame(receipt=pb.Receipt(chat_id=CHAT, delivered_up_to=8)))
    server.connect()
    (frame,) = server.session.outgoing()
    assert frame.receipt == pb.Receipt(chat_id=CHAT, read_up_to=5, delivered_up_to=8)
    server.event(pb.Event(event_id=9, receipt=pb.Receipt(chat_id=CHAT, user_id=ME, read_up_to=5, delivered_up_to=8)), 1)
    server.connect()
    assert server.session.outgoing() == []


def test_what_has_no_answer_is_not_repeated(server: Server) -> None:
    typing = pb.ClientFrame(typing=pb.Typing(chat_id=CHAT))
    server.session.notify(typing)
    server.connect()
    assert server.session.outgoing() == []
    server.session.notify(typing)
    assert server.session.outgoing() == [typing]


def test_a_new_connection_resumes_after_the_last_event(server: Server) -> None:
    server.connect(offset=10)
    server.message(1, offset=12)
    first = server.connect()
    assert first.authenticate.last_position == pb.Position(offset=12, epoch=1)


def test_without_events_it_resumes_where_the_session_began(server: Server) -> None:
    server.connect(offset=10)
    assert server.connect().authenticate.last_position.offset == 10


def test_an_unfinished_replay_is_resumed_where_it_stopped(server: Server) -> None:
    server.connect(replayed=2, offset=10)
    server.message(1, offset=4)
    assert server.connect(replayed=1, offset=10).authenticate.last_position.offset == 4
    server.message(2, offset=6)
    assert server.connect().authenticate.last_position.offset == 10


def test_a_replayed_message_is_heard_once(server: Server) -> None:
    server.connect()
    server.message(1)
    server.connect(replayed=1)
    server.message(1)
    assert server.messages() == [1]


def test_a_second_copy_under_another_id_is_dropped(server: Server) -> None:
    server.connect()
    server.message(1, key="a")
    server.message(2, key="a")
    assert server.messages() == [1]


def test_an_own_message_that_was_accepted_is_not_heard_on_replay(server: Server) -> None:
    server.connect()
    server.submit(send("a"))
    server.session.outgoing()
    server.accept("a", 100)
    server.connect(replayed=1)
    server.message(100, sender=ME, key="a")
    assert server.messages() == []


def test_the_replay_of_an_unanswered_message_is_not_its_answer(server: Server) -> None:
    """Its gateway may have died before the others' copies were written: the retry has them written."""
    server.connect()
    server.submit(send("a"))
    server.session.outgoing()
    server.connect(replayed=1)
    server.message(100, sender=ME, key="a")
    assert server.finished == []
    assert server.sent() == ["a"]
    server.accept("a", 100)
    assert [accepted.message_id for accepted in server.finished if isinstance(accepted, pb.Accepted)] == [100]


def test_a_gap_says_what_to_resume_from(server: Server) -> None:
    server.connect(offset=7)
    server.say(pb.ServerFrame(gap=pb.Gap(position=pb.Position(offset=3, epoch=2))))
    assert server.connect().authenticate.last_position == pb.Position(offset=3, epoch=2)


def test_dropped_frames_have_what_is_unanswered_sent_again(server: Server) -> None:
    server.connect()
    server.submit(send("a"))
    assert server.sent() == ["a"]
    server.say(pb.ServerFrame(gap=pb.Gap(since_ms=5, dropped=3)), dropped=3)
    assert server.heard[-1] == pb.Gap(since_ms=5, dropped=3)
    assert server.sent() == ["a"]


@pytest.mark.parametrize(
    ("frame", "instruction"),
    [
        (pb.ServerFrame(reconnect=pb.Reconnect(after_ms=50)), Reconnect("the gateway asked for it", after_ms=50)),
        (
            pb.ServerFrame(moved=pb.Moved(grpc="b:1")),
            Reconnect("the sessions are elsewhere", moved=pb.Moved(grpc="b:1")),
        ),
        (pb.ServerFrame(goodbye=pb.Goodbye(code="timed_out", message="Silent.")), Reconnect("Silent.")),
        (pb.ServerFrame(goodbye=pb.Goodbye(code="unauthenticated")), Reconnect("unauthenticated", token_rejected=True)),
        (pb.ServerFrame(expiring=pb.Expiring(token_expires_at_ms=1)), RenewToken()),
    ],
)
def test_frames_that_tell_the_client_what_to_do(server: Server, frame: pb.ServerFrame, instruction: object) -> None:
    server.connect()
    server.say(frame)
    assert server.heard[-1] == instruction


def test_frames_of_a_newer_server_are_passed_over(server: Server) -> None:
    server.connect()
    server.say(pb.ServerFrame())
    server.event(pb.Event(event_id=1), 1)
    server.say(pb.ServerFrame(pong=pb.Pong()))
    assert len(server.heard) == 1


@given(st.lists(st.sampled_from(["send", "accept", "reconnect", "drop", "flush"]), max_size=60), st.integers(1, 4))
def test_every_message_is_answered_once_and_in_order_whatever_breaks(steps: Sequence[str], limit: int) -> None:
    """A server that answers in order, over connections that break anywhere, with answers lost on the way."""
    server = Server(max_unanswered_sends=limit)
    server.connect()
    asked: list[str] = []
    on_the_way: list[str] = []
    recorded: dict[str, int] = {}
    for step in [*steps, *["flush", "accept"] * (len(steps) + 1)]:
        match step:
            case "send":
                asked.append(str(len(asked)))
                server.submit(send(asked[-1]))
            case "flush":
                on_the_way += server.sent()
                assert len(on_the_way) <= limit
            case "accept" if on_the_way:
                key = on_the_way.pop(0)
                server.accept(key, recorded.setdefault(key, len(recorded) + 1))
            case "drop" if on_the_way:
                key = on_the_way.pop(0)
                recorded.setdefault(key, len(recorded) + 1)
                on_the_way.clear()
                server.say(pb.ServerFrame(gap=pb.Gap(dropped=1)), dropped=1)
            case "reconnect":
                on_the_way.clear()
                server.connect()
            case _:
                pass
    answers = [item for item in server.finished if isinstance(item, pb.Accepted)]
    assert [answer.client_message_id for answer in answers] == asked
    assert [answer.message_id for answer in answers] == list(range(1, len(asked) + 1))
