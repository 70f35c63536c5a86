"""Whatever comes in, from clients, other processes, stores or people: each decoder gives a value or its own refusal.

One row for each. Those of HTTP/2 and gRPC have more to them: `tests/shared/rpc/test_protocol.py`.
"""

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
import trustme
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from bff.http.endpoints import parse_body, parse_id, parse_query
from bff.models.accounts import PasswordChange, ProfileChange, Refresh, Registration, SignIn
from bff.models.chats import ChatsQuery, MessagesQuery
from bff.models.fields import Input
from bff.models.people import ProfilesQuery
from messaging.archive.pages import decode_cursor, encode_cursor
from messaging.archive.store.protocol import ChatCursor
from messaging.gateway.requests import check, check_authenticate, check_ping
from messaging.kinds.reacted import is_emoji
from rookery.client.errors import Unreachable
from rookery.client.http import _problem as problem_of
from rookery.client.http import _Tokens as Tokens
from rookery.client.http import decode_json, decode_proto
from rookery.commands.errors import InvalidSettings
from rookery.commands.options import read_settings
from rookery.v1.archive_pb2 import ListMessagesResponse
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import Authenticate, Change, ClientFrame, Edited, Position, Reacted, Send, Text
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.tokens import SigningKeys, TokenIssuer, signed_payload
from shared.accounts.tokens import _claims as claims_of
from shared.backplane import DeadLetter
from shared.backplane.kafka.dead_letters import _decode as decode_letter
from shared.backplane.sqlite.segments import records_of
from shared.configuration import LiveConfiguration
from shared.configuration.live import validate
from shared.configuration.protocol import InvalidConfiguration, StoredValue
from shared.configuration.redis import _stored as stored_value
from shared.contract import wire
from shared.contract.addresses import GrpcAddress
from shared.contract.chats import direct_chat_id, direct_members
from shared.contract.errors import Refusal
from shared.contract.ids import MAX_ID
from shared.coordination.redis.ownership import RedisDirectory
from shared.net.certificates import Certificate, read_certificate
from shared.net.pem import UnusableCertificate
from shared.pictures.animations import Malformed, clean_gif, clean_webp
from shared.pictures.cleaning import clean_jpeg, clean_png
from shared.pictures.processes import decode_answer as answer_of_worker
from shared.rpc.framing import MessageBuffer, frame_messages
from shared.rpc.status import RpcError
from shared.settings import ENV_PREFIX, Settings
from tests.fuzzing import examples
from tests.shared.pictures.conftest import encoded, picture, with_metadata

USER_ID = 7


@dataclass(frozen=True)
class Decoder:
    """Takes what the inputs are. It may raise its refusals alone; `holds` says more of what it gives."""

    name: str
    decode: Callable[[Any], Any]
    inputs: st.SearchStrategy[Any]
    refusals: tuple[type[Exception], ...] = ()
    holds: Callable[[Any, Any], bool] = field(default=lambda given, result: True)


@st.composite
def nearly(draw: st.DrawFn, valid: bytes) -> bytes:
    """Bytes that were valid, before some of them were changed, cut out or put in."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


def nearly_text(valid: str) -> st.SearchStrategy[str]:
    return nearly(valid.encode()).map(lambda data: data.decode(errors="replace"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
JSON_TEXTS = JSON.map(msgspec.json.encode) | st.binary(max_size=100)
TEXTS = st.text(max_size=60)
NUMBERS = st.integers(-(2**63), 2**63 - 1).map(str)

FRAMES = [
    ClientFrame(send=Send(client_message_id="1", recipient_id=8, reply_to=3, text=Text(body="hello"))),
    ClientFrame(change=Change(chat_id="d-7-8", target_id=1, reacted=Reacted(emoji="\N{THUMBS UP SIGN}"))),
    ClientFrame(change=Change(chat_id="d-7-8", client_change_id="1", target_id=1, edited=Edited(text=Text(body="?")))),
    ClientFrame(authenticate=Authenticate(access_token="x.y.z", last_position=Position(offset=5, epoch=1))),
]
ENVELOPE = Envelope(recipient_ids=[7, 8], truth=True, sender_id=7, origin_session_id="s")
CURSOR = encode_cursor(ChatCursor(1, "d-7-8"))
LETTER = [("partition", b"1"), ("offset", b"2"), ("at_ms", b"3"), ("group", b"g"), ("reason", b"r")]
BODIES: list[type[Input]] = [Registration, SignIn, Refresh, ProfileChange, PasswordChange]
QUERIES: list[type[Input]] = [ProfilesQuery, ChatsQuery, MessagesQuery]

frames_in_protobuf = st.sampled_from(FRAMES).flatmap(lambda frame: nearly(frame.SerializeToString()))
frames_in_json = st.sampled_from(FRAMES).flatmap(lambda frame: nearly(wire.to_json(frame)))
gzip_messages = st.binary(max_size=50).map(lambda message: frame_messages([message], compress=True)).flatmap(nearly)


def check_frame(data: bytes) -> object:
    """What the gateway asks of a frame before it does anything."""
    frame = ClientFrame.FromString(data)
    for refusal in (check_authenticate(frame.authenticate), check_ping(frame.ping)):
        assert refusal is None or isinstance(refusal, Refusal)
    return check(frame, USER_ID, LiveConfiguration())


def take_messages(data: bytes) -> list[bytes]:
    buffer = MessageBuffer(100, compressed=True)
    buffer.append(data)
    messages = []
    while (message := buffer.take()) is not None:
        messages.append(message)
    return messages


def letter_of(headers: list[tuple[str, bytes | None]]) -> DeadLetter:
    return decode_letter(SimpleNamespace(headers=headers, value=None, offset=5, timestamp=6))


def directory_of(texts: dict[str, str]) -> dict[int, Any]:
    decoded: Any = RedisDirectory._decode
    entries: dict[int, Any] = decoded(SimpleNamespace(_unreadable=frozenset(), _key="key"), texts)
    return entries


def settings_from(name: str, text: str) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, text)
        return read_settings()


def queries(model: type[BaseModel]) -> st.SearchStrategy[bytes]:
    fields = st.dictionaries(st.sampled_from(sorted(model.model_fields)), TEXTS | NUMBERS)
    return fields.map(lambda values: urlencode(values).encode())


def setting_names(model: type[BaseModel], prefix: str = ENV_PREFIX) -> Iterator[str]:
    """The variables that set a field, or a whole section as JSON."""
    for name, info in model.model_fields.items():
        yield prefix + name.upper()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from setting_names(info.annotation, f"{prefix}{name.upper()}__")


PICTURES = {media_type: encoded(picture(8, 4), media_type) for media_type in ("image/gif", "image/webp")}
PICTURES |= {media_type: with_metadata(media_type, picture(8, 4), 6) for media_type in ("image/jpeg", "image/png")}


def cleaner(name: str, clean: Callable[[bytes], bytes], picture: bytes) -> Decoder:
    """A function whose result is clean, and no longer than the picture."""

    def is_clean(given: bytes, result: bytes) -> bool:
        return clean(result) == result and len(result) <= len(given)

    return Decoder(name, clean, nearly(picture) | st.binary(max_size=60), (Malformed,), holds=is_clean)


DECODERS = [
    Decoder("GIF", clean_gif, nearly(PICTURES["image/gif"]) | st.binary(max_size=60), (Malformed,)),
    Decoder("WebP", clean_webp, nearly(PICTURES["image/webp"]) | st.binary(max_size=60), (Malformed,)),
    cleaner("JPEG", clean_jpeg, PICTURES["image/jpeg"]),
    cleaner("PNG", clean_png, PICTURES["image/png"]),
    Decoder("answer of a worker", answer_of_worker, JSON_TEXTS, (msgspec.MsgspecError,)),
    Decoder("frame in protobuf", ClientFrame.FromString, frames_in_protobuf | st.binary(max_size=60), (DecodeError,)),
    Decoder(
        "frame in JSON",
        partial(wire.from_json, ClientFrame),
        frames_in_json | JSON_TEXTS,
        holds=lambda given, result: isinstance(result, ClientFrame | Refusal),
    ),
    Decoder("request of a frame", check_frame, frames_in_protobuf, (DecodeError,)),
    Decoder("emoji", is_emoji, TEXTS, holds=lambda given, result: result in (True, False)),
    Decoder("envelope", Envelope.FromString, nearly(ENVELOPE.SerializeToString()), (DecodeError,)),
    Decoder(
        "segment of the log",
        partial(records_of, 1, 1 << 48, 0),
        nearly(msgspec.msgpack.encode([b"one", b"two"])),
        (msgspec.MsgspecError,),
    ),
    Decoder(
        "dead letter",
        letter_of,
        st.permutations([*LETTER, ("partition", None), ("offset", b"x"), ("at_ms", b"\xff")]).map(lambda all: all[:6]),
        holds=lambda given, result: isinstance(result, DeadLetter),
    ),
    Decoder(
        "cursor",
        decode_cursor,
        nearly_text(CURSOR) | TEXTS,
        holds=lambda given, result: result is None or result == decode_cursor(encode_cursor(result)),
    ),
    Decoder(
        "chat id",
        direct_members,
        nearly_text("d-7-8") | TEXTS,
        holds=lambda given, result: result is None or direct_chat_id(*result) == given,
    ),
    Decoder(
        "id in a path",
        partial(parse_id, "user_id"),
        NUMBERS | TEXTS,
        holds=lambda given, result: isinstance(result, Refusal) or 1 <= result <= MAX_ID,
    ),
    *(
        Decoder(
            f"body of {model.__name__}",
            partial(parse_body, model),
            JSON_TEXTS | st.dictionaries(st.sampled_from([*model.model_fields]), JSON).map(msgspec.json.encode),
            holds=lambda given, result: isinstance(result, BaseModel | Refusal),
        )
        for model in BODIES
    ),
    *(
        Decoder(
            f"query of {model.__name__}",
            partial(parse_query, model),
            st.binary(max_size=60) | queries(model),
            holds=lambda given, result: isinstance(result, BaseModel | Refusal),
        )
        for model in QUERIES
    ),
    Decoder(
        "claims of a token",
        claims_of,
        JSON
        | st.fixed_dictionaries({name: JSON | NUMBERS | st.just("rookery") for name in ("iss", "sub", "sid", "exp")}),
        holds=lambda given, result: result is None or 1 <= result.user_id <= MAX_ID,
    ),
    Decoder(
        "address",
        GrpcAddress.parse,
        nearly_text("grpcs://[::1]:443") | nearly_text("chat.example.org:443") | TEXTS,
        (ValueError,),
        holds=lambda given, result: given.endswith(result.target) and 0 <= result.port <= 65_535,
    ),
    Decoder(
        "live value",
        lambda given: validate(*given),
        st.tuples(st.sampled_from(sorted(LiveConfiguration.model_fields)) | TEXTS, TEXTS | NUMBERS),
        (InvalidConfiguration,),
    ),
    Decoder(
        "stored live value",
        partial(stored_value, "key"),
        TEXTS | JSON.map(lambda value: msgspec.json.encode(value).decode()),
        holds=lambda given, result: isinstance(result, StoredValue),
    ),
    Decoder(
        "entries of the directory of gateways",
        directory_of,
        st.dictionaries(
            NUMBERS | TEXTS, JSON.map(lambda value: msgspec.json.encode(value).decode()) | TEXTS, max_size=3
        ),
        holds=lambda given, result: len(result) <= len(given),
    ),
    Decoder("answer of the HTTP API", partial(decode_json, kind=Tokens), JSON_TEXTS, (Unreachable,)),
    Decoder("message of the HTTP API", partial(decode_proto, kind=ListMessagesResponse), JSON_TEXTS, (Unreachable,)),
    Decoder("problem of the HTTP API", problem_of, JSON_TEXTS, holds=lambda given, result: isinstance(result, dict)),
    Decoder("gRPC messages", take_messages, gzip_messages | st.binary(max_size=60), (RpcError,)),
    Decoder(
        "setting in the environment",
        lambda given: settings_from(*given),
        st.tuples(
            st.sampled_from(sorted(setting_names(Settings))),
            NUMBERS | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
        ),
        (InvalidSettings,),
    ),
]


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
@examples(50)
@given(data=st.data())
def test_a_value_or_its_own_refusal(decoder: Decoder, data: st.DataObject) -> None:
    given_input = data.draw(decoder.inputs)
    try:
        result = decoder.decode(given_input)
    except decoder.refusals:
        return
    assert decoder.holds(given_input, result)


@examples(50)
@given(content=nearly(b'data = "here"\n[bff]\nport = 1\n'))
def test_a_file_of_settings_is_one_or_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "rookery.toml"
    file.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"{ENV_PREFIX}FILE", str(file))
        try:
            result = read_settings()
        except InvalidSettings:
            return
    assert isinstance(result, Settings)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # below zero: cryptography will refuse it one day
@examples(50)
@given(content=nearly(trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes()) | st.binary(max_size=60))
def test_a_certificate_is_read_or_is_unusable(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    file.write_bytes(content)
    try:
        certificate = read_certificate(file)
    except UnusableCertificate:
        return
    assert isinstance(certificate, Certificate)


@pytest.mark.parametrize(
    ("there", "instead"),
    [(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"), (b"\x55\x1d\x0e", b"\x55\x1d\x11")],
    ids=["version-6", "extension-twice"],
)
def test_a_certificate_that_breaks_the_rules_is_unusable(there: bytes, instead: bytes, tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    valid = ssl.PEM_cert_to_DER_cert(trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes().decode())
    file.write_text(ssl.DER_cert_to_PEM_cert(valid.replace(there, instead, 1)))
    with pytest.raises(UnusableCertificate):
        read_certificate(file)


@examples(50)
@given(data=st.data())
async def test_a_token_is_ours_or_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    async with open_sqlite_accounts(tmp_path / "accounts.db") as accounts:
        token = (await TokenIssuer(accounts).issue(USER_ID, "family", 60)).token
        text = data.draw(nearly_text(token) | TEXTS)
        claims = claims_of(await signed_payload(SigningKeys(accounts), text))
    assert claims is None or claims.user_id == USER_ID
