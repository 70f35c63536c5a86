"""The client's side of one connection, and the calls that begin on it."""

from typing import Any

import structlog
import trio
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, PingAckReceived, RemoteSettingsChanged

from shared.net.turns import Turn
from shared.rpc.connection import Connection
from shared.rpc.limits import Limits
from shared.rpc.protocol import CallEnded, Event, OutgoingCall, ResponseStarted
from shared.rpc.status import RpcError, Status
from shared.rpc.streams import ClientStream

LAST_STREAM_ID = 2**31 - 3
"""The last stream id of HTTP/2 on one connection: the next call needs a new one."""

TOO_MANY_PINGS = b"too_many_pings"
"""The text of a gRPC server's GOAWAY to a client that pings too often."""

AnyClientStream = ClientStream[Any, Any]

log = structlog.get_logger(__name__)


class ClientConnection(Connection[AnyClientStream]):
    """A connection to a server."""

    def __init__(self, transport: trio.abc.Stream, limits: Limits, slots: trio.lowlevel.ParkingLot) -> None:
        """In `slots`, calls wait until a server accepts one more."""
        super().__init__(transport, limits, Turn(), client_side=True)
        self.settled = trio.Event()
        """Set once the server's settings have arrived, or the connection has ended."""
        self.until_retired = trio.CancelScope()
        """Cancelled when no more calls may begin on the connection."""
        self.pinged_too_often = False
        """Whether the server has gone away because of too many pings."""
        self.closed_gracefully = False
        """Whether the server has sent GOAWAY without an error: it may accept another connection."""
        self._slots = slots
        self._probed_at: float | None = None

    @property
    def usable(self) -> bool:
        """Whether calls may begin on the connection."""
        return not self.going_away

    @property
    def is_unresponsive(self) -> bool:
        """Whether the server has not answered the ping of `probe` yet."""
        return self._probed_at is not None

    @property
    def has_slot(self) -> bool:
        """Whether the server accepts one more call now."""
        return len(self.streams) < self.http2.remote_settings.max_concurrent_streams

    def start_call(self, call: OutgoingCall) -> AnyClientStream:
        """Send a call's headers. Raises ValueError for bad metadata."""
        stream_id = self.http2.get_next_available_stream_id()
        self.protocol.call(stream_id, call, max(call.deadline - trio.current_time(), 0.0))
        stream: AnyClientStream = ClientStream(self, stream_id, call.response_type)
        stream.sends_gzip = call.compressed
        self.streams[stream_id] = stream
        self.flush()
        if stream_id >= LAST_STREAM_ID:
            self.retire()
        return stream

    def probe(self, silent_since: float) -> None:
        """Ping the server after a call without a response, unless it has sent anything since `silent_since`."""
        if self.is_unresponsive or self.going_away or self._received_at > silent_since:
            return
        self._probed_at = trio.current_time()
        self.http2.ping(b"answers?")
        self.flush()

    def check_alive(self) -> None:
        if self._probed_at is not None and trio.current_time() - self._probed_at > self.limits.keepalive_timeout:
            log.info("rpc_server_silent", seconds=round(trio.current_time() - self._received_at))
            self.cancel()
        else:
            super().check_alive()

    def forget(self, stream: AnyClientStream) -> None:
        super().forget(stream)
        self._slots.unpark()

    def retire(self) -> None:
        """Refuse new calls, and close once the open ones have ended."""
        self.going_away = True
        self.until_retired.cancel()
        self._slots.unpark_all()
        if not self.streams:
            self.close()

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            self.settled.set()

    def _handle(self, event: Event) -> None:
        match event:
            case ResponseStarted():
                if stream := self.streams.get(event.stream_id):
                    stream.response_started(event.metadata, compressed=event.compressed)
            case CallEnded():
                if stream := self.streams.get(event.stream_id):
                    stream.call_ended(event.error, event.metadata)
            case ConnectionTerminated():
                self._goaway_received(event)
            case PingAckReceived():
                self._probed_at = None
                self._slots.unpark_all()
            case RemoteSettingsChanged():
                super()._handle(event)
                self.settled.set()
                self._slots.unpark_all()
            case _:
                super()._handle(event)

    def _disconnect_streams(self) -> None:
        self.going_away = True
        super()._disconnect_streams()
        self.retire()

    def _stop_writing(self) -> None:
        super()._stop_writing()
        self.retire()

    def _goaway_received(self, event: ConnectionTerminated) -> None:
        """Let the calls that the server has accepted finish, and fail the others as unprocessed."""
        if event.error_code == ErrorCodes.ENHANCE_YOUR_CALM and event.additional_data == TOO_MANY_PINGS:
            self.pinged_too_often = True
        self.closed_gracefully = event.error_code == ErrorCodes.NO_ERROR
        self.going_away = True
        for stream in list(self.streams.values()):
            if stream.stream_id > (event.last_stream_id or 0):
                stream.disconnect(RpcError(Status.UNAVAILABLE, "the server is going away", unprocessed=True))
        self.retire()
