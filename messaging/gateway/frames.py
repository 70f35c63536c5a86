"""Frames as bytes: an event is encoded once for each encoding, and only the sequence number is added per session."""

from typing import Protocol

from rookery.v1.session_pb2 import Event, ServerFrame
from shared.contract import wire


class SharedEvent:
    """An event on its way to many sessions: what it is in each encoding is made when first asked for."""

    __slots__ = ("_event", "_json", "_protobuf", "at_ms", "size")

    def __init__(self, event: Event, size: int, at_ms: int = 0) -> None:
        self._event = event
        self._json: str | None = None
        self._protobuf: bytes | None = None
        self.size = size
        """Bytes that it takes in a queue, about."""
        self.at_ms = at_ms
        """When the log took it, in milliseconds since 1970, if it is a message on its way; else 0."""

    @property
    def event(self) -> Event:
        return self._event

    @property
    def json(self) -> str:
        """The rest of a frame's JSON, behind its sequence number."""
        if self._json is None:
            self._json = '"event":' + wire.to_json(self._event).decode() + "}"
        return self._json

    @property
    def protobuf(self) -> bytes:
        """The frame without its sequence number: protobuf lets a field be put behind."""
        if self._protobuf is None:
            self._protobuf = ServerFrame(event=self._event).SerializeToString()
        return self._protobuf


class Encoding(Protocol):
    """How a transport writes frames. `Encoded` is what it sends: text or bytes."""

    @property
    def transport(self) -> str:
        """The word for the transport in metrics."""
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
