"""Who is here and what they ask: the part of the gateway between its transports and the backplane."""

import random
import secrets
from collections.abc import Awaitable, Sequence
from typing import assert_never

import structlog
import trio

from messaging.envelopes import copies, fan_out
from messaging.gateway import tracing
from messaging.gateway.frames import Encoding, SharedEvent
from messaging.gateway.history import History
from messaging.gateway.log_consumer import LogConsumer, shared_event
from messaging.gateway.publisher import RETRY_AFTER_MS, Publisher
from messaging.gateway.registry import Registry
from messaging.gateway.requests import ReactRequest, ReceiptRequest, Request, SendRequest, TypingRequest
from messaging.gateway.session import GAP_MARGIN_MS, Session, State
from messaging.gateway.tail import Entry, Tail
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import Authenticate, Event, Gap, Position, Reaction, Receipt, Renew, Typing
from shared.accounts.store import AccountStore
from shared.accounts.tokens import Claims, TokenVerifier
from shared.backplane import Backplane, Record
from shared.backplane.tracing import publish
from shared.configuration.live import Live
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import SnowflakeGenerator, time_of, wall_clock_ms
from shared.contract.partitions import PARTITION_MAP_EPOCH, partition_of
from shared.coordination.ownership import Directory, GatewayAddress
from shared.telemetry import traces
from shared.telemetry.metrics.catalogue import SESSIONS_ENDED, SESSIONS_OPENED

TICK_SECONDS = 1.0
"""How often sessions look at the clock."""

MAX_KNOWN_USERS = 100_000
"""Users remembered to exist: about 10 MB."""

RECONNECT_SPREAD_MS = 2_000
"""Clients of a gateway that stops come back over this time, not all at once."""

CLOCK_LEEWAY_MS = 5_000
"""How far in the future a receipt's message may seem to be, since gateways' clocks differ a little."""

_log = structlog.get_logger(__name__)


class Gateway:
    """One gateway process. Its transports open sessions here and hand it their requests."""

    def __init__(
        self,
        *,
        address: GatewayAddress,
        backplane: Backplane,
        accounts: AccountStore,
        verifier: TokenVerifier,
        history: History,
        directory: Directory,
        live: Live,
        ids: SnowflakeGenerator,
    ) -> None:
        self.registry = Registry()
        self.live = live
        self.publisher = Publisher(backplane)
        self.log_consumer = LogConsumer(
            backplane, self.registry, directory, address, live, ids, self.publisher.wait_idle
        )
        self.is_draining = False
        self._address = address
        self._backplane = backplane
        self._accounts = accounts
        self._verifier = verifier
        self._history = history
        self._directory = directory
        self._ids = ids
        self._known_users: dict[int, None] = {}

    @property
    def partitions(self) -> int:
        """Of the log, whoever has them."""
        return self._backplane.partitions

    def open_session(self, encoding: Encoding) -> Session:
        """A connection begins. Its transport gives it back with `close_session`."""
        session = Session(secrets.token_hex(8), encoding, lambda: self.live.value, trio.current_time())
        self.registry.add(session)
        SESSIONS_OPENED.inc(encoding.transport)
        if self.is_draining:
            session.reconnect(0)
        return session

    def close_session(self, session: Session) -> None:
        """The connection is gone."""
        self.registry.remove(session)
        session.abandon()
        _log.debug("session_closed", frames=session.frames_received)
        tracing.lost(session)
        SESSIONS_ENDED.inc(session.end_reason)

    def handle(self, session: Session, request: Authenticate | Renew | Request) -> Awaitable[None]:
        """Do what a session's client asks. Waits where an engine must answer, so that its frames stay in order."""
        if traces.should_sample(self.live.value.trace_ratio) and not isinstance(request, Authenticate | Renew):
            return self._handle_traced(session, request)
        return self._handle(session, request)

    async def _handle_traced(self, session: Session, request: Request) -> None:
        with tracing.frame(session, request):
            await self._handle(session, request)

    async def _handle(self, session: Session, request: Authenticate | Renew | Request) -> None:
        frame = session.frames_received
        try:
            refusal = await self._answer(session, frame, request)
        except Unavailable as error:
            _log.warning("request_failed", error=str(error))
            refusal = Refusal(Code.UNAVAILABLE, "This can't be done now.", "", RETRY_AFTER_MS)
        if refusal is not None:
            if session.span is not None:
                tracing.refused(session.span, refusal)
            client_message_id = request.client_message_id if isinstance(request, SendRequest) else ""
            session.refuse_or_end(refusal, frame, client_message_id)

    async def tick_for_ever(self) -> None:
        """Have every session look at the clock, again and again."""
        while True:
            await trio.sleep(TICK_SECONDS)
            now, now_ms = trio.current_time(), wall_clock_ms()
            for session in self.registry:
                session.tick(now, now_ms)

    async def drain(self) -> None:
        """Send every client elsewhere, once all that was taken is answered; wait until they have gone. The partitions
        are let go first, so that there is an elsewhere when they ask for it."""
        self.is_draining = True
        await self.publisher.wait_idle()
        await self.log_consumer.leave()
        for session in self.registry:
            session.reconnect(random.randrange(RECONNECT_SPREAD_MS))  # noqa: S311 - spreads load, guards nothing
        await self.registry.wait_empty()

    async def _answer(self, session: Session, frame: int, request: Authenticate | Renew | Request) -> Refusal | None:
        match request:
            case SendRequest():
                return await self._send(session, frame, request)
            case Authenticate():
                return await self._authenticate(session, request)
            case Renew():
                return await self._renew(session, request)
            case ReactRequest():
                return await self._react(session, request)
            case ReceiptRequest():
                return self._mark(session, frame, request)
            case TypingRequest():
                return self._type(session, request)
            case _:
                assert_never(request)

    # ---- sign-in

    async def _authenticate(self, session: Session, frame: Authenticate) -> Refusal | None:
        claims = await self._verifier.verify(frame.access_token)
        if isinstance(claims, Refusal):
            return claims
        if session.state is not State.AUTHENTICATING:
            return None
        tail = self.log_consumer.tail_of(claims.user_id)
        if tail is None:
            return self._send_elsewhere(session, claims)
        limit = self.live.value.max_sessions_per_user
        if len(self.registry.of(claims.user_id)) >= limit:
            return Refusal(Code.RATE_LIMITED, f"A user may have {limit} sessions at once.")
        self._welcome(session, claims, tail, frame)
        return None

    def _send_elsewhere(self, session: Session, claims: Claims) -> Refusal | None:
        owner = self._directory.owner(partition_of(claims.user_id, self._backplane.partitions))
        if owner is None or owner == self._address:  # about to be served, here or elsewhere
            session.reconnect(RETRY_AFTER_MS)
        elif owner.is_complete:
            session.move(owner.websocket, owner.grpc)
        else:  # only the BFF knows by which host the client reaches us
            session.reconnect(0)
        return None

    def _welcome(self, session: Session, claims: Claims, tail: Tail, frame: Authenticate) -> None:
        """Replay and registration in one step, with no wait between them: what comes next is delivered live."""
        configuration = self.live.value
        entries = tail.since(claims.user_id, wall_clock_ms() - int(configuration.replay_seconds * 1000))
        gap = None
        if frame.HasField("last_position"):
            last = frame.last_position
            newer = tail.newer(claims.user_id, last.offset + 1)
            is_known = last.epoch == PARTITION_MAP_EPOCH and tail.complete_from <= last.offset + 1 <= tail.next_offset
            if is_known and len(newer) <= configuration.replay_events:
                entries = newer
            else:
                gap = Gap(since=last, since_ms=time_of_position(tail, last))
        position = Position(offset=tail.next_offset - 1, epoch=PARTITION_MAP_EPOCH)
        replay = replayed(entries[-configuration.replay_events :])
        if gap is not None and not replay:
            # A client that is cut off before the Gap resumes from there, and is told again. With a replay, whose events
            # come behind the Gap, it keeps its old position by itself.
            gap.position.CopyFrom(position)
            position = gap.since
        session.welcome(claims, position, replay, gap, int(configuration.heartbeat_seconds * 1000))
        self.registry.attach(session)
        _log.debug("session_welcomed", replayed=len(replay), gap=gap is not None)

    async def _renew(self, session: Session, frame: Renew) -> Refusal | None:
        claims = await self._verifier.verify(frame.access_token)
        if isinstance(claims, Refusal):
            return claims
        if (claims.user_id, claims.family_id) != (session.user_id, session.family_id):
            return Refusal(Code.FORBIDDEN, "The token is of another sign-in than the session.", "renew.access_token")
        session.renew(claims)
        return None

    # ---- requests

    async def _send(self, session: Session, frame: int, request: SendRequest) -> Refusal | None:
        other = request.members[request.members[0] == session.user_id]
        if other not in self._known_users and not await self._exists(other):
            return Refusal(Code.NOT_FOUND, "There is no such user.", "send.recipient_id")
        if request.reply_to and (refusal := await self._missing(session, request.chat_id, request.reply_to)):
            return refusal
        message_id = self._ids.next_nowait() or await self._ids.next()
        if self._is_letting_go(session):
            return None
        tail = self.log_consumer.tail_of(session.user_id)
        if tail is None:
            return Refusal(Code.UNAVAILABLE, "This gateway does not serve this user now.", "", RETRY_AFTER_MS)
        self.publisher.send(session, frame, request, tail, message_id)
        return None

    async def _react(self, session: Session, request: ReactRequest) -> Refusal | None:
        if refusal := await self._missing(session, request.chat_id, request.message_id):
            return refusal
        reaction = Reaction(
            chat_id=request.chat_id,
            message_id=request.message_id,
            user_id=session.user_id,
            emoji=request.emoji,
            set=request.set,
        )
        event = Event(event_id=await self._ids.next(), reaction=reaction)
        return self._publish(session, session.frames_received, self._kept(event, session, request.members))

    def _mark(self, session: Session, frame: int, request: ReceiptRequest) -> Refusal | None:
        if time_of(request.delivered_up_to) > wall_clock_ms() + CLOCK_LEEWAY_MS:
            return Refusal(Code.INVALID, "There is no message yet with such an id.", "receipt.delivered_up_to")
        receipt = Receipt(
            chat_id=request.chat_id,
            user_id=session.user_id,
            delivered_up_to=request.delivered_up_to,
            read_up_to=request.read_up_to,
        )
        event_id = self._ids.next_nowait()
        if event_id is None:
            return Refusal(Code.UNAVAILABLE, "The clock has to catch up.", "", RETRY_AFTER_MS)
        event = Event(event_id=event_id, receipt=receipt)
        return self._publish(session, frame, self._kept(event, session, request.members))

    def _type(self, session: Session, request: TypingRequest) -> Refusal | None:
        event = Event(typing=Typing(chat_id=request.chat_id, user_id=session.user_id))
        others = [member for member in request.members if member != session.user_id]
        records = copies(event, sender_id=session.user_id, recipient_ids=others, partitions=self._backplane.partitions)
        return self._publish(session, session.frames_received, records)

    def _kept(self, event: Event, session: Session, members: Sequence[int]) -> list[Record]:
        return fan_out(event, sender_id=session.user_id, recipient_ids=members, partitions=self._backplane.partitions)

    def _publish(self, session: Session, frame: int, records: list[Record]) -> Refusal | None:
        """Publish what has no answer but the event itself; a failure is refused when it is known."""
        if self._is_letting_go(session):
            return None
        session.unanswered += 1
        span = session.take_span()

        def done(result: Sequence[int] | Exception) -> None:
            session.answered()
            answer: Refusal | int = 0
            if isinstance(result, Exception):
                answer = Refusal(Code.UNAVAILABLE, "This could not be stored.", "", RETRY_AFTER_MS)
                session.refuse(answer, frame)
            if span is not None:
                tracing.answered(span, answer)

        try:
            publish(self._backplane, records, done, span)
        except Unavailable as error:
            done(error)
        return None

    def _is_letting_go(self, session: Session) -> bool:
        """Whether the session is about to be sent elsewhere. What is then asked is not answered: its client asks again
        there, as after any end of a session."""
        return self.is_draining or self.log_consumer.is_leaving(session.user_id)

    async def _exists(self, user_id: int) -> bool:
        if not await self._accounts.users([user_id]):
            return False
        if len(self._known_users) >= MAX_KNOWN_USERS:
            del self._known_users[next(iter(self._known_users))]
        self._known_users[user_id] = None
        return True

    async def _missing(self, session: Session, chat_id: str, message_id: int) -> Refusal | None:
        """Why the chat's message can't be answered or reacted to; None if it is there."""
        tail = self.log_consumer.tail_of(session.user_id)
        if tail is not None and tail.has_message(session.user_id, message_id, chat_id):
            return None
        there = await self._history.has_message(session.user_id, chat_id, message_id)
        if isinstance(there, Refusal):
            return there
        return None if there else Refusal(Code.NOT_FOUND, "There is no such message in the chat.")


def replayed(entries: Sequence[Entry]) -> list[SharedEvent]:
    """Events of the tail, made anew from their records."""
    return [shared_event(entry.offset, entry.value, Envelope.FromString(entry.value)) for entry in entries]


def time_of_position(tail: Tail, position: Position) -> int:
    """About when the position was the newest, in milliseconds since 1970; 0 if the tail can't tell."""
    at_ms = tail.time_at(position.offset) if position.epoch == PARTITION_MAP_EPOCH else 0
    return max(at_ms - GAP_MARGIN_MS, 0)
