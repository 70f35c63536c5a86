from typing import Any

import pytest

from messaging.gateway.requests import (
    ChangeRequest,
    FollowRequest,
    SendRequest,
    TypingRequest,
    WatchRequest,
    check,
    check_authenticate,
    check_ping,
)
from messaging.gateway.sent import message_hash, sent_of
from messaging.kinds import KINDS
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.session_pb2 import (
    Authenticate,
    Change,
    ClientFrame,
    Deleted,
    Edited,
    Event,
    Follow,
    Hidden,
    LinkPreview,
    Marked,
    MarkedUnread,
    Mention,
    Message,
    Ping,
    Position,
    Previewed,
    Reacted,
    Send,
    Text,
    Typing,
    Watch,
)
from shared.configuration import LiveConfiguration
from shared.contract.errors import Code, Refusal
from shared.contract.sessions import MAX_WATCHED

USER, OTHER = 7, 9
CHAT = "d-7-9"
LIMITS = LiveConfiguration(max_text_bytes=1_000)
LONG = "é" * 501


def follow(chat_ids: list[str], open_chat_ids: list[str] | None = None) -> ClientFrame:
    return ClientFrame(follow=Follow(chat_ids=chat_ids, open_chat_ids=open_chat_ids))


def send(**fields: object) -> ClientFrame:
    usual: dict[str, object] = {"client_message_id": "a", "chat_id": CHAT, "text": Text(body="hi")}
    return ClientFrame(send=Send(**(usual | fields)))  # type: ignore[arg-type]


def change(**fields: Any) -> ClientFrame:
    usual: dict[str, Any] = {"client_change_id": "a", "chat_id": CHAT, "target_id": 5}
    return ClientFrame(change=Change(**(usual | fields)))


def marked(**fields: int) -> ClientFrame:
    return change(target_id=0, marked=Marked(**fields))


def mentioning(*mentions: tuple[int, str], body: str = "@ann @ben") -> Text:
    return Text(body=body, mentions=[Mention(user_id=user_id, name=name) for user_id, name in mentions])


FILE = FileRef(file_id=2, chat_id="g-7", message_id=5)
THUMB = Reacted(emoji="👍", set=True)
TO_ALL = Text(body="@all", mentions_everyone=True)
TO_ALL_WITHOUT_NAME = Code.INVALID, "send.text.mentions_everyone", "`@`"
EVERYBODY = ((7, "ann"), (9, "ben"))


def refused(frame: ClientFrame) -> Refusal:
    refusal = check(frame, USER, LIMITS)
    assert isinstance(refusal, Refusal)
    return refusal


def test_a_send_names_its_chat_or_its_recipient() -> None:
    by_chat = check(send(), USER, LIMITS)
    by_recipient = check(
        ClientFrame(send=Send(client_message_id="a", recipient_id=OTHER, text=Text(body="hi"))), USER, LIMITS
    )
    assert isinstance(by_chat, SendRequest)
    assert isinstance(by_recipient, SendRequest)
    for request in (by_chat, by_recipient):
        assert (request.chat_id, request.members, request.recipients) == (CHAT, (USER, OTHER), (USER, OTHER))
    assert by_chat.event(5, USER) == by_recipient.event(5, USER)


def test_a_send_with_all_its_content_becomes_a_message_and_is_no_retry_of_one_with_less() -> None:
    text = mentioning(*EVERYBODY)
    request = check(send(text=text, reply_to=3, forwarded=True, files=[FILE, FileRef(file_id=1)]), USER, LIMITS)
    assert isinstance(request, SendRequest)
    message = Message(message_id=5, chat_id=CHAT, sender_id=USER, client_message_id="a", text=text, reply_to=3)
    message.forwarded = True
    files = [FileInfo(file_id=2, name="a"), FileInfo(file_id=1, name="b")]
    message.files.extend(files)
    event = Event(event_id=5, message=message)
    assert request.event(5, USER, files) == event
    assert request.content_hash() == sent_of(event).content
    assert message_hash(TO_ALL, 3, True) != message_hash(Text(body="@all"), 3, True)
    for less in (
        *((mentioning(*EVERYBODY[:1]), 3, True, files), (text, 0, True, files), (text, 3, False, files)),
        *((text, 3, True, files[:1]), (text, 3, True, files[::-1])),
    ):
        assert request.content_hash() != message_hash(*less)


@pytest.mark.parametrize(
    ("frame", "code", "field", "limit"),
    [
        (send(client_message_id=""), Code.INVALID, "send.client_message_id", "1 to 64 bytes"),
        (send(client_message_id="é" * 33), Code.INVALID, "send.client_message_id", "1 to 64 bytes"),
        (send(text=None), Code.INVALID, "send.text", "content"),
        (send(text=Text()), Code.INVALID, "send.text.body", "more than white space"),
        (send(text=Text(body=" \t\n\u2003")), Code.INVALID, "send.text.body", "more than white space"),
        (send(text=Text(body="x" * 1001)), Code.TOO_LARGE, "send.text.body", "1000 bytes"),
        (send(text=Text(body=LONG)), Code.TOO_LARGE, "send.text.body", "1000 bytes"),
        (send(text=mentioning((0, "ann"))), Code.INVALID, "send.text.mentions[0].user_id", "from 1 to 92"),
        (send(text=mentioning((9, "ben"), (8, "ann"))), Code.NOT_FOUND, "send.text.mentions[1].user_id", "members"),
        (send(text=mentioning((9, "ben"), (9, "ann"))), Code.INVALID, "send.text.mentions[1].user_id", "once"),
        (send(text=mentioning((9, ""), body="@")), Code.INVALID, "send.text.mentions[0].name", "`@`"),
        (send(text=mentioning((9, "be"), body="be @b")), Code.INVALID, "send.text.mentions[0].name", "`@`"),
        (send(text=mentioning((9, "é" * 33))), Code.TOO_LARGE, "send.text.mentions[0].name", "64 bytes"),
        (send(text=mentioning(*[(9, "ben")] * 51)), Code.TOO_LARGE, "send.text.mentions", "50 users"),
        (send(text=TO_ALL), Code.INVALID, "send.text.mentions_everyone", "in a group"),
        (send(chat_id="g-7", text=Text(body="all", mentions_everyone=True)), *TO_ALL_WITHOUT_NAME),
        (change(edited=Edited(text=TO_ALL)), Code.INVALID, "change.edited.text.mentions_everyone", "in a group"),
        (send(files=[FILE] * 11), Code.TOO_LARGE, "send.files", "10 files"),
        (send(files=[FILE, FileRef(file_id=3), FILE]), Code.INVALID, "send.files", "once"),
        (send(files=[FILE, FileRef()]), Code.INVALID, "send.files[1].file_id", "1 to 92"),
        (send(files=[FileRef(file_id=1, message_id=5)]), Code.INVALID, "send.files[0].message_id", "`chat_id`"),
        (send(files=[FileRef(file_id=1, chat_id=CHAT, message_id=-5)]), Code.INVALID, "send.files[0].message_id", "1"),
        (send(files=[FileRef(file_id=1, chat_id="d-1-2", message_id=5)]), Code.NOT_FOUND, "send.files[0].chat_id", ""),
        (send(files=[FILE], text=Text(body=LONG)), Code.TOO_LARGE, "send.text.body", "1000 bytes"),
        (send(reply_to=-1), Code.INVALID, "send.reply_to", "9223372036854775807"),
        (send(chat_id="d-1-2"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id="d-9-7"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id="d-07-9"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id="d-7-9223372036854775808"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id="g-0"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id="g-9223372036854775808"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id="'; DROP TABLE chats --"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id=None), Code.INVALID, "send.chat_id", "recipient_id"),
        (send(chat_id=None, recipient_id=0), Code.INVALID, "send.recipient_id", "1 to 9223372036854775807"),
        (send(chat_id=None, recipient_id=-5), Code.INVALID, "send.recipient_id", "1 to 9223372036854775807"),
        (send(chat_id=None, recipient_id=USER), Code.INVALID, "send.recipient_id", "someone else"),
        (change(), Code.MALFORMED, "change", "does not know"),
        (change(client_change_id="", reacted=THUMB), Code.INVALID, "change.client_change_id", "1 to 64 bytes"),
        (change(client_change_id="é" * 33, marked=Marked()), Code.INVALID, "change.client_change_id", "64 bytes"),
        (change(target_id=0, reacted=THUMB), Code.INVALID, "change.target_id", "1 to 92"),
        (change(target_id=-1, deleted=Deleted()), Code.INVALID, "change.target_id", "1 to 92"),
        (change(marked=Marked(read_up_to=5)), Code.INVALID, "change.target_id", "0"),
        (change(reacted=Reacted(emoji="no")), Code.INVALID, "change.reacted.emoji", "40 bytes"),
        (change(chat_id="d-1-2", reacted=THUMB), Code.NOT_FOUND, "change.chat_id", ""),
        (marked(), Code.INVALID, "change.marked.read_up_to", "delivered_up_to"),
        (marked(read_up_to=-1), Code.INVALID, "change.marked.read_up_to", "1 to 92"),
        (marked(delivered_up_to=-1), Code.INVALID, "change.marked.delivered_up_to", "1"),
        (change(edited=Edited()), Code.INVALID, "change.edited.text", "content"),
        (change(edited=Edited(text=Text(body=LONG))), Code.TOO_LARGE, "change.edited.text.body", "1000 bytes"),
        (change(edited=Edited(text=mentioning((9, "no")))), Code.INVALID, "change.edited.text.mentions[0].name", "`@`"),
        (change(previewed=Previewed(preview=LinkPreview())), Code.INVALID, "change.previewed.preview", "server"),
        (change(marked_unread=MarkedUnread()), Code.INVALID, "change.target_id", "0"),
        (change(target_id=0, hidden=Hidden()), Code.INVALID, "change.target_id", "1 to 92"),
        (ClientFrame(typing=Typing(chat_id="elsewhere")), Code.NOT_FOUND, "typing.chat_id", ""),
        (ClientFrame(watch=Watch(user_ids=range(1, 10_001))), Code.INVALID, "watch.user_ids", "200 users"),
        (ClientFrame(watch=Watch(user_ids=[1, 0])), Code.INVALID, "watch.user_ids", "1 to 92"),
        (ClientFrame(watch=Watch(user_ids=[1, 2, 1])), Code.INVALID, "watch.user_ids", "once"),
        (follow([f"g-{number}" for number in range(1, 202)]), Code.INVALID, "follow.chat_ids", "200 channels"),
        (follow(["g-1"], ["g-1"] * 21), Code.INVALID, "follow.open_chat_ids", "20 channels"),
        (follow(["g-1", "g-2", "g-1"]), Code.INVALID, "follow.chat_ids", "once"),
        (follow(["g-1", CHAT]), Code.INVALID, "follow.chat_ids[1]", "no channel"),
        (follow(["g-1", "'; --"]), Code.INVALID, "follow.chat_ids[1]", "no channel"),
        (follow(["g-1"], ["g-2"]), Code.INVALID, "follow.open_chat_ids", "`chat_ids`"),
        (ClientFrame(), Code.MALFORMED, "", "does not know"),
    ],
)
def test_bad_input_is_refused_by_field_and_limit(frame: ClientFrame, code: Code, field: str, limit: str) -> None:
    refusal = refused(frame)
    assert (refusal.code, refusal.field) == (code, field)
    assert limit in refusal.message


def test_markup_and_sql_are_text_like_any_other() -> None:
    body = "<b>';--"
    request = check(send(text=Text(body=body)), USER, LIMITS)
    assert isinstance(request, SendRequest)
    assert request.text.body == body


def test_a_text_keeps_no_field_that_this_version_does_not_know() -> None:
    """Its limit counts the body alone."""
    text = mentioning(*EVERYBODY)
    for part in (text, text.mentions[0]):
        part.MergeFromString(b"\xfa\x7f\x05extra")
    request = check(send(text=text), USER, LIMITS)
    assert isinstance(request, SendRequest)
    assert request.text.SerializeToString() == mentioning(*EVERYBODY).SerializeToString()


def test_changes_typing_watching_and_following() -> None:
    members = (USER, OTHER)
    frame = change(actor_id=OTHER, reacted=THUMB)
    frame.change.MergeFromString(b"\xfa\x7f\x05extra")  # a field that this version does not know
    frame.first_sent_ms_ago = 3
    reacted = Change(client_change_id="a", chat_id=CHAT, target_id=5, actor_id=USER, reacted=THUMB)
    assert check(frame, USER, LIMITS) == ChangeRequest("a", CHAT, members, KINDS["reacted"], reacted, 3)
    mark = check(change(client_change_id="", target_id=0, marked=Marked(read_up_to=5)), USER, LIMITS)
    assert isinstance(mark, ChangeRequest)
    assert mark.change.marked.delivered_up_to == 5, "what is read has been delivered"
    assert check(ClientFrame(typing=Typing(chat_id=CHAT)), USER, LIMITS) == TypingRequest(CHAT, members)
    for watched in ((), tuple(range(1, MAX_WATCHED + 1))):
        assert check(ClientFrame(watch=Watch(user_ids=watched)), USER, LIMITS) == WatchRequest(watched)
    assert check(follow(["g-1", "g-2"], ["g-2"]), USER, LIMITS) == FollowRequest(("g-1", "g-2"), frozenset(["g-2"]))


def test_the_members_of_a_group_are_not_known_here() -> None:
    sent = check(send(chat_id="g-7", text=mentioning((8, "ann"), (9, "ben"))), USER, LIMITS)
    mark = check(change(chat_id="g-7", target_id=0, marked=Marked(read_up_to=5)), USER, LIMITS)
    reaction = check(change(chat_id="g-7", reacted=THUMB), USER, LIMITS)
    for request, is_personal in ((sent, False), (mark, True), (reaction, False)):
        assert isinstance(request, SendRequest | ChangeRequest)
        assert (request.members, request.recipients, request.is_personal) == ((), (), is_personal)


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        (Authenticate(), "authenticate.access_token"),
        (Authenticate(access_token="t", client_name="x" * 65), "authenticate.client_name"),
        (Authenticate(access_token="t", last_position=Position(offset=-2)), "authenticate.last_position.offset"),
    ],
)
def test_a_bad_authenticate_is_refused(frame: Authenticate, field: str) -> None:
    refusal = check_authenticate(frame)
    assert refusal is not None
    assert refusal.field == field


def test_a_ping_has_a_limit() -> None:
    assert check_ping(Ping(payload=b"x" * 128)) is None
    refusal = check_ping(Ping(payload=b"x" * 129))
    assert refusal is not None
    assert "128 bytes" in refusal.message
