"""The outbox sends each command until it is answered, and a notification once."""

import pytest

from rookery.client.errors import Refused
from rookery.client.outbox import MAX_MS_AGO, MAX_NOTIFICATIONS, MAX_PENDING, Finish, Outbox, key_of
from rookery.v1 import session_pb2 as pb

CHAT = "d-7-9"
TYPING = pb.ClientFrame(typing=pb.Typing(chat_id=CHAT))


def send(key: str) -> pb.ClientFrame:
    return pb.ClientFrame(send=pb.Send(client_message_id=key, recipient_id=9, text=pb.Text(body="hi")))


def ignore(_: object) -> None:
    pass


@pytest.fixture
def outbox() -> Outbox:
    outbox = Outbox()
    outbox.begin()
    return outbox


def submit(outbox: Outbox, keys: str, finish: Finish = ignore) -> None:
    for key in keys:
        outbox.submit(send(key), finish)


def taken(outbox: Outbox, limit: int = 64) -> str:
    return "".join(frame.send.client_message_id for frame in outbox.take(limit))


def test_unanswered_messages_are_sent_again_in_order_with_the_same_keys(outbox: Outbox) -> None:
    submit(outbox, "abc")
    assert taken(outbox) == "abc"
    outbox.finish(("send", "b"), None)
    outbox.begin()
    assert (taken(outbox), taken(outbox)) == ("ac", "")


def test_a_message_tells_how_long_ago_it_was_first_sent(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.submit(send("first"), ignore)
    outbox.submit(send("of another process"), ignore, first_sent_ms=2**33 - 1_000)
    outbox.submit(send("unknown"), ignore, first_sent_ms=0)
    ages = []
    for at_ms in (0, 60_000, -2_000):
        monkeypatch.setattr("rookery.client.outbox.wall_clock_ms", lambda now_ms=2**33 + at_ms: now_ms)
        outbox.resend()
        ages.append([frame.send.first_sent_ms_ago for frame in outbox.take(64)])
    assert ages == [[0, 1_000, MAX_MS_AGO], [60_000, 61_000, MAX_MS_AGO], [MAX_MS_AGO] * 3], "the clock was set back"


def test_no_more_messages_are_in_flight_than_the_limit(outbox: Outbox) -> None:
    submit(outbox, "abcd")
    assert (taken(outbox, 2), taken(outbox, 2)) == ("ab", "")
    outbox.finish(("send", "a"), None)
    assert taken(outbox, 2) == "c"


def test_commands_beyond_the_bound_are_refused(outbox: Outbox) -> None:
    for number in range(MAX_PENDING):
        outbox.submit(send(str(number)), ignore)
    with pytest.raises(Refused, match="1000 commands"):
        submit(outbox, "x")


def test_a_forgotten_message_is_not_sent_again(outbox: Outbox) -> None:
    frame = send("a")
    outbox.submit(frame, ignore)
    outbox.forget(frame)
    assert taken(outbox) == ""


def test_a_command_submitted_twice_is_sent_once_and_answers_both(outbox: Outbox) -> None:
    outcomes: list[object] = []
    submit(outbox, "aa", outcomes.append)
    assert taken(outbox) == "a"
    outbox.finish(("send", "a"), None)
    assert outcomes == [None, None]


def test_a_frame_number_names_its_command(outbox: Outbox) -> None:
    react = pb.ClientFrame(react=pb.React(chat_id=CHAT, message_id=3, emoji="👍"))
    outbox.submit(send("a"), ignore)
    outbox.submit(react, ignore)
    outbox.take(64)  # frames 2 and 3, after Authenticate
    assert [outbox.key_of_number(number) for number in (2, 3, 4)] == [("send", "a"), key_of(react), None]


def test_receipts_of_one_chat_are_merged(outbox: Outbox) -> None:
    outbox.submit(pb.ClientFrame(receipt=pb.Receipt(chat_id=CHAT, read_up_to=5)), ignore)
    outbox.submit(pb.ClientFrame(receipt=pb.Receipt(chat_id=CHAT, delivered_up_to=8)), ignore)
    (frame,) = outbox.take(64)
    assert frame.receipt == pb.Receipt(chat_id=CHAT, read_up_to=5, delivered_up_to=8)


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
