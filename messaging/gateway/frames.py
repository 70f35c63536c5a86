"""Encodes frames: an event once for each encoding, with only the sequence number added per session."""

from functools import lru_cache
from typing import Protocol

from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import Event, Message, ServerFrame
from shared.contract import wire
from shared.contract.partitions import PARTITION_MAP_EPOCH


class SharedEvent:
    """An event for many sessions, encoded when an encoding is first needed."""

    __slots__ = ("_event", "_json", "_protobuf", "at_ms", "event_id", "position", "size")

    def __init__(self, event: Event, size: int, at_ms: int = 0) -> None:
        self._event = event
        self._json: str | None = None
        self._protobuf: bytes | None = None
        self.event_id = event.event_id
        self.position = event.position
        self.size = size
        """Bytes that it takes in a queue, about."""
        self.at_ms = at_ms
        """Of a live message: when the log stored it, in milliseconds since 1970; else 0."""

    @property
    def json(self) -> str:
        """A frame's JSON after its sequence number."""
        if self._json is None:
            event = self._event
            is_control = event.message.HasField("control")
            self._json = f'"event":{_control_json(event) if is_control else wire.to_json(event).decode()}}}'
        return self._json

    @property
    def protobuf(self) -> bytes:
        """A frame without its sequence number: protobuf lets a field be appended."""
        if self._protobuf is None:
            self._protobuf = ServerFrame(event=self._event).SerializeToString()
        return self._protobuf


def shared_event(offset: int, value: bytes, envelope: Envelope, at_ms: int = 0) -> SharedEvent:
    """The envelope's event, positioned at its record's offset. `at_ms` is the record's time if it is a live message."""
    event = envelope.event
    event.position.offset = offset
    event.position.epoch = PARTITION_MAP_EPOCH
    return SharedEvent(event, len(value), at_ms)


def _control_json(event: Event) -> str:
    """The JSON of an event with a control change: its message is encoded once for its records in all partitions, since
    1,000 members take 8 ms."""
    position = wire.to_json(event.position).decode()
    message = _message_json(event.message.SerializeToString())
    return f'{{"event_id":"{event.event_id}","position":{position},"message":{message}}}'


@lru_cache(maxsize=8)
def _message_json(message: bytes) -> str:
    return wire.to_json(Message.FromString(message)).decode()


class Encoding(Protocol):
    """How a transport encodes frames: as text or as bytes."""

    @property
    def transport(self) -> str:
        """The transport's name in metrics."""
        ...

    def frame(self, frame: ServerFrame) -> str | bytes: ...

    def event(self, event: SharedEvent, sequence: int) -> str | bytes: ...


class JsonEncoding:
    """Text messages of the sub-protocol `rookery.v1.json`."""

    transport = "websocket"

    def frame(self, frame: ServerFrame) -> str:
        return wire.to_json(frame).decode()

    def event(self, event: SharedEvent, sequence: int) -> str:
        return f'{{"sequence":"{sequence}",{event.json}'


class ProtobufEncoding:
    """Messages of the gRPC stream."""

    transport = "grpc"

    def frame(self, frame: ServerFrame) -> bytes:
        return frame.SerializeToString()

    def event(self, event: SharedEvent, sequence: int) -> bytes:
        return event.protobuf + b"\x08" + _varint(sequence)  # 8: field 1, a varint


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
