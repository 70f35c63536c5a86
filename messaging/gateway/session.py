"""The session core, sans I/O: makes commands of a client's frames, and bounds the queue of frames for the client.

No method waits, and each leaves the session in a valid state, so that a cancelled caller can't break it.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import assert_never

import msgspec
from opentelemetry.trace import Span

from messaging.gateway import requests
from messaging.gateway.frames import Encoding, SharedEvent, SharedFrame
from messaging.gateway.requests import ChangeRequest, Request, SendRequest
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
from shared.contract.chats import MAX_CLIENT_ID
from shared.contract.errors import Code, Refusal
from shared.contract.ids import time_of, wall_clock_ms
from shared.telemetry.metrics.catalogue import DELIVERY, REFUSALS, SESSION_DROPPED, SESSION_FRAMES

AUTHENTICATE_SECONDS = 5.0
"""A connection that has not sent `authenticate` by then is closed."""

SIGN_IN_SECONDS = 15.0
"""A client that is not signed in by then, because of a slow engine or machine, is sent to connect anew."""

EXPIRING_SECONDS = 60.0
"""How long before its token expires the client gets Expiring, so that it renews."""

RETRY_AFTER_MS = 1_000
"""When a client may retry a command that an engine did not serve."""

UNAVAILABLE_NOW = Refusal(Code.UNAVAILABLE, "This can't be done now.", "", RETRY_AFTER_MS)
"""The refusal of a command that an engine did not serve."""

MAX_QUEUED_ANSWERS = 256
"""Answers queued for a client that does not read, at which its frames are no longer read."""

GAP_MARGIN_MS = 10_000
"""A Gap begins so much earlier: an event's time is that of its id, which may be some seconds before its record's."""

MAX_REFUSED_SENDS = 1_000
"""Refused messages and changes remembered while none of them is sent again; one more ends the session."""

REFUSED_SENDS_SECONDS = 40.0
"""How long a refused message or change that is not sent again holds back later ones, from the first of them on. By then
the client has read the refusal, or its connection has failed the heartbeat. Not from the refused frame on: its look-ups
may have taken long, and the next frames have waited for them."""

RESEND_SECONDS = 60.0
"""Seconds from the connection on, within which a client repeats the unanswered sends of its previous session."""

MAX_RATE_EXCESS = 1_000
"""Frames refused for their rate, minus the frames accepted since, before the session is ended."""


class State(Enum):
    NEW = auto()
    AUTHENTICATING = auto()
    LIVE = auto()
    ENDED = auto()
    """No frame is received or queued any more; queued frames may still be sent."""


class Command(msgspec.Struct, eq=False):
    """A client's frame that a handler has to answer. It has its own number, time and span: by the time of the answer,
    the session may have received later frames."""

    session: "Session"
    request: Authenticate | Renew | Request
    frame: int
    """The frame's number in its session, from 1."""
    received_at: float
    """In seconds of `trio.current_time`."""
    span: Span | None = None
    """If it is traced; ended by the dispatcher, or by the publisher if the answer is deferred."""
    is_deferred: bool = False
    """Whether the answer waits for the log's acknowledgement."""

    @property
    def client_id(self) -> str:
        """The client's own id of its message or change; empty for other requests."""
        return self.request.client_id if isinstance(self.request, SendRequest | ChangeRequest) else ""

    def defer(self) -> None:
        """Leave the answer to the log's acknowledgement. Until then the command counts as unanswered."""
        self.is_deferred = True
        self.session.unanswered += 1


class _RefusedSend(msgspec.Struct):
    """A message or a change that was refused and may be repeated."""

    frame: int
    """The number of the first of its frames that was refused."""
    number: int
    """The number of its last refusal, which rises with each refusal; 0 while a repetition awaits its answer."""
    held_since: float
    """When it, or one that held it back, first held back a later one after its last refusal; infinite before."""


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
        """Deferred commands that are not answered yet."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when there is something to send, or when the session has ended."""
        self.on_verified: Callable[[int], None] = lambda user_id: None
        """Called with the user of the client's token when its signature is verified, before its sign-in is checked."""
        self.on_sign_in: Callable[[], None] = lambda: None
        """Called when the client has signed in."""
        self.is_resumed = False
        """Whether the tail had every event since the client's last position."""
        self.first_offset = -1
        """The offset up to which it needs no heads: that of its user's newest event at the start, or one from some
        seconds before the position that the client resumed from."""
        self.followed: Sequence[str] = ()
        """The channels that it follows. `Channels` writes it."""
        self.dropped = 0
        """Events dropped since the last Gap."""
        self.deliveries: list[Span] = []
        """The spans of the queued events, of the few that are traced."""
        self.end_reason = "left"
        """Why the session has ended; while it has not, the reason if the client left: one of `SESSION_ENDS`."""
        self._encoding = encoding
        self._configuration = configuration
        self._opened = now
        self._frames = 0
        self._sequence = 0
        self._queue: deque[tuple[int, ServerFrame | SharedFrame]] = deque()
        self._queued_bytes = 0
        self._queued_answers = 0
        self._position = Position()
        self._position_id = 0  # of the newest event up to the position that has an id; 0 before the first one
        self._allowance = float(configuration().frame_burst)
        self._allowed_at = now
        self._rate_excess = 0
        self._refused_sends: dict[str, _RefusedSend] = {}  # by client id
        self._refusals = 0
        self._held_back = "", math.inf  # the client id that `may_send` held back last, and since when it holds back
        self._token_expires_at_ms = 0
        self._is_expiring_sent = False

    # ---- from the client

    def receive(self, frame: ClientFrame | Refusal, now: float) -> Command | None:
        """Receive the client's next frame, or the refusal of bytes that are none. Returns the command that a handler
        has to answer; None if the frame is answered already."""
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
        request = self._request_of(frame)
        return None if request is None else Command(self, request, self._frames, now)

    @property
    def frames_received(self) -> int:
        """How many frames the client has sent. After an `await`, a command's own number is in the command."""
        return self._frames

    @property
    def transport(self) -> str:
        """The transport's name in metrics."""
        return self._encoding.transport

    @property
    def queued_frames(self) -> int:
        """Frames that wait to be sent."""
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """Bytes of the queued events, about."""
        return self._queued_bytes

    @property
    def may_receive(self) -> bool:
        """Whether more should be read from the client: not while too many answers are due or queued."""
        return (
            self.unanswered < self._configuration().max_unanswered_sends and self._queued_answers < MAX_QUEUED_ANSWERS
        )

    def tick(self, now: float, now_ms: int) -> None:
        """Check the deadlines, about every second. `now_ms` is the wall clock, in milliseconds since 1970."""
        match self.state:
            case State.NEW:
                if now - self._opened >= AUTHENTICATE_SECONDS:
                    seconds = int(AUTHENTICATE_SECONDS)
                    # Not as unauthenticated: on a busy machine, clients would refresh their tokens in vain.
                    self.end(Refusal(Code.TIMED_OUT, f"`authenticate` must arrive within {seconds} seconds."))
            case State.AUTHENTICATING:
                if now - self._opened >= SIGN_IN_SECONDS:
                    self.reconnect(RETRY_AFTER_MS)
            case State.LIVE:
                self._check_token(now_ms)
            case State.ENDED:
                pass
            case never:
                assert_never(never)

    # ---- from the gateway

    def welcome(
        self,
        claims: Claims,
        position: Position,
        replay: list[SharedEvent],
        gap: Gap | None,
        heartbeat_ms: int,
    ) -> None:
        """Attach the session to its user: queue Welcome, the Gap and the replay. Live events may follow."""
        self.state = State.LIVE
        self.on_sign_in()
        self.user_id, self.family_id = claims.user_id, claims.family_id
        self._token_expires_at_ms = claims.expires_at_ms
        self._position = position
        self._put(
            ServerFrame(
                welcome=Welcome(
                    session_id=self.session_id,
                    user_id=claims.user_id,
                    limits=_limits(self._configuration()),
                    heartbeat_interval_ms=heartbeat_ms,
                    replayed=len(replay),
                    position=position,
                    token_expires_at_ms=claims.expires_at_ms,
                    at_ms=wall_clock_ms(),
                )
            )
        )
        if gap is not None:
            self._put(ServerFrame(gap=gap))
        for event in replay:
            self._append(event)

    def renew(self, claims: Claims) -> None:
        """Extend the session to the expiry of a new access token of the same sign-in."""
        self._token_expires_at_ms = claims.expires_at_ms
        self._is_expiring_sent = False

    def deliver(self, event: SharedEvent) -> None:
        """Queue an event. If the queue is full, drop it and all later ones until the queue is sent, then send a Gap."""
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
        self._position = event.position
        self._position_id = event.event_id or self._position_id  # 0: of an event without an id, such as people_changed
        self._append(event)

    def signal(self, *frames: SharedFrame) -> int:
        """Queue frames that are not kept: they have no position. From the frame on at which the queue is half full,
        they are dropped, without a Gap: signals must not take the place of events that are kept. Return how many were
        queued."""
        if self.state is not State.LIVE or self.dropped:
            return 0
        configuration, before = self._configuration(), self._sequence
        max_frames, max_bytes = configuration.session_queue_frames / 2, configuration.session_queue_bytes / 2
        for frame in frames:
            if len(self._queue) >= max_frames or self._queued_bytes >= max_bytes:
                break
            self._queued_bytes += frame.size
            self._append(frame)
        return self._sequence - before

    def accept(self, accepted: Accepted) -> None:
        """Answer a command that is done: the event of a Send or a Change is stored, or a Renew, Typing, Watch or Follow
        has taken effect."""
        self._refused_sends.pop(accepted.client_id, None)
        self._put(ServerFrame(accepted=accepted))

    def may_send(self, client_id: str, now: float) -> bool:
        """Whether a message or a change may be published now: not while an earlier one of this session is refused and
        may be sent again, because the client may have sent this one before it read the refusal.

        A client that sends a refused one again has read that refusal, and all earlier ones. It may not have read a
        later refusal of one that it sent before this one.

        A message that is held back holds back later ones in its turn, but no longer than the refused ones before it:
        else a client that repeats none could send nothing more. A repetition shows that the client does repeat.
        """
        refused = self._refused_sends
        if not refused:
            return True
        self._held_back = "", math.inf
        if send := refused.get(client_id):
            for each in refused.values():
                each.held_since = math.inf
            before = [(key, each.number) for key, each in refused.items() if each.frame < send.frame]
            if any(number > send.number for _, number in before):
                return False
            for key, number in before:
                if number:
                    del refused[key]
            send.number = 0
            return True
        for key, each in tuple(refused.items()):
            each.held_since = min(each.held_since, now)
            if each.number and each.held_since < now - REFUSED_SENDS_SECONDS:
                del refused[key]
        held_since = [each.held_since for each in refused.values() if each.number]
        if held_since:
            self._held_back = client_id, min(held_since)
        return not held_since

    def may_repeat(self, now: float) -> bool:
        """Whether a frame without `first_sent_ms_ago` may repeat one of an earlier session, from before the tail."""
        return not self.is_resumed and now - self._opened < RESEND_SECONDS

    def refuse(self, refusal: Refusal, frame: int, client_id: str = "") -> None:
        """Refuse the frame of this number; the session stays live."""
        REFUSALS.inc(refusal.code)
        self._put(
            ServerFrame(
                refused=Refused(
                    frame=frame,
                    client_id=client_id[:MAX_CLIENT_ID],
                    code=refusal.code,
                    message=refusal.message,
                    field=refusal.field,
                    retryable=refusal.retryable,
                    retry_after_ms=refusal.retry_after_ms,
                )
            )
        )
        if refusal.retryable and 0 < len(client_id.encode()) <= MAX_CLIENT_ID:  # a longer one is never accepted
            self._refusals += 1
            send = self._refused_sends.setdefault(client_id, _RefusedSend(frame, 0, math.inf))
            held_back, held_since = self._held_back  # no `await` since `may_send`, if that held this one back
            send.number, send.held_since = self._refusals, held_since if client_id == held_back else math.inf
            self._held_back = "", math.inf
            if len(self._refused_sends) > MAX_REFUSED_SENDS:
                self.end(
                    Refusal(
                        Code.RATE_LIMITED, f"{MAX_REFUSED_SENDS} messages or changes were refused, and not sent again."
                    )
                )
        elif client_id:
            self._refused_sends.pop(client_id, None)

    def refuse_or_end(self, refusal: Refusal, frame: int, client_id: str = "") -> None:
        """Refuse a frame of a live session; a refusal before sign-in ends the session."""
        if self.state is State.LIVE:
            self.refuse(refusal, frame, client_id)
        else:
            self.end(refusal)

    def move(self, websocket: str, grpc: str) -> None:
        """End the session with the addresses of its user's gateway."""
        self._put(ServerFrame(moved=Moved(websocket=websocket, grpc=grpc)))
        self.end(Refusal(Code.UNAVAILABLE, "Connect to the gateway of this user."), reason="moved")

    def reconnect(self, after_ms: int) -> None:
        """End the session; the client asks the BFF for an address and connects again, after so many milliseconds."""
        if self.state is not State.NEW:
            self._put(ServerFrame(reconnect=Reconnect(after_ms=after_ms)))
        self.end(Refusal(Code.UNAVAILABLE, "This gateway no longer serves this user."), reason="reconnect")

    def end(self, why: Refusal, *, reason: str = "") -> None:
        """End the session with a Goodbye; the transport closes once that is sent. `reason` is the metrics' name for it,
        by default the refusal's code."""
        if self.state is not State.ENDED:
            self.end_reason = reason or why.code
            goodbye = Goodbye(
                code=why.code,
                message=why.message,
                field=why.field,
                is_final=not why.retryable and why.code is not Code.UNAUTHENTICATED,  # a fresh token may be accepted
                retry_after_ms=why.retry_after_ms,
            )
            self._put(ServerFrame(goodbye=goodbye))
            self.state = State.ENDED
            self.on_change()

    def abandon(self) -> None:
        """End the session without a frame, since its connection is lost; the queue is emptied."""
        self.state = State.ENDED
        self._queue.clear()
        self.on_change()

    # ---- to the client

    def take(self, now_ms: int = 0) -> list[bytes]:
        """Empty the queue, and return its frames in order, encoded. `now_ms` (since 1970) is the time for metrics."""
        encoding = self._encoding
        frames: list[bytes] = []
        for sequence, item in self._queue:
            if isinstance(item, SharedFrame):
                frames.append(encoding.shared(item, sequence))
                if item.at_ms:
                    DELIVERY.observe(max(now_ms - item.at_ms, 0) / 1000)
            else:
                item.sequence = sequence
                frames.append(encoding.frame(item))
        self._queue.clear()
        self._queued_bytes = self._queued_answers = 0
        if self.dropped and self.state is State.LIVE:
            gap = Gap(
                since=self._position,
                since_ms=time_of(self._position_id) - GAP_MARGIN_MS if self._position_id else 0,
                dropped=self.dropped,
                at_ms=wall_clock_ms(),
            )
            self.dropped = 0
            self._sequence += 1
            frames.append(encoding.frame(ServerFrame(sequence=self._sequence, gap=gap)))
        SESSION_FRAMES.inc("out", by=len(frames))
        return frames

    @property
    def has_frames(self) -> bool:
        return bool(self._queue)

    def _put(self, answer: ServerFrame) -> None:
        if self.state is not State.ENDED:
            self._queued_answers += 1
            self._append(answer)

    def _append(self, frame: ServerFrame | SharedFrame) -> None:
        self._sequence += 1
        self._queue.append((self._sequence, frame))
        self.on_change()

    def _request_of(self, frame: ClientFrame) -> Authenticate | Renew | Request | None:
        """The request of a frame, checked for its form; None if it was refused or answered."""
        kind = frame.WhichOneof("frame")
        if kind == "authenticate":
            return self._check_authenticate(frame.authenticate)
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
            self.refuse(request, self._frames, requests.client_id_of(frame))
            return None
        return request

    def _check_authenticate(self, frame: Authenticate) -> Authenticate | None:
        if self.state is not State.NEW:
            self.refuse(Refusal(Code.OUT_OF_ORDER, "This session is authenticated already."), self._frames)
            return None
        if refusal := requests.check_authenticate(frame):
            self.end(refusal)
            return None
        self.state = State.AUTHENTICATING
        return frame

    def _check_token(self, now_ms: int) -> None:
        if now_ms >= self._token_expires_at_ms:
            self.end(Refusal(Code.UNAUTHENTICATED, "The access token has expired."))
        elif not self._is_expiring_sent and now_ms >= self._token_expires_at_ms - EXPIRING_SECONDS * 1000:
            self._is_expiring_sent = True
            self._put(ServerFrame(expiring=Expiring(token_expires_at_ms=self._token_expires_at_ms)))

    def _answer_ping(self, frame: ClientFrame) -> None:
        if refusal := requests.check_ping(frame.ping):
            self.refuse(refusal, self._frames)
        else:
            self._put(ServerFrame(pong=Pong(payload=frame.ping.payload)))

    def _is_within_rate(self, now: float) -> bool:
        """Take a token from the bucket of the session's frames, if there is one."""
        configuration = self._configuration()
        gained = (now - self._allowed_at) * configuration.frames_per_second
        self._allowance = min(self._allowance + gained, configuration.frame_burst)
        self._allowed_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        self._rate_excess = max(self._rate_excess - 1, 0)
        return True

    def _refuse_rate(self, frame: ClientFrame | Refusal) -> None:
        self._rate_excess += 1
        rate = self._configuration().frames_per_second
        refusal = Refusal(
            Code.RATE_LIMITED, f"A session may send {rate} frames a second.", retry_after_ms=max(1000 // rate, 1)
        )
        if self._rate_excess > MAX_RATE_EXCESS or self.state is not State.LIVE:
            self.end(refusal)
        else:
            client_id = "" if isinstance(frame, Refusal) else requests.client_id_of(frame)
            self.refuse(refusal, self._frames, client_id)


def _limits(configuration: LiveConfiguration) -> Limits:
    return Limits(
        max_frame_bytes=configuration.max_frame_bytes,
        max_text_bytes=configuration.max_text_bytes,
        frames_per_second=configuration.frames_per_second,
        max_unanswered_sends=configuration.max_unanswered_sends,
        max_file_bytes=configuration.max_file_bytes,
        edit_seconds=configuration.edit_seconds,
    )
