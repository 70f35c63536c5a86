"""Encodes frames: an event once for each encoding, with only the sequence number added per session."""

from functools import lru_cache
from typing import Protocol

from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import ChannelHead, Event, Message, ServerFrame
from shared.contract import wire
from shared.contract.partitions import PARTITION_MAP_EPOCH
from shared.rpc.framing import encode_varint

HEAD_BYTES = 64
"""The approximate size of a ChannelHead in a queue."""


class SharedFrame:
    """A frame for many sessions, encoded when an encoding is first needed."""

    __slots__ = ("_json", "_protobuf", "at_ms", "size")

    def __init__(self, size: int, at_ms: int = 0) -> None:
        self._json: bytes | None = None
        self._protobuf: bytes | None = None
        self.size = size
        """Bytes that it takes in a queue, about."""
        self.at_ms = at_ms
        """When the log stored a live message, in milliseconds since 1970; 0 for other frames."""

    @property
    def json(self) -> bytes:
        """A frame's JSON after its sequence number."""
        if self._json is None:
            self._json = self._encode_json()
        return self._json

    @property
    def protobuf(self) -> bytes:
        """A frame without its sequence number: protobuf lets a field be appended."""
        if self._protobuf is None:
            self._protobuf = self._frame().SerializeToString()
        return self._protobuf

    def _frame(self) -> ServerFrame:
        """The frame without its sequence number."""
        raise NotImplementedError

    def _encode_json(self) -> bytes:
        return wire.to_json(self._frame()).removeprefix(b"{")


class SharedEvent(SharedFrame):
    """An event for many sessions."""

    __slots__ = ("_event", "event_id", "position")

    def __init__(self, event: Event, size: int, at_ms: int = 0) -> None:
        super().__init__(size, at_ms)
        self._event = event
        self.event_id = event.event_id
        self.position = event.position

    def _frame(self) -> ServerFrame:
        return ServerFrame(event=self._event)

    def _encode_json(self) -> bytes:
        event = self._event
        is_control = event.message.HasField("control")
        return b'"event":%b}' % (_control_json(event) if is_control else wire.to_json(event))


class SharedHead(SharedFrame):
    """A ChannelHead for many sessions."""

    __slots__ = ("_head",)

    def __init__(self, head: ChannelHead) -> None:
        super().__init__(HEAD_BYTES)
        self._head = head

    def _frame(self) -> ServerFrame:
        return ServerFrame(channel_head=self._head)


def shared_event(offset: int, value: bytes, envelope: Envelope, at_ms: int = 0) -> SharedEvent:
    """The envelope's event, positioned at its record's offset. `at_ms` is the record's time if it is a live message."""
    event = envelope.event
    event.position.offset = offset
    event.position.epoch = PARTITION_MAP_EPOCH
    return SharedEvent(event, len(value), at_ms)


def _control_json(event: Event) -> bytes:
    """The JSON of an event with a control change: its message is encoded once for its records in all partitions, since
    1,000 members take 8 ms."""
    position = wire.to_json(event.position)
    message = _message_json(event.message.SerializeToString())
    return b'{"event_id":"%d","position":%b,"message":%b}' % (event.event_id, position, message)


@lru_cache(maxsize=8)
def _message_json(message: bytes) -> bytes:
    return wire.to_json(Message.FromString(message))


class Encoding(Protocol):
    """How a transport encodes frames: as JSON in UTF-8, or as protobuf."""

    @property
    def transport(self) -> str:
        """The transport's name in metrics."""
        ...

    def frame(self, frame: ServerFrame) -> bytes: ...

    def shared(self, frame: SharedFrame, sequence: int) -> bytes: ...


class JsonEncoding:
    """Text messages of the sub-protocol `rookery.v1.json`."""

    transport = "websocket"

    def frame(self, frame: ServerFrame) -> bytes:
        return wire.to_json(frame)

    def shared(self, frame: SharedFrame, sequence: int) -> bytes:
        return b'{"sequence":"%d",%b' % (sequence, frame.json)


class ProtobufEncoding:
    """Messages of the gRPC stream."""

    transport = "grpc"

    def frame(self, frame: ServerFrame) -> bytes:
        return frame.SerializeToString()

    def shared(self, frame: SharedFrame, sequence: int) -> bytes:
        return frame.protobuf + b"\x08" + encode_varint(sequence)  # 8: field 1, a varint
