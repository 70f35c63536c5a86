"""gRPC over HTTP/2 without I/O, on purerpc's connection: turns received bytes into events, calls into bytes to send.

An error of one stream is an event of that stream; an error of the connection raises h2's ProtocolError.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast
from urllib.parse import quote

import h2.events
import h2.exceptions
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status as StatusWithDetails
from h2.errors import ErrorCodes

from rookery.purerpc_compat import (
    GRPCConfiguration,
    GRPCConnection,
    HeaderDict,
    ProtocolError,
    RequestReceived,
    ResponseEnded,
    ResponseReceived,
    b64decode,
    b64encode,
    sanitize_headers,
)
from shared.rpc.headers import FIELD_BYTES, Headers, Part, read_headers
from shared.rpc.http2 import Http2Connection
from shared.rpc.limits import Limits
from shared.rpc.status import Metadata, RpcError, Status, status_of

GRPC = "application/grpc"
"""A call's content type; a message format (`+proto`) or parameters (`;`) may follow."""

CONTENT_TYPE_SUFFIX = "+proto"

ENCODINGS = ("identity", "gzip")
"""The compressions of messages that we accept and send."""

DETAILS = "grpc-status-details-bin"
"""The trailer with a status's details, a google.rpc.Status."""

RETRY_AFTER = "grpc-retry-pushback-ms"
"""The trailer with the milliseconds after which the call may be retried; any other value means never."""

PLAIN_IN_MESSAGES = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
"""The characters of a status message that are not escaped. Space is: no header may begin or end with one in HTTP/2."""

FINEST_TIMEOUT = 99.0
"""Seconds up to which a timeout is sent in microseconds: gRPC allows eight digits."""

_MALFORMED = (
    ProtocolError,
    h2.exceptions.ProtocolError,
    AttributeError,
    LookupError,
    OverflowError,
    TypeError,
    ValueError,
)
"""The exceptions of purerpc and h2 for malformed headers."""

_CONTENT_TYPE = re.compile(re.escape(GRPC) + r"(?:[+;].*)?")
_TIMEOUT = re.compile(r"[0-9]{1,8}[HMSmun]")
_METADATA_NAME = re.compile(r"(?!grpc-)[0-9a-z_.-]+")
_MILLISECONDS = re.compile(r"[0-9]{1,9}")
_METADATA_VALUE = re.compile(r"(?! )[ -~]*(?<! )")

_HTTP_STATUSES = {
    400: Status.INTERNAL,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.UNIMPLEMENTED,
    429: Status.UNAVAILABLE,
    502: Status.UNAVAILABLE,
    503: Status.UNAVAILABLE,
    504: Status.UNAVAILABLE,
}
"""The status of a call by the HTTP status of a server without gRPC, as gRPC maps them; any other is UNKNOWN."""


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """A call to a server; its responses are of `response_type`. `compressed`: its messages may be gzip."""

    service: str
    method: str
    response_type: type[Message]
    deadline: float
    """A moment of Trio's clock; infinite for no deadline."""
    metadata: Metadata
    compressed: bool = False
    authority: str = ""
    """The server's name in the call; set once a server is chosen."""

    def with_metadata(self, *pairs: tuple[str, str | bytes]) -> "OutgoingCall":
        """Return the call with more metadata."""
        return replace(self, metadata=[*self.metadata, *pairs])


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A client's call. `timeout` is in seconds. `compressed`: its messages may be gzip; `takes_gzip`: the messages of
    the response may be."""

    stream_id: int
    service: str
    method: str
    timeout: float | None
    metadata: Metadata
    compressed: bool
    takes_gzip: bool


@dataclass(frozen=True, slots=True)
class CallRefused:
    """A client's call that is refused with an error."""

    stream_id: int
    error: RpcError


@dataclass(frozen=True, slots=True)
class MalformedRequest:
    """A request with headers or trailers that HTTP/2 forbids."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class ForeignRequest:
    """A request that is not a gRPC call."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """A server's first headers for a call."""

    stream_id: int
    metadata: Metadata
    compressed: bool


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A server's status for a call: `error` is None for OK."""

    stream_id: int
    error: RpcError | None
    metadata: Metadata


Request = CallStarted | CallRefused | MalformedRequest | ForeignRequest
Event = Request | ResponseStarted | CallEnded | h2.events.Event
"""HTTP/2 events without headers are h2's own."""


class Protocol(GRPCConnection):  # type: ignore[misc, unused-ignore]
    """One end of a connection."""

    def __init__(self, limits: Limits, *, client_side: bool, scheme: str = "http") -> None:
        # Not called: purerpc's __init__, which would create another h2 connection.
        self._plain = GRPCConfiguration(client_side=client_side, message_accept_encoding=ENCODINGS)
        self._gzip = GRPCConfiguration(
            client_side=client_side, message_accept_encoding=ENCODINGS, message_encoding="gzip"
        )
        self.config = self._plain
        self._scheme = scheme
        self.http2 = Http2Connection(limits, client_side=client_side)
        self.http2.initiate_connection()
        self.h2_connection = self.http2
        self._max_header_bytes = limits.max_header_bytes

    def receive_data(self, data: bytes) -> list[Event]:
        """Return the events of received bytes. Raises h2's ProtocolError if the connection must end; the GOAWAY for the
        peer is then in `data_to_send`."""
        return [self._translate(event) for event in self.http2.receive_data(data)]

    def call(self, stream_id: int, call: OutgoingCall, timeout: float) -> None:
        """Send the headers of a call with `timeout` seconds left. Raises ValueError for bad metadata."""
        check_metadata(call.metadata)
        self.config = self._gzip if call.compressed else self._plain  # purerpc has one for all calls
        self.start_request(
            stream_id,
            self._scheme,
            call.service,
            call.method,
            authority=call.authority,
            timeout=_wire_timeout(timeout),  # type: ignore[arg-type]
            content_type_suffix=CONTENT_TYPE_SUFFIX,
            custom_metadata=call.metadata,
        )

    def respond(self, stream_id: int, metadata: Metadata, *, compressed: bool = False) -> None:
        """Send the first headers of a response; `compressed`: its messages may be gzip."""
        check_metadata(metadata)
        self.config = self._gzip if compressed else self._plain
        self.start_response(stream_id, CONTENT_TYPE_SUFFIX, metadata)

    def respond_to_foreign(self, stream_id: int, *, length: int) -> None:
        """Send the headers of a response to a request that is not a gRPC call; `length` bytes of plain text follow."""
        fields = {":status": "415", "content-type": "text/plain", "accept-post": GRPC, "content-length": str(length)}
        self.http2.send_headers(stream_id, list(fields.items()))

    def finish(self, stream_id: int, error: RpcError | None, metadata: Metadata = (), *, responded: bool) -> None:
        """Send a call's status as trailers, or as the only headers if none were sent, and end the stream in both
        directions. `metadata` precedes the metadata of the error.

        Does nothing if the stream has ended. Raises ValueError for bad metadata.
        """
        if not self.http2.is_open(stream_id):
            return
        headers = [] if responded else [(":status", "200"), ("content-type", f"{GRPC}{CONTENT_TYPE_SUFFIX}")]
        headers += _status_headers(error)
        for extra in (metadata, () if error is None else error.metadata):
            check_metadata(extra)
            headers += sanitize_headers(extra)  # type: ignore[no-untyped-call]
        self.http2.send_last_headers(stream_id, headers)
        self.reset(stream_id, ErrorCodes.NO_ERROR)

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """End a stream in both directions, if it has not ended yet."""
        if self.http2.is_open(stream_id):
            self.http2.reset_stream(stream_id, code)

    def _translate(self, event: h2.events.Event) -> Event:
        if isinstance(event, h2.events.DataReceived):
            return event
        if isinstance(event, h2.events.RequestReceived):
            return self._request(event.stream_id, event.headers)
        if isinstance(event, h2.events.ResponseReceived):
            return self._response(event.stream_id, event.headers, ended=event.stream_ended is not None)
        if isinstance(event, h2.events.TrailersReceived):
            return self._trailers(event) if self.config.client_side else self._request_trailers(event)
        return event

    def _request(self, stream_id: int, headers: Headers) -> Request:
        if sum(len(name) + len(value) + FIELD_BYTES for name, value in headers) > self._max_header_bytes:
            error = RpcError(Status.RESOURCE_EXHAUSTED, f"the headers are over {self._max_header_bytes} bytes")
            return CallRefused(stream_id, error)
        try:
            fields = _fields(headers, Part.REQUEST)
        except h2.exceptions.ProtocolError:
            return MalformedRequest(stream_id)
        except UnicodeDecodeError:
            return CallRefused(stream_id, RpcError(Status.INTERNAL, "the headers are not text"))
        if not _CONTENT_TYPE.fullmatch(str(fields.get("content-type"))):
            return ForeignRequest(stream_id)
        try:
            if not _TIMEOUT.fullmatch(fields.get("grpc-timeout", "0n")):
                raise ValueError("not a timeout")
            request = RequestReceived.parse_from_stream_id_and_headers_destructive(stream_id, fields)
            timeout = None if request.timeout is None else request.timeout.total_seconds()
        except _MALFORMED:
            return CallRefused(stream_id, RpcError(Status.INTERNAL, "the headers are not valid for a gRPC call"))
        encoding = request.message_encoding or "identity"
        if encoding not in ENCODINGS:
            error = RpcError(Status.UNIMPLEMENTED, f"messages may be compressed with gzip only, not {encoding}")
            return CallRefused(stream_id, error)
        return CallStarted(
            stream_id,
            request.service_name,
            request.method_name,
            timeout,
            request.custom_metadata,
            encoding == "gzip",
            any(name.strip() == "gzip" for name in cast(Sequence[str], request.message_accept_encoding or ())),
        )

    def _response(self, stream_id: int, headers: Headers, *, ended: bool) -> ResponseStarted | CallEnded:
        try:
            fields = _fields(headers, Part.RESPONSE)
            http_status = int(fields[":status"])
            if http_status != 200:
                error = RpcError(_HTTP_STATUSES.get(http_status, Status.UNKNOWN), f"HTTP status {http_status}")
                return CallEnded(stream_id, error, ())
            if ended:
                del fields[":status"], fields["content-type"]
                return _call_ended(stream_id, fields)
            response = ResponseReceived.parse_from_stream_id_and_headers_destructive(stream_id, fields)
        except _MALFORMED:
            return CallEnded(stream_id, RpcError(Status.UNKNOWN, "the response's headers are not valid for gRPC"), ())
        encoding = response.message_encoding or "identity"
        if encoding not in ENCODINGS:
            return CallEnded(stream_id, RpcError(Status.INTERNAL, f"the response is compressed with {encoding}"), ())
        return ResponseStarted(stream_id, response.custom_metadata, encoding == "gzip")

    def _trailers(self, event: h2.events.TrailersReceived) -> CallEnded:
        try:
            return _call_ended(event.stream_id, _fields(event.headers, Part.TRAILERS))
        except _MALFORMED:
            error = RpcError(Status.UNKNOWN, "the response's trailers are not valid for gRPC")
            return CallEnded(event.stream_id, error, ())

    def _request_trailers(self, event: h2.events.TrailersReceived) -> MalformedRequest | h2.events.Event:
        """gRPC has no trailers in requests: valid ones are ignored."""
        try:
            read_headers(event.headers, Part.TRAILERS)
        except (h2.exceptions.ProtocolError, UnicodeDecodeError):
            return MalformedRequest(event.stream_id)
        return event


def check_metadata(metadata: Metadata) -> None:
    """Raise ValueError for a name or a value that gRPC forbids."""
    for name, value in metadata:
        if not _METADATA_NAME.fullmatch(name):
            raise ValueError(f"not a name of metadata: {name!r}")
        if isinstance(value, bytes) != name.endswith("-bin"):
            raise ValueError(f"the value of {name!r} must be bytes if its name ends with -bin, else a string")
        if isinstance(value, str) and not _METADATA_VALUE.fullmatch(value):
            raise ValueError(f"the value of {name!r} must be printable ASCII without spaces around it")


def _fields(headers: Headers, part: Part) -> HeaderDict:
    return HeaderDict(read_headers(headers, part))  # type: ignore[no-untyped-call]


def _status_headers(error: RpcError | None) -> list[tuple[str, str]]:
    if error is None:
        return [("grpc-status", "0")]
    headers = [("grpc-status", str(int(error.status)))]
    if error.message:
        headers.append(("grpc-message", _escaped(error.message)))
    if error.retry_after is not None:
        pause = -1 if math.isinf(error.retry_after) else math.ceil(error.retry_after * 1000)
        headers.append((RETRY_AFTER, str(pause)))
    if error.details:
        status = StatusWithDetails(code=int(error.status), message=error.message, details=error.details)
        headers.append((DETAILS, b64encode(status.SerializeToString())))
    return headers


def _escaped(message: str) -> str:
    if message.isascii() and message.isprintable():
        return message.replace("%", "%25").replace(" ", "%20")  # as below, in a tenth of the time
    return quote(message, safe=PLAIN_IN_MESSAGES)


def _details(fields: HeaderDict) -> Sequence[Any]:
    """Remove the details from the fields of a status and return them; none if they can't be parsed."""
    encoded = fields.pop(DETAILS, "")
    if not isinstance(encoded, str):
        return ()
    try:
        status = StatusWithDetails.FromString(b64decode(encoded))
        return tuple(status.details)
    except (ValueError, DecodeError):
        return ()


def _retry_after(fields: HeaderDict) -> float | None:
    """Remove the pause before a retry from the fields of a status and return it, in seconds."""
    pause = fields.pop(RETRY_AFTER, None)
    if pause is None:
        return None
    return int(pause) / 1000 if isinstance(pause, str) and _MILLISECONDS.fullmatch(pause) else math.inf


def _call_ended(stream_id: int, fields: HeaderDict) -> CallEnded:
    details, retry_after = _details(fields), _retry_after(fields)
    ended = ResponseEnded.parse_from_stream_id_and_headers_destructive(stream_id, fields)
    number = ended.status.int_value
    if number == Status.OK:
        return CallEnded(stream_id, None, ended.custom_metadata)
    error = RpcError(
        status_of(number),
        ended.status.status_message,
        ended.custom_metadata,
        details=details,
        retry_after=retry_after,
    )
    return CallEnded(stream_id, error, ended.custom_metadata)


def _wire_timeout(timeout: float) -> timedelta | None:
    """Return the timeout rounded up so that purerpc writes at most eight digits; None if it is infinite."""
    if math.isinf(timeout):
        return None
    if timeout > FINEST_TIMEOUT:
        return timedelta(seconds=math.ceil(timeout))
    return timedelta(microseconds=max(math.ceil(timeout * 1_000_000), 1))
