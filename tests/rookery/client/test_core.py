"""The session's state resumes, drops repetitions and finishes commands, over any connections."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.client.core import Connected, Reconnect, RenewToken, Session
from rookery.client.errors import Refused
from rookery.v1 import session_pb2 as pb

ME = 7
OTHER = 9
CHAT = "d-7-9"
MOVED = pb.Moved(grpc="b:1")


class Server:
    """The other end of a `Session`: numbers its frames and records their events."""

    def __init__(self, max_unanswered_sends: int = 64) -> None:
        self.session = Session()
        self.limit = max_unanswered_sends
        self.sequence = 0
        self.events: list[object] = []
        self.finished: list[object] = []

    def connect(self, *, replayed: int = 0, offset: int = 0) -> pb.ClientFrame:
        """Open a connection up to its welcome; return its first frame."""
        first = self.session.begin("token", "test")
        self.sequence = 0
        welcome = pb.Welcome(session_id="s", user_id=ME, replayed=replayed, limits=pb.Limits())
        welcome.limits.max_unanswered_sends = self.limit
        welcome.position.CopyFrom(pb.Position(offset=offset, epoch=1))
        self.reply(pb.ServerFrame(welcome=welcome))
        return first

    def reply(self, frame: pb.ServerFrame, *, dropped: int = 0) -> None:
        self.sequence += 1 + dropped
        frame.sequence = self.sequence
        self.events += self.session.receive(frame)

    def event(self, event: pb.Event, offset: int) -> None:
        event.position.CopyFrom(pb.Position(offset=offset, epoch=1))
        self.reply(pb.ServerFrame(event=event))

    def message(self, message_id: int, *, sender: int = OTHER, key: str = "", offset: int | None = None) -> None:
        message = pb.Message(
            message_id=message_id, chat_id=CHAT, sender_id=sender, client_message_id=key or f"k{message_id}"
        )
        self.event(pb.Event(event_id=message_id, message=message), message_id if offset is None else offset)

    def accept(self, key: str, message_id: int = 100) -> None:
        self.reply(pb.ServerFrame(accepted=pb.Accepted(client_message_id=key, message_id=message_id, chat_id=CHAT)))

    def submit(self, frame: pb.ClientFrame) -> None:
        self.session.outbox.submit(frame, self.finished.append)

    def sent(self) -> list[str]:
        """Return the keys of the messages that are sent now."""
        return [frame.send.client_message_id for frame in self.session.outgoing() if frame.HasField("send")]

    def messages(self) -> list[int]:
        return [event.message_id for event in self.events if isinstance(event, pb.Message)]


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
    assert server.events == [Connected("s", 0)]


def test_nothing_is_sent_before_the_welcome(server: Server) -> None:
    server.submit(send("a"))
    server.session.begin("token", "test")
    assert server.sent() == []


def test_a_refusal_of_a_withdrawn_message_does_not_count_when_the_message_was_sent_again(server: Server) -> None:
    server.connect()
    first = send("a")
    server.submit(first)
    server.session.outgoing()  # frame 2, after Authenticate
    server.session.outbox.forget(first)
    server.submit(send("a"))
    server.session.outgoing()
    server.reply(refused(2, "a"))
    assert server.finished == []
    server.reply(refused(3, "a"))
    assert len(server.finished) == 1


def test_a_refusal_finds_its_frame_by_number(server: Server) -> None:
    server.connect()
    server.submit(send("a"))
    server.submit(react("👍"))
    server.session.outgoing()  # frames 2 and 3, after Authenticate
    server.reply(refused(3))
    (refusal,) = server.finished
    assert isinstance(refusal, Refused)
    assert (refusal.code, refusal.message, refusal.retryable) == ("rate_limited", "Slower.", True)


def test_a_reaction_finishes_with_its_own_event(server: Server) -> None:
    server.connect()
    server.submit(react("👍"))
    for number, user_id, finished in ((1, OTHER, []), (2, ME, [None])):
        reaction = pb.Reaction(chat_id=CHAT, message_id=3, user_id=user_id, emoji="👍", set=True)
        server.event(pb.Event(event_id=number, reaction=reaction), number)
        assert server.finished == finished


def test_a_new_connection_resumes_after_the_last_event(server: Server) -> None:
    server.connect(offset=10)
    assert server.connect(offset=10).authenticate.last_position == pb.Position(offset=10, epoch=1)  # without events
    server.message(1, offset=12)
    assert server.connect().authenticate.last_position == pb.Position(offset=12, epoch=1)


def test_an_unfinished_replay_is_resumed_where_it_stopped(server: Server) -> None:
    server.connect(replayed=2, offset=10)
    server.message(1, offset=4)
    assert server.connect(replayed=1, offset=10).authenticate.last_position.offset == 4
    server.message(2, offset=6)
    assert server.connect().authenticate.last_position.offset == 10


@pytest.mark.parametrize("second_id", [1, 2])
def test_a_repeated_message_is_an_event_once_even_under_another_id(server: Server, second_id: int) -> None:
    server.connect()
    server.message(1, key="a")
    server.connect(replayed=1)
    server.message(second_id, key="a")
    assert server.messages() == [1]


def test_an_accepted_message_is_no_event_on_replay(server: Server) -> None:
    server.connect()
    server.submit(send("a"))
    server.session.outgoing()
    server.accept("a", 100)
    server.connect(replayed=1)
    server.message(100, sender=ME, key="a")
    assert server.messages() == []


def test_the_replay_of_an_unanswered_message_is_not_its_answer(server: Server) -> None:
    """Its gateway may have died before it wrote the other copies: the retry writes them."""
    server.connect()
    server.submit(send("a"))
    server.session.outgoing()
    server.connect(replayed=1)
    server.message(100, sender=ME, key="a")
    assert server.finished == []
    assert server.sent() == ["a"]
    server.accept("a", 100)
    assert [accepted.message_id for accepted in server.finished if isinstance(accepted, pb.Accepted)] == [100]


def test_a_receipt_finishes_with_its_own_event(server: Server) -> None:
    server.connect()
    server.submit(pb.ClientFrame(receipt=pb.Receipt(chat_id=CHAT, read_up_to=5)))
    for number, user_id, read_up_to, finished in ((1, OTHER, 5, []), (2, ME, 4, []), (3, ME, 5, [None])):
        receipt = pb.Receipt(chat_id=CHAT, user_id=user_id, read_up_to=read_up_to)
        server.event(pb.Event(event_id=number, receipt=receipt), number)
        assert server.finished == finished


def test_a_gap_sets_the_position_to_resume_from(server: Server) -> None:
    server.connect(offset=7)
    server.reply(pb.ServerFrame(gap=pb.Gap(position=pb.Position(offset=3, epoch=2))))
    assert server.connect().authenticate.last_position == pb.Position(offset=3, epoch=2)


def test_after_dropped_frames_unanswered_commands_are_sent_again(server: Server) -> None:
    server.connect()
    server.submit(send("a"))
    assert server.sent() == ["a"]
    server.reply(pb.ServerFrame(gap=pb.Gap(since_ms=5, dropped=3)), dropped=3)
    assert server.events[-1] == pb.Gap(since_ms=5, dropped=3)
    assert server.sent() == ["a"]


@pytest.mark.parametrize(
    ("frame", "instruction"),
    [
        (pb.ServerFrame(reconnect=pb.Reconnect(after_ms=50)), Reconnect("the gateway asked for it", after_ms=50)),
        (pb.ServerFrame(moved=MOVED), Reconnect("the sessions are elsewhere", moved=MOVED)),
        (pb.ServerFrame(goodbye=pb.Goodbye(code="timed_out", message="Silent.")), Reconnect("Silent.")),
        (pb.ServerFrame(goodbye=pb.Goodbye(code="unauthenticated")), Reconnect("unauthenticated", token_rejected=True)),
        (pb.ServerFrame(expiring=pb.Expiring(token_expires_at_ms=1)), RenewToken()),
    ],
)
def test_frames_that_instruct_the_client(server: Server, frame: pb.ServerFrame, instruction: object) -> None:
    server.connect()
    server.reply(frame)
    assert server.events[-1] == instruction


def test_frames_of_a_newer_server_are_ignored(server: Server) -> None:
    server.connect()
    server.reply(pb.ServerFrame())
    server.event(pb.Event(event_id=1), 1)
    server.reply(pb.ServerFrame(pong=pb.Pong()))
    assert len(server.events) == 1


@given(st.lists(st.sampled_from(["send", "accept", "reconnect", "drop", "flush"]), max_size=60), st.integers(1, 4))
def test_every_message_is_answered_once_and_in_order_whatever_breaks(steps: Sequence[str], limit: int) -> None:
    """A server that answers in order, over connections that break anywhere, with answers lost on the way."""
    server = Server(max_unanswered_sends=limit)
    server.connect()
    submitted: list[str] = []
    on_the_way: list[str] = []
    recorded: dict[str, int] = {}
    for step in [*steps, *["flush", "accept"] * (len(steps) + 1)]:
        match step:
            case "send":
                submitted.append(str(len(submitted)))
                server.submit(send(submitted[-1]))
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
                server.reply(pb.ServerFrame(gap=pb.Gap(dropped=1)), dropped=1)
            case "reconnect":
                on_the_way.clear()
                server.connect()
            case _:
                pass
    answers = [item for item in server.finished if isinstance(item, pb.Accepted)]
    assert [answer.client_message_id for answer in answers] == submitted
    assert [answer.message_id for answer in answers] == list(range(1, len(submitted) + 1))
