"""The session's state resumes, drops repetitions and finishes commands, over any connections."""

import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.client.core import Connected, Followed, NotFollowed, Reconnect, RenewToken, Session
from rookery.client.errors import Refused
from rookery.v1 import session_pb2 as pb
from shared.contract.ids import wall_clock_ms

ME = 7
OTHER = 9
CHAT = "d-7-9"
MOVED = pb.Moved(grpc="b:1")
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


class Server:
    """The other end of a `Session`: numbers its frames and records their events."""

    def __init__(self, max_unanswered_sends: int = 64) -> None:
        self.session = Session()
        self.limit = max_unanswered_sends
        self.sequence = 0
        self.events: list[object] = []
        self.finished: list[object] = []
        self.numbers: dict[str, int] = {}
        """The numbers of the frames on this connection by client id."""
        self.received = 0

    def connect(self, *, replayed: int = 0, offset: int = 0) -> pb.ClientFrame:
        """Open a connection up to its welcome; return its first frame."""
        first = self.session.begin("token", "test")
        self.sequence, self.received = 0, 1
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

    def change(self, event_id: int, *, actor: int = OTHER, key: str = "") -> None:
        change = pb.Change(chat_id=CHAT, actor_id=actor, client_change_id=key, deleted=pb.Deleted())
        self.event(pb.Event(event_id=event_id, change=change), event_id)

    def accept(self, key: str, event_id: int = 100) -> None:
        accepted = pb.Accepted(frame=self.numbers[key], client_id=key, event_id=event_id, chat_id=CHAT)
        self.reply(pb.ServerFrame(accepted=accepted))

    def submit(self, frame: pb.ClientFrame) -> None:
        self.session.outbox.submit(frame, self.finished.append)

    def sent(self) -> list[str]:
        """Return the client ids of the commands that are sent now."""
        keys = [frame.send.client_message_id or frame.change.client_change_id for frame in self.session.outgoing()]
        for key in keys:
            self.received += 1
            self.numbers[key] = self.received
        return keys

    def kept(self) -> list[int]:
        """Return the ids of the received messages and changes."""
        return [
            event.message_id if isinstance(event, pb.Message) else event.event_id
            for event in self.events
            if isinstance(event, pb.Message | pb.Event)
        ]


@pytest.fixture
def server() -> Server:
    return Server()


def send(key: str) -> pb.ClientFrame:
    return pb.ClientFrame(send=pb.Send(client_message_id=key, recipient_id=OTHER, text=pb.Text(body="hi")))


def delete(key: str) -> pb.ClientFrame:
    change = pb.Change(chat_id=CHAT, target_id=3, client_change_id=key, deleted=pb.Deleted())
    return pb.ClientFrame(change=change)


def mark(read_up_to: int) -> pb.ClientFrame:
    return pb.ClientFrame(change=pb.Change(chat_id=CHAT, marked=pb.Marked(read_up_to=read_up_to)))


def refused(frame: int, key: str = "") -> pb.ServerFrame:
    return pb.ServerFrame(
        refused=pb.Refused(frame=frame, client_id=key, code="rate_limited", message="Slower.", retryable=True)
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
    server.sent()  # frame 2, after Authenticate
    server.session.outbox.forget(first, server.finished.append)
    server.submit(send("a"))
    server.sent()
    server.reply(refused(2, "a"))
    assert server.finished == []
    server.reply(refused(3, "a"))
    assert len(server.finished) == 1


def test_watched_users_are_watched_again_on_each_connection_and_after_a_gap(server: Server) -> None:
    server.session.watch([8])
    for _ in range(2):
        server.connect()
        assert [list(frame.watch.user_ids) for frame in server.session.outgoing()] == [[8]]
    server.session.watch([OTHER])
    server.reply(pb.ServerFrame(gap=pb.Gap()))
    assert [list(frame.watch.user_ids) for frame in server.session.outgoing()] == [[OTHER], [OTHER]]


def test_a_signal_is_an_event_without_a_position(server: Server) -> None:
    server.connect(replayed=2, offset=9)
    presence, typing = pb.Presence(user_id=OTHER, is_online=True), pb.Typing(chat_id=CHAT, user_id=OTHER)
    marks = pb.GroupMarks(chat_id="g-7", marks=[pb.MemberMark(user_id=OTHER, read_up_to=5)])
    for event in (pb.Event(presence=presence), pb.Event(typing=typing), pb.Event(group_marks=marks)):
        server.reply(pb.ServerFrame(event=event))
    assert server.events[1:] == [presence, typing, marks]
    assert server.session.position is None  # the replay has not arrived yet


@pytest.mark.parametrize("command", [send("a"), delete("a"), mark(5)], ids=["message", "change", "mark"])
def test_a_command_ends_with_the_answer_to_its_frame(server: Server, command: pb.ClientFrame) -> None:
    server.connect()
    server.session.notify(pb.ClientFrame(typing=pb.Typing(chat_id=CHAT)))
    server.submit(command)
    server.sent()  # frames 2 and 3, after Authenticate
    accepted = pb.Accepted(frame=3, event_id=100)
    server.change(9, actor=ME, key="a")  # an echo is not an answer
    server.reply(pb.ServerFrame(accepted=pb.Accepted(frame=2)))
    assert server.finished == []
    server.reply(pb.ServerFrame(accepted=accepted))
    assert server.finished == [accepted]

    server.submit(command)
    server.sent()
    server.reply(refused(4))
    (_, refusal) = server.finished
    assert isinstance(refusal, Refused)
    assert (refusal.code, refusal.message, refusal.retryable) == ("rate_limited", "Slower.", True)


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


def test_a_later_session_without_a_position_begins_with_a_gap(server: Server) -> None:
    server.connect(replayed=2, offset=10)
    assert not server.connect(replayed=1, offset=12).authenticate.HasField("last_position")
    server.message(1, offset=12)
    server.connect(offset=12)
    first, second, gap, *_, third = server.events
    assert (first, second, third) == (Connected("s", 2), Connected("s", 1), Connected("s", 0))
    assert isinstance(gap, pb.Gap)
    assert gap.at_ms >= gap.since_ms


def test_the_position_falls_with_a_log_that_was_made_again(server: Server) -> None:
    """Else it would stay until the new log has as many events, and then skip the ones that are missing."""
    server.connect(offset=1_000)
    server.connect(replayed=2, offset=49)
    server.reply(pb.ServerFrame(gap=pb.Gap()))
    server.message(1, offset=47)
    assert server.connect(replayed=1, offset=49).authenticate.last_position.offset == 47
    server.message(2, offset=48)
    assert server.connect(offset=49).authenticate.last_position.offset == 49


def test_the_times_of_a_session_are_the_server_s(server: Server) -> None:
    opened_ms = wall_clock_ms()
    server.session = Session(opened_ms, now=lambda: 0.0)
    welcome = pb.Welcome(user_id=ME, at_ms=opened_ms - HOUR_MS)
    server.reply(pb.ServerFrame(welcome=welcome))
    server.reply(pb.ServerFrame(gap=pb.Gap()))
    _, gap = server.events
    assert isinstance(gap, pb.Gap)
    for time_ms in (server.session.server_ms(), server.session.newest_ms, gap.since_ms, gap.at_ms):
        assert abs(time_ms - welcome.at_ms) < MINUTE_MS


def test_the_server_s_time_goes_on_when_the_clock_of_this_machine_is_set(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [5.0]
    opened_ms, at_ms = 100 * HOUR_MS, 200 * HOUR_MS
    monkeypatch.setattr("rookery.client.core.wall_clock_ms", lambda: opened_ms)
    server.session = Session(opened_ms, now=lambda: seconds[0])
    server.reply(pb.ServerFrame(welcome=pb.Welcome(user_id=ME, at_ms=at_ms)))
    monkeypatch.setattr("rookery.client.core.wall_clock_ms", lambda: opened_ms - HOUR_MS)
    seconds[0] += 1.5
    assert server.session.server_ms() == at_ms + 1_500
    server.reply(pb.ServerFrame(welcome=pb.Welcome(user_id=ME, at_ms=at_ms + 1_600)))
    assert (server.session.server_ms(), server.session.newest_ms) == (at_ms + 1_600, at_ms)


def test_the_servers_time_goes_on_while_the_machine_sleeps(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that runs on meanwhile, unlike Trio's and the monotonic one."""
    seconds = {time.CLOCK_BOOTTIME: 5.0}
    monkeypatch.setattr("shared.clock.time.clock_gettime", seconds.__getitem__)
    at_ms = 200 * HOUR_MS
    server.reply(pb.ServerFrame(welcome=pb.Welcome(user_id=ME, at_ms=at_ms)))
    seconds[time.CLOCK_BOOTTIME] += 7_200.0
    assert server.session.server_ms() == at_ms + 2 * HOUR_MS


@pytest.mark.parametrize("second_id", [1, 2])
@pytest.mark.parametrize("receive", [Server.message, Server.change])
def test_a_repeated_event_is_dropped_even_under_another_id(
    server: Server, second_id: int, receive: Callable[..., None]
) -> None:
    server.connect()
    receive(server, 1, key="a")
    server.connect(replayed=1)
    receive(server, second_id, key="a")
    assert server.kept() == [1]


@pytest.mark.parametrize(("command", "replay"), [(send("a"), Server.message), (delete("a"), Server.change)])
def test_only_accepted_is_an_answer_and_its_event_is_none_on_replay(
    server: Server, command: pb.ClientFrame, replay: Callable[..., None]
) -> None:
    """Not the replay of an unanswered command's event: its gateway may have died before it wrote the other copies."""
    author = {"sender" if command.HasField("send") else "actor": ME}
    server.connect()
    server.submit(command)
    server.sent()
    server.connect(replayed=1)
    replay(server, 100, key="a", **author)
    assert (server.finished, server.sent(), server.kept()) == ([], ["a"], [100])
    server.accept("a", 100)
    assert len(server.finished) == 1
    server.submit(command)
    server.sent()
    server.accept("a", 101)
    server.connect(replayed=1)
    replay(server, 101, key="b", **author)
    assert server.kept() == [100]


def test_the_event_of_a_command_that_was_withdrawn_and_accepted_late_is_not_dropped(server: Server) -> None:
    server.connect()
    command = send("a")
    server.submit(command)
    server.sent()
    server.session.outbox.forget(command, server.finished.append)
    server.accept("a", 100)
    server.connect(replayed=1)
    server.message(100, key="a", sender=ME)
    assert server.kept() == [100]


def test_a_gap_sets_the_position_to_resume_from(server: Server) -> None:
    server.connect(offset=7)
    server.reply(pb.ServerFrame(gap=pb.Gap(position=pb.Position(offset=3, epoch=2))))
    assert server.connect().authenticate.last_position == pb.Position(offset=3, epoch=2)


def test_after_dropped_events_no_command_is_sent_again(server: Server) -> None:
    """The server never drops an answer."""
    server.connect()
    server.submit(send("a"))
    assert server.sent() == ["a"]
    server.reply(pb.ServerFrame(gap=pb.Gap(since_ms=5, dropped=3, at_ms=6)), dropped=3)
    assert server.events[-1] == pb.Gap(since_ms=5, dropped=3, at_ms=6)
    assert server.sent() == []
    server.accept("a")
    assert len(server.finished) == 1


@pytest.mark.parametrize(
    ("frame", "instruction"),
    [
        (pb.ServerFrame(reconnect=pb.Reconnect(after_ms=50)), Reconnect("the gateway asked for it", after_ms=50)),
        (pb.ServerFrame(moved=MOVED), Reconnect("the sessions are elsewhere", moved=MOVED)),
        (pb.ServerFrame(goodbye=pb.Goodbye(code="timed_out", message="Silent.")), Reconnect("Silent.")),
        (
            pb.ServerFrame(goodbye=pb.Goodbye(code="unavailable", retry_after_ms=9)),
            Reconnect("unavailable", after_ms=9),
        ),
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


@given(
    st.lists(st.sampled_from(["send", "accept", "reconnect", "lose", "drop", "flush"]), max_size=60), st.integers(1, 4)
)
def test_every_command_is_answered_once_and_in_order_whatever_breaks(steps: Sequence[str], limit: int) -> None:
    """A server that answers in order and drops events, over connections that break anywhere and lose answers."""
    server = Server(max_unanswered_sends=limit)
    server.connect()
    submitted: list[str] = []
    on_the_way: list[str] = []
    recorded: dict[str, int] = {}
    for step in [*steps, *["flush", "accept"] * (len(steps) + 1)]:
        match step:
            case "send":
                submitted.append(str(len(submitted)))
                server.submit((send, delete)[len(submitted) % 2](submitted[-1]))
            case "flush":
                on_the_way += server.sent()
                assert len(on_the_way) <= limit
            case "accept" if on_the_way:
                key = on_the_way.pop(0)
                server.accept(key, recorded.setdefault(key, len(recorded) + 1))
            case "lose" if on_the_way:
                key = on_the_way.pop(0)
                recorded.setdefault(key, len(recorded) + 1)
                on_the_way.clear()
                server.connect()
            case "drop":
                server.reply(pb.ServerFrame(gap=pb.Gap(dropped=1)), dropped=1)
            case "reconnect":
                on_the_way.clear()
                server.connect()
            case _:
                pass
    answers = [item for item in server.finished if isinstance(item, pb.Accepted)]
    assert [answer.client_id for answer in answers] == submitted
    assert [answer.event_id for answer in answers] == list(range(1, len(submitted) + 1))


def test_a_follow_is_sent_on_each_connection_and_its_answers_come_in_order_with_the_events(server: Server) -> None:
    server.session.follow(["g-1"], [])
    server.connect()
    server.session.follow(["g-1", "g-2"], ["g-2"])
    assert [list(frame.follow.chat_ids) for frame in server.session.outgoing()] == [["g-1", "g-2"]]
    server.reply(pb.ServerFrame(accepted=pb.Accepted(frame=2, at_ms=5)))
    server.message(1)
    server.reply(pb.ServerFrame(channel_head=pb.ChannelHead(chat_id="g-1", newest_id=9)))
    server.connect()
    assert [list(frame.follow.open_chat_ids) for frame in server.session.outgoing()] == [["g-2"]]
    server.reply(refused(2))
    lists = ("g-1", "g-2"), ("g-2",)
    first, answer, _, head, second, last = server.events
    assert (first, answer, second) == (Connected("s", 0), Followed(5, *lists), first)
    assert head == pb.ChannelHead(chat_id="g-1", newest_id=9)
    assert isinstance(last, NotFollowed)
    assert (last.refused.retryable, last.chat_ids, last.open_chat_ids) == (True, *lists)
