import pytest

from messaging.gateway.requests import (
    ReactRequest,
    ReceiptRequest,
    SendRequest,
    TypingRequest,
    check,
    check_authenticate,
    check_ping,
    is_emoji,
)
from rookery.v1.session_pb2 import (
    Authenticate,
    ClientFrame,
    Ping,
    Position,
    React,
    Receipt,
    Send,
    Text,
    Typing,
    Unreact,
)
from shared.configuration import LiveConfiguration
from shared.contract.errors import Code, Refusal
from tools.toolchains import ROOT

USER, OTHER = 7, 9
CHAT = "d-7-9"
LIMITS = LiveConfiguration(max_text_bytes=10)


def send(**fields: object) -> ClientFrame:
    usual: dict[str, object] = {"client_message_id": "a", "chat_id": CHAT, "text": Text(body="hi")}
    return ClientFrame(send=Send(**(usual | fields)))  # type: ignore[arg-type]


def refused(frame: ClientFrame) -> Refusal:
    refusal = check(frame, USER, LIMITS)
    assert isinstance(refusal, Refusal)
    return refusal


def test_a_send_names_its_chat_or_its_recipient() -> None:
    by_chat = check(send(), USER, LIMITS)
    by_recipient = check(
        ClientFrame(send=Send(client_message_id="a", recipient_id=OTHER, text=Text(body="hi"))), USER, LIMITS
    )
    assert by_chat == by_recipient == SendRequest("a", CHAT, (USER, OTHER), Text(body="hi"), 0, None)


@pytest.mark.parametrize(
    ("frame", "code", "field", "limit"),
    [
        (send(client_message_id=""), Code.INVALID, "send.client_message_id", "1 to 64 bytes"),
        (send(client_message_id="é" * 33), Code.INVALID, "send.client_message_id", "1 to 64 bytes"),
        (send(text=None), Code.INVALID, "send.text", "content"),
        (send(text=Text()), Code.INVALID, "send.text.body", "more than white space"),
        (send(text=Text(body=" \t\n\u2003")), Code.INVALID, "send.text.body", "more than white space"),
        (send(text=Text(body="x" * 11)), Code.TOO_LARGE, "send.text.body", "10 bytes"),
        (send(text=Text(body="é" * 6)), Code.TOO_LARGE, "send.text.body", "10 bytes"),
        (send(reply_to=-1), Code.INVALID, "send.reply_to", "9223372036854775807"),
        (send(chat_id="d-1-2"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id="d-9-7"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id="d-07-9"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id="d-7-9223372036854775808"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id="'; DROP TABLE chats --"), Code.NOT_FOUND, "send.chat_id", ""),
        (send(chat_id=None), Code.INVALID, "send.chat_id", "recipient_id"),
        (send(chat_id=None, recipient_id=0), Code.INVALID, "send.recipient_id", "1 to 9223372036854775807"),
        (send(chat_id=None, recipient_id=-5), Code.INVALID, "send.recipient_id", "1 to 9223372036854775807"),
        (send(chat_id=None, recipient_id=USER), Code.INVALID, "send.recipient_id", "someone else"),
        (ClientFrame(react=React(chat_id=CHAT, emoji="👍")), Code.INVALID, "react.message_id", "1 to 92"),
        (ClientFrame(react=React(chat_id=CHAT, message_id=5, emoji="no")), Code.INVALID, "react.emoji", "40 bytes"),
        (ClientFrame(react=React(chat_id="d-1-2", message_id=5, emoji="👍")), Code.NOT_FOUND, "react.chat_id", ""),
        (ClientFrame(receipt=Receipt(chat_id=CHAT)), Code.INVALID, "receipt.read_up_to", "delivered_up_to"),
        (ClientFrame(receipt=Receipt(chat_id=CHAT, read_up_to=-1)), Code.INVALID, "receipt.read_up_to", "1 to 92"),
        (ClientFrame(receipt=Receipt(chat_id=CHAT, delivered_up_to=-1)), Code.INVALID, "receipt.delivered_up_to", "1"),
        (ClientFrame(typing=Typing(chat_id="elsewhere")), Code.NOT_FOUND, "typing.chat_id", ""),
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


def test_reactions_receipts_and_typing() -> None:
    members = (USER, OTHER)
    react = check(ClientFrame(react=React(chat_id=CHAT, message_id=5, emoji="👍")), USER, LIMITS)
    assert react == ReactRequest(CHAT, members, 5, "👍", True)
    unreact = check(ClientFrame(unreact=Unreact(chat_id=CHAT, message_id=5, emoji="👍")), USER, LIMITS)
    assert unreact == ReactRequest(CHAT, members, 5, "👍", False)
    receipt = check(ClientFrame(receipt=Receipt(chat_id=CHAT, read_up_to=5)), USER, LIMITS)
    assert receipt == ReceiptRequest(CHAT, members, 5, 5), "what is read has been delivered"
    assert check(ClientFrame(typing=Typing(chat_id=CHAT)), USER, LIMITS) == TypingRequest(CHAT, members)


@pytest.mark.parametrize("text", ["👍", "❤️", "👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "🇩🇪", "👋🏽", "☺", "👩🏻‍❤️‍💋‍👩🏼"])
def test_one_emoji_is_an_emoji(text: str) -> None:
    assert is_emoji(text)


def test_each_emoji_of_the_page_s_picker_is_accepted_as_a_reaction() -> None:
    lines = (ROOT / "web/emoji/data/emoji.txt").read_text().splitlines()[1:]
    picked = [line.partition("|")[0] for line in lines if line]
    assert len(picked) > 1900
    assert [emoji for emoji in picked if not is_emoji(emoji)] == []


NO_EMOJI = ["a", "1", "👍a", "\u200d", "👍\u200d", "😀😀", "🇩🇪🇩🇪", "👍🏽🏽", "^", "<b>", "é", "\x00"]


@pytest.mark.parametrize("text", ["", " ", *NO_EMOJI, "👨\u200d" * 9 + "👨"])
def test_other_text_is_no_emoji(text: str) -> None:
    assert not is_emoji(text)


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
