"""The outbox sends each command until it is answered, and a notification once."""

from collections.abc import Iterable

import pytest

from rookery.client.errors import Refused
from rookery.client.outbox import MAX_MS_AGO, MAX_NOTIFICATIONS, MAX_PENDING, Finish, Outbox
from rookery.v1 import session_pb2 as pb

CHAT = "d-7-9"
TYPING = pb.ClientFrame(typing=pb.Typing(chat_id=CHAT))
ACCEPTED = pb.Accepted()


def send(key: str) -> pb.ClientFrame:
    return pb.ClientFrame(send=pb.Send(client_message_id=key, recipient_id=9, text=pb.Text(body="hi")))


def mark(**marks: int) -> pb.ClientFrame:
    return pb.ClientFrame(change=pb.Change(chat_id=CHAT, marked=pb.Marked(**marks)))


def ignore(_: object) -> None:
    pass


@pytest.fixture
def outbox() -> Outbox:
    outbox = Outbox()
    outbox.begin()
    return outbox


def submit(outbox: Outbox, keys: Iterable[str], finish: Finish = ignore) -> None:
    for key in keys:
        outbox.submit(send(key), finish)


def taken(outbox: Outbox, limit: int = 64) -> str:
    return "".join(frame.send.client_message_id for frame in outbox.take(limit))


def test_unanswered_messages_are_sent_again_in_order_with_the_same_keys(outbox: Outbox) -> None:
    submit(outbox, "abc")
    assert taken(outbox) == "abc"
    outbox.finish(3, ACCEPTED)  # frame 1 is Authenticate
    outbox.begin()
    assert (taken(outbox), taken(outbox)) == ("ac", "")


def test_a_command_tells_how_long_ago_it_was_first_sent(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.submit(send("first"), ignore)
    outbox.submit(send("of another process"), ignore, first_sent_ms=2**33 - 1_000)
    outbox.submit(send("unknown"), ignore, first_sent_ms=0)
    ages = []
    for at_ms in (0, 60_000, -2_000):
        monkeypatch.setattr("rookery.client.outbox.wall_clock_ms", lambda now_ms=2**33 + at_ms: now_ms)
        outbox.begin()
        ages.append([frame.first_sent_ms_ago for frame in outbox.take(64)])
    assert ages == [[0, 1_000, MAX_MS_AGO], [60_000, 61_000, MAX_MS_AGO], [MAX_MS_AGO] * 3], "the clock was set back"


def test_no_more_commands_are_in_flight_than_the_limit(outbox: Outbox) -> None:
    submit(outbox, "abcd")
    assert (taken(outbox, 2), taken(outbox, 2)) == ("ab", "")
    outbox.finish(2, ACCEPTED)
    assert taken(outbox, 2) == "c"


def test_commands_beyond_the_bound_are_refused(outbox: Outbox) -> None:
    submit(outbox, map(str, range(MAX_PENDING)))
    with pytest.raises(Refused, match="1000 commands"):
        submit(outbox, "x")


def test_a_follow_is_never_refused_and_takes_the_place_of_the_former_one(outbox: Outbox) -> None:
    submit(outbox, map(str, range(MAX_PENDING)))
    for chat_id in ("g-1", "g-2"):
        outbox.submit(pb.ClientFrame(follow=pb.Follow(chat_ids=[chat_id])), ignore)
    assert outbox.take(2_000)[MAX_PENDING:] == [pb.ClientFrame(follow=pb.Follow(chat_ids=["g-2"]))]


def test_a_forgotten_message_is_not_sent_again(outbox: Outbox) -> None:
    frame = send("a")
    outbox.submit(frame, ignore)
    outbox.forget(frame, ignore)
    assert taken(outbox) == ""


def test_commands_that_are_withdrawn_or_merged_before_they_are_sent_are_not_kept(outbox: Outbox) -> None:
    frame = send("a")
    outbox.submit(frame, ignore)
    outbox.forget(frame, ignore)
    assert not outbox.wants_to_send
    for message_id in (5, 7):
        outbox.submit(mark(read_up_to=message_id), ignore)
    assert len(outbox._unsent) == 1
    assert [frame.change.marked.read_up_to for frame in outbox.take(64)] == [7]


def test_a_command_submitted_twice_is_sent_until_both_callers_have_forgotten_it(outbox: Outbox) -> None:
    first, second = send("a"), send("a")
    answers: list[object] = []
    outbox.submit(first, ignore)
    outbox.submit(second, answers.append)
    for _ in range(2):
        outbox.forget(first, ignore)
    assert taken(outbox) == "a"
    outbox.forget(second, answers.append)
    assert not outbox.finish(2, ACCEPTED)
    outbox.begin()
    assert taken(outbox) == ""


def test_a_command_submitted_twice_is_sent_once_and_answers_both(outbox: Outbox) -> None:
    outcomes: list[object] = []
    submit(outbox, "aa", outcomes.append)
    assert taken(outbox) == "a"
    assert outbox.finish(2, ACCEPTED)
    assert outcomes == [ACCEPTED, ACCEPTED]


def test_a_second_content_under_the_client_id_of_a_pending_command_is_refused(outbox: Outbox) -> None:
    other, change = send("a"), pb.ClientFrame(change=pb.Change(client_change_id="a", deleted=pb.Deleted()))
    other.send.text.body = "another text"
    outcomes: list[object] = []
    outbox.submit(send("a"), outcomes.append)
    for frame in (other, change):
        with pytest.raises(Refused, match="another content") as caught:
            outbox.submit(frame, outcomes.append)
        assert (caught.value.code, caught.value.retryable, caught.value.client_id) == ("invalid", False, "a")
    assert [frame.send.text.body for frame in outbox.take(64)] == ["hi"]
    outbox.submit(send("a"), outcomes.append)
    outbox.finish(2, ACCEPTED)
    assert outcomes == [ACCEPTED, ACCEPTED]


def test_marks_of_one_chat_are_merged_until_they_are_accepted(outbox: Outbox) -> None:
    answers: list[object] = []
    outbox.submit(mark(read_up_to=5), answers.append)
    outbox.submit(mark(delivered_up_to=8, read_up_to=3), answers.append)
    (frame,) = outbox.take(64)  # frame 2
    assert frame.change.marked == pb.Marked(read_up_to=5, delivered_up_to=8)
    outbox.submit(mark(read_up_to=7), answers.append)
    outbox.finish(2, ACCEPTED)
    (frame,) = outbox.take(64)  # frame 3
    assert (frame.change.marked, answers) == (pb.Marked(read_up_to=7, delivered_up_to=8), [])
    outbox.finish(3, ACCEPTED)
    assert answers == [ACCEPTED] * 3


def test_a_notification_is_sent_once_on_its_connection_and_never_queued_without_bound(outbox: Outbox) -> None:
    outbox.notify(TYPING)
    assert [outbox.take(64), outbox.take(64)] == [[TYPING], []]
    for _ in range(MAX_NOTIFICATIONS + 1):
        outbox.notify(TYPING)
    outbox.begin()
    assert outbox.take(64) == []
    for _ in range(MAX_NOTIFICATIONS + 1):
        outbox.notify(TYPING)
    assert len(outbox.take(64)) == MAX_NOTIFICATIONS
