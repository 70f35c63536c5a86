"""The session core, without I/O: what one connection may do in which state, and the bounded queue of what it is sent.

A transport hands it frames and asks it for bytes to send; the gateway does what its requests need and hands it events.
No method waits, and each leaves the session in a good state, so that a cancelled caller can't break it.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from opentelemetry.trace import Span

from messaging.gateway import requests
from messaging.gateway.frames import Encoding, SharedEvent
from messaging.gateway.requests import Request
from rookery.v1.session_pb2 import (
    Accepted,
    Authenticate,
    ClientFrame,
    Expiring,
    Gap,
    Goodbye,
    Limits,
    Moved,
    Pong,
    Position,
    Reconnect,
    Refused,
    Renew,
    ServerFrame,
    Welcome,
)
from shared.accounts.tokens import Claims
from shared.configuration import LiveConfiguration
from shared.contract.errors import Code, Refusal
from shared.contract.ids import time_of
from shared.telemetry.metrics.catalogue import DELIVERY, REFUSALS, SESSION_DROPPED, SESSION_FRAMES

AUTHENTICATE_SECONDS = 5.0
"""A connection that has not authenticated by then is closed."""

EXPIRING_SECONDS = 60.0
"""So long before its token ends, the client is told to renew it."""

MAX_QUEUED_ANSWERS = 256
"""Answers that may wait for a client that does not read, before nothing more is read from it."""

GAP_MARGIN_MS = 10_000
"""A Gap begins so much earlier: an event's time is that of its id, which may be some seconds before its record's."""

MAX_TOO_FAST = 1_000
"""Frames refused for their rate, less those that came in time since, before the session is ended."""


class State(Enum):
    NEW = auto()
    AUTHENTICATING = auto()
    LIVE = auto()
    ENDED = auto()
    """Nothing more is taken or queued; what is queued may still be sent."""


class Session:
    """One client connection. `now` is always the clock of `trio.current_time`, in seconds."""

    def __init__(
        self, session_id: str, encoding: Encoding, configuration: Callable[[], LiveConfiguration], now: float
    ) -> None:
        self.session_id = session_id
        self.user_id = 0
        self.family_id = ""
        self.state = State.NEW
        self.unanswered = 0
        """Frames that wait for their answer."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when there is something to send, or when the session has ended."""
        self.dropped = 0
        """Events dropped since the last Gap."""
        self.span: Span | None = None
        """Of the frame in hand, if that is traced, until whoever answers it takes it over."""
        self.deliveries: list[Span] = []
        """Of the queued events, those of the few that are traced."""
        self.end_reason = "left"
        """Why it has ended, or why it would if the client were gone: one of the metrics' `SESSION_ENDS`."""
        self._encoding = encoding
        self._configuration = configuration
        self._opened = now
        self._frames = 0
        self._sequence = 0
        self._queue: deque[tuple[int, ServerFrame | SharedEvent]] = deque()
        self._queued_bytes = 0
        self._queued_answers = 0
        self._position = Position()
        self._position_ms = 0
        self._allowance = float(configuration().frame_burst)
        self._allowed_at = now
        self._too_fast = 0
        self._token_expires_at_ms = 0
        self._told_expiring = False

    # ---- from the client

    def receive(self, frame: ClientFrame | Refusal, now: float) -> Authenticate | Renew | Request | None:
        """Take the client's next frame, or why its bytes were none. What is left to do is returned."""
        self._frames += 1
        SESSION_FRAMES.inc("in")
        if self.state is State.ENDED:
            return None
        if not self._is_within_rate(now):
            self._refuse_rate(frame)
            return None
        if isinstance(frame, Refusal):
            self.refuse_or_end(frame, self._frames)
            return None
        kind = frame.WhichOneof("frame")
        if kind == "authenticate":
            return self._receive_authenticate(frame.authenticate)
        if self.state is not State.LIVE:
            self.end(Refusal(Code.UNAUTHENTICATED, "The first frame must be `authenticate`."))
            return None
        if kind == "ping":
            self._answer_ping(frame)
            return None
        if kind == "renew":
            return frame.renew
        request = requests.check(frame, self.user_id, self._configuration())
        if isinstance(request, Refusal):
            self.refuse(request, self._frames, frame.send.client_message_id)
            return None
        return request

    @property
    def frames_received(self) -> int:
        """The number of the client's newest frame, from 1."""
        return self._frames

    @property
    def received_at(self) -> float:
        """When the client's newest frame came."""
        return self._allowed_at

    @property
    def transport(self) -> str:
        """The word for its transport in metrics."""
        return self._encoding.transport

    @property
    def queued_frames(self) -> int:
        """Frames that wait to be sent."""
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """Bytes of the events among them, about."""
        return self._queued_bytes

    def take_span(self) -> Span | None:
        """The span of the frame in hand, which the caller has to end from now on."""
        span, self.span = self.span, None
        return span

    @property
    def may_receive(self) -> bool:
        """Whether more should be read from the client: not while too many answers are due or wait to be sent."""
        return (
            self.unanswered < self._configuration().max_unanswered_sends and self._queued_answers < MAX_QUEUED_ANSWERS
        )

    def tick(self, now: float, now_ms: int) -> None:
        """Look at the clocks, about every second."""
        if self.state in (State.NEW, State.AUTHENTICATING):
            if now - self._opened >= AUTHENTICATE_SECONDS:
                seconds = int(AUTHENTICATE_SECONDS)
                self.end(Refusal(Code.UNAUTHENTICATED, f"`authenticate` must come within {seconds} seconds."))
        elif self.state is State.LIVE:
            if now_ms >= self._token_expires_at_ms:
                self.end(Refusal(Code.UNAUTHENTICATED, "The access token has expired."))
            elif not self._told_expiring and now_ms >= self._token_expires_at_ms - EXPIRING_SECONDS * 1000:
                self._told_expiring = True
                self._put(ServerFrame(expiring=Expiring(token_expires_at_ms=self._token_expires_at_ms)))

    # ---- from the gateway

    def welcome(
        self,
        claims: Claims,
        position: Position,
        replay: list[SharedEvent],
        gap: Gap | None,
        heartbeat_ms: int,
    ) -> None:
        """Let the client in, with what it is given first. Live events follow from here on."""
        self.state = State.LIVE
        self.user_id, self.family_id = claims.user_id, claims.family_id
        self._token_expires_at_ms = claims.expires_at_ms
        configuration = self._configuration()
        limits = Limits(
            max_frame_bytes=configuration.max_frame_bytes,
            max_text_bytes=configuration.max_text_bytes,
            frames_per_second=configuration.frames_per_second,
            max_unanswered_sends=configuration.max_unanswered_sends,
        )
        self._position = position
        self._put(
            ServerFrame(
                welcome=Welcome(
                    session_id=self.session_id,
                    user_id=claims.user_id,
                    limits=limits,
                    heartbeat_interval_ms=heartbeat_ms,
                    replayed=len(replay),
                    position=position,
                    token_expires_at_ms=claims.expires_at_ms,
                )
            )
        )
        if gap is not None:
            self._put(ServerFrame(gap=gap))
        for event in replay:
            self._put(event)

    def answered(self) -> None:
        """One of the client's frames that had to wait for its answer has it."""
        self.unanswered -= 1
        self.on_change()

    def renew(self, claims: Claims) -> None:
        """A fresh access token of the same sign-in came."""
        self._token_expires_at_ms = claims.expires_at_ms
        self._told_expiring = False

    def deliver(self, event: SharedEvent) -> None:
        """Queue an event, or count it as dropped if the client is too far behind: until it has read all, then a Gap."""
        if self.state is not State.LIVE:
            return
        configuration = self._configuration()
        if (
            self.dropped
            or len(self._queue) >= configuration.session_queue_frames
            or self._queued_bytes >= configuration.session_queue_bytes
        ):
            self.dropped += 1
            SESSION_DROPPED.inc()
            self._sequence += 1
            return
        self._queued_bytes += event.size
        self._position = event.event.position
        self._position_ms = time_of(event.event.event_id)
        self._put(event)

    def accept(self, client_message_id: str, message_id: int, chat_id: str) -> None:
        """Answer a Send: the message can't be lost."""
        self._put(
            ServerFrame(accepted=Accepted(client_message_id=client_message_id, message_id=message_id, chat_id=chat_id))
        )

    def refuse(self, refusal: Refusal, frame: int, client_message_id: str = "") -> None:
        """Refuse one of the client's frames; the session lives on."""
        REFUSALS.inc(refusal.code)
        self._put(
            ServerFrame(
                refused=Refused(
                    frame=frame,
                    client_message_id=client_message_id[: requests.MAX_CLIENT_MESSAGE_ID],
                    code=refusal.code,
                    message=refusal.message,
                    field=refusal.field,
                    retryable=refusal.retryable,
                    retry_after_ms=refusal.retry_after_ms,
                )
            )
        )

    def refuse_or_end(self, refusal: Refusal, frame: int, client_message_id: str = "") -> None:
        """Refuse a frame of a live session; what goes wrong before that ends it."""
        if self.state is State.LIVE:
            self.refuse(refusal, frame, client_message_id)
        else:
            self.end(refusal)

    def move(self, websocket: str, grpc: str) -> None:
        """The user's sessions are elsewhere."""
        self._put(ServerFrame(moved=Moved(websocket=websocket, grpc=grpc)))
        self.end(Refusal(Code.UNAVAILABLE, "Connect to the gateway of this user."), reason="moved")

    def reconnect(self, after_ms: int) -> None:
        """Have the client connect again, wherever the BFF then says."""
        if self.state is State.LIVE:
            self._put(ServerFrame(reconnect=Reconnect(after_ms=after_ms)))
        self.end(Refusal(Code.UNAVAILABLE, "This gateway no longer serves this user."), reason="reconnect")

    def end(self, why: Refusal, *, reason: str = "") -> None:
        """Say goodbye; the transport closes once that is sent."""
        if self.state is not State.ENDED:
            self.end_reason = reason or why.code
            self._put(ServerFrame(goodbye=Goodbye(code=why.code, message=why.message)))
            self.state = State.ENDED
            self.on_change()

    def abandon(self) -> None:
        """The connection is gone: nothing more is queued."""
        self.state = State.ENDED
        self._queue.clear()
        self.on_change()

    # ---- to the client

    def take(self, now_ms: int = 0) -> list[str | bytes]:
        """Everything that waits, encoded, in order, to be sent now (in milliseconds since 1970, for the metrics)."""
        encoding = self._encoding
        frames: list[str | bytes] = []
        for sequence, item in self._queue:
            if isinstance(item, SharedEvent):
                frames.append(encoding.event(item, sequence))
                if item.at_ms:
                    DELIVERY.observe(max(now_ms - item.at_ms, 0) / 1000)
            else:
                item.sequence = sequence
                frames.append(encoding.frame(item))
        self._queue.clear()
        self._queued_bytes = self._queued_answers = 0
        if self.dropped and self.state is State.LIVE:
            gap = Gap(since=self._position, since_ms=max(self._position_ms - GAP_MARGIN_MS, 0), dropped=self.dropped)
            self.dropped = 0
            self._sequence += 1
            frames.append(encoding.frame(ServerFrame(sequence=self._sequence, gap=gap)))
        SESSION_FRAMES.inc("out", by=len(frames))
        return frames

    @property
    def has_frames(self) -> bool:
        return bool(self._queue)

    def _put(self, item: ServerFrame | SharedEvent) -> None:
        if self.state is State.ENDED:
            return
        self._sequence += 1
        self._queue.append((self._sequence, item))
        if not isinstance(item, SharedEvent):
            self._queued_answers += 1
        self.on_change()

    def _receive_authenticate(self, frame: Authenticate) -> Authenticate | None:
        if self.state is not State.NEW:
            self.refuse(Refusal(Code.OUT_OF_ORDER, "This session is authenticated already."), self._frames)
            return None
        if refusal := requests.check_authenticate(frame):
            self.end(refusal)
            return None
        self.state = State.AUTHENTICATING
        return frame

    def _answer_ping(self, frame: ClientFrame) -> None:
        if refusal := requests.check_ping(frame.ping):
            self.refuse(refusal, self._frames)
        else:
            self._put(ServerFrame(pong=Pong(payload=frame.ping.payload)))

    def _is_within_rate(self, now: float) -> bool:
        """A token bucket over frames."""
        configuration = self._configuration()
        gained = (now - self._allowed_at) * configuration.frames_per_second
        self._allowance = min(self._allowance + gained, configuration.frame_burst)
        self._allowed_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        self._too_fast = max(self._too_fast - 1, 0)
        return True

    def _refuse_rate(self, frame: ClientFrame | Refusal) -> None:
        self._too_fast += 1
        rate = self._configuration().frames_per_second
        refusal = Refusal(
            Code.RATE_LIMITED, f"A session may send {rate} frames a second.", retry_after_ms=max(1000 // rate, 1)
        )
        if self._too_fast > MAX_TOO_FAST or self.state is not State.LIVE:
            self.end(refusal)
        else:
            client_message_id = "" if isinstance(frame, Refusal) else frame.send.client_message_id
            self.refuse(refusal, self._frames, client_message_id)
