"""Signs clients in: authenticates and renews, and replays from the tail, or moves a client to its user's gateway."""

import math
from collections.abc import Sequence

import structlog
import trio

from messaging.envelopes import decode
from messaging.gateway.channels import LATE_HEAD_MS
from messaging.gateway.frames import SharedEvent, shared_event
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.registry import Registry
from messaging.gateway.session import GAP_MARGIN_MS, RETRY_AFTER_MS, Session, State
from messaging.gateway.tail import Entry, Tail
from rookery.v1.session_pb2 import Authenticate, Gap, Position, Renew
from shared.accounts.tokens import Claims, TokenVerifier
from shared.configuration.live import Live
from shared.contract.errors import Code, Refusal
from shared.contract.ids import wall_clock_ms
from shared.contract.partitions import PARTITION_MAP_EPOCH
from shared.coordination.ownership import OWNER_SECONDS, WAITED_RETRY_MS, Directory, GatewayAddress

HELD_SECONDS = 0.3
"""Seconds between two looks at the tail while its partition may be another gateway's: a heartbeat ends that."""

_log = structlog.get_logger(__name__)


class SignIn:
    """Signs sessions in, and renews their tokens; one for each gateway."""

    def __init__(
        self,
        verifier: TokenVerifier,
        partitions: OwnedPartitions,
        registry: Registry,
        directory: Directory,
        address: GatewayAddress,
        live: Live,
    ) -> None:
        self._verifier = verifier
        self._partitions = partitions
        self._registry = registry
        self._directory = directory
        self._address = address
        self._live = live

    async def authenticate(self, session: Session, frame: Authenticate) -> Refusal | None:
        """Attach the session to its user, or end it. Raises Unavailable."""
        claims = await self._verifier.read(frame.access_token)
        if isinstance(claims, Refusal):
            return claims
        session.on_verified(claims.user_id)
        await self._wait_for_owner(session, claims.user_id)
        with self._registry.signing_in(session, claims):
            checked = await self._verifier.check(claims)
        if isinstance(checked, Refusal):
            return checked
        if session.state is not State.AUTHENTICATING:
            return None  # it ended while it waited, or its sign-in during the check
        tail = self._partitions.tail_of(claims.user_id)
        if tail is None:
            self._move(session, claims)
            return None
        limit = self._live.value.max_sessions_per_user
        if len(self._registry.of(claims.user_id)) >= limit:
            return Refusal(Code.RATE_LIMITED, f"A user may have {limit} sessions at once.")
        self._welcome(session, claims, tail, frame)
        return None

    async def renew(self, session: Session, frame: Renew) -> Refusal | None:
        """Accept a new token of the same sign-in. Raises Unavailable."""
        claims = await self._verifier.verify(frame.access_token)
        if isinstance(claims, Refusal):
            return claims
        if (claims.user_id, claims.family_id) != (session.user_id, session.family_id):
            return Refusal(Code.FORBIDDEN, "The token is of another sign-in than the session.", "renew.access_token")
        session.renew(claims)
        return None

    async def _wait_for_owner(self, session: Session, user_id: int) -> None:
        """Wait until the user's partition has an owner, which this gateway often is about to become, for OWNER_SECONDS
        at most: a part of SIGN_IN_SECONDS. The sign-in is checked afterwards: it may end meanwhile, and its gateway
        reads the ends of the user's earlier sign-ins again."""
        partition = self._partitions.partition_of(user_id)
        with trio.move_on_after(OWNER_SECONDS):
            while session.state is State.AUTHENTICATING and self._partitions.tail_of(user_id) is None:
                owner = self._directory.owner(partition)
                if owner not in (None, self._address):
                    return
                # Only the confirmation of a late heartbeat does not change the directory.
                with trio.move_on_after(math.inf if owner is None else HELD_SECONDS):
                    await self._directory.changed()

    def _move(self, session: Session, claims: Claims) -> None:
        """Send the client to the owner of its user's partition."""
        owner = self._directory.owner(self._partitions.partition_of(claims.user_id))
        if owner is not None and owner != self._address and owner.is_complete:
            session.move(owner.websocket, owner.grpc)
        elif owner in (None, self._address):  # no gateway has begun to serve it while the client waited
            session.reconnect(WAITED_RETRY_MS)
        else:  # only the BFF has the host by which the client reaches it
            session.reconnect(RETRY_AFTER_MS)

    def _welcome(self, session: Session, claims: Claims, tail: Tail, frame: Authenticate) -> None:
        """Queue the replay and register the session, with no `await` in between: every later event is delivered."""
        configuration = self._live.value
        entries, gap = self._missed(claims.user_id, tail, frame)
        session.is_resumed = gap is None and frame.HasField("last_position")
        replay = replayed(entries[-configuration.replay_events :])
        position = Position(offset=tail.next_offset - 1, epoch=PARTITION_MAP_EPOCH)
        session.first_offset = position.offset
        if session.is_resumed:  # the heads of events below the position may not have been sent
            session.first_offset = tail.offset_before(frame.last_position.offset, LATE_HEAD_MS)
        if gap is not None and not replay:
            # A client that is cut off before it reads the Gap resumes from the old position, and gets the Gap again.
            # With a replay, whose events come after the Gap, it keeps its old position anyway.
            gap.position.CopyFrom(position)
            position = gap.since
        session.welcome(claims, position, replay, gap, int(configuration.heartbeat_seconds * 1000))
        self._registry.attach(session)
        _log.debug("session_welcomed", replayed=len(replay), gap=gap is not None)

    def _missed(self, user_id: int, tail: Tail, frame: Authenticate) -> tuple[list[Entry], Gap | None]:
        """The entries since the client's position. Without a position, or with one that the tail can't resume from,
        the entries of the newest seconds; in the latter case after a Gap."""
        configuration = self._live.value
        recent = tail.since(user_id, wall_clock_ms() - int(configuration.replay_seconds * 1000))
        if not frame.HasField("last_position"):
            return recent, None
        last = frame.last_position
        newer = tail.newer(user_id, last.offset + 1)
        is_cached = last.epoch == PARTITION_MAP_EPOCH and tail.complete_from <= last.offset + 1 <= tail.next_offset
        if is_cached and len(newer) <= configuration.replay_events:
            return newer, None
        return recent, Gap(since=last, since_ms=time_of_position(tail, last), at_ms=wall_clock_ms())


def replayed(entries: Sequence[Entry]) -> list[SharedEvent]:
    """The events of these entries, decoded from their records."""
    return [shared_event(entry.offset, entry.value, decode(entry.value)) for entry in entries]


def time_of_position(tail: Tail, position: Position) -> int:
    """About when the position was the newest, in milliseconds since 1970; 0 if the tail does not have it: it is older,
    or above the newest position, since the log was lost and made again."""
    is_held = position.epoch == PARTITION_MAP_EPOCH and position.offset < tail.next_offset
    at_ms = tail.time_at(position.offset) if is_held else 0
    return max(at_ms - GAP_MARGIN_MS, 0)
