"""Encoded frames: an event is encoded once, and each session's sequence number is added to it."""

import pytest

from messaging.gateway.frames import JsonEncoding, ProtobufEncoding, SharedHead, shared_event
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.groups_pb2 import Control, Member, Span
from rookery.v1.session_pb2 import ChannelHead, Event, Message, Position, ServerFrame
from shared.contract import wire


@pytest.mark.parametrize("control", [None, Control(version=2, members=[Member(user_id=1, spans=[Span(first=9)])])])
@pytest.mark.parametrize("sequence", [1, 127, 128, 300, 2**32, 2**63])
def test_an_event_is_encoded_once_for_all_sequence_numbers(sequence: int, control: Control | None) -> None:
    envelope = Envelope(event=Event(event_id=5 << 22, message=Message(message_id=5 << 22, control=control)))
    shared = shared_event(7, b"x" * 100, envelope, at_ms=3)
    expected = ServerFrame(sequence=sequence, event=envelope.event)
    for number in (1, sequence):
        json, protobuf = JsonEncoding().shared(shared, number), ProtobufEncoding().shared(shared, number)
    assert wire.from_json(ServerFrame, json) == ServerFrame.FromString(protobuf) == expected
    assert (shared.position, shared.size, shared.at_ms) == (Position(offset=7, epoch=1), 100, 3)


def test_a_head_is_encoded_as_an_event_is() -> None:
    head = ChannelHead(chat_id="g-7", newest_id=5 << 22)
    shared, expected = SharedHead(head), ServerFrame(sequence=300, channel_head=head)
    json, protobuf = JsonEncoding().shared(shared, 300), ProtobufEncoding().shared(shared, 300)
    assert wire.from_json(ServerFrame, json) == ServerFrame.FromString(protobuf) == expected
