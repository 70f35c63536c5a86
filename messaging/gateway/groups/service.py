"""The gRPC service that changes groups: the BFF calls it with the access token of the user, and so may the user.

It is on the port of the sessions, which is public, so each call needs a valid token before anything of it is read. With
a departure token, the BFF takes a deleted account out of its groups.
"""

# The generated base class has a method of a request, not one of a stream:
# pyright: reportIncompatibleMethodOverride=false

from collections import Counter
from functools import partial

import structlog
import trio

from messaging.gateway.groups.sequencer import Sequencer
from messaging.gateway.session import RETRY_AFTER_MS, UNAVAILABLE_NOW
from rookery.v1.group_service_grpc import GroupServiceServicer
from rookery.v1.group_service_pb2 import ChangeGroupRequest, ChangeGroupResponse, ChangeMember, RemoveMember
from rookery.v1.groups_pb2 import ROLE_OWNER
from rookery.v1.session_pb2 import Event
from shared.accounts.departures import DepartureTokens
from shared.accounts.tokens import Claims, TokenVerifier
from shared.configuration.live import Live
from shared.contract.chats import is_group, no_such_chat
from shared.contract.errors import Code, Refusal, Unavailable
from shared.rpc import ServerStream, stream_handler
from shared.rpc.refusals import error_of
from shared.rpc.server.interceptors import bearer_token, sample_calls
from shared.telemetry.logs import Interval
from shared.throttle import HOUR, Attempt, Take, Throttle, take_all, too_many
from shared.unknown_chats import UnknownChatLimit

MAX_CALLS = 8
"""Concurrent calls of a user: more than one person makes, on all devices."""

JOINS_PER_HOUR = 10
"""How often a user joins one group, or asks to: each is a line in the chat, and a user may leave, or take a request
back, at once."""

SETTINGS_PER_MINUTE = 60
"""How often a user changes the settings of groups: each change is a line in the chat, and a new name of a public group
replaces dozens of rows of the search for groups."""

REQUEST_SECONDS = 5.0
"""How long the message of a call may take to arrive."""

_TOO_MANY = Refusal(
    Code.RATE_LIMITED, f"A user changes groups with {MAX_CALLS} calls at once at most.", retry_after_ms=RETRY_AFTER_MS
)

_ONLY_DEPARTS = Refusal(Code.FORBIDDEN, "A deleted account can only leave a group, or hand it over.")

_LATE = Refusal(Code.TIMED_OUT, f"The request did not arrive within {REQUEST_SECONDS:g} seconds.")

_log = structlog.get_logger(__name__)

Stream = ServerStream[ChangeGroupRequest, ChangeGroupResponse]


class GroupService(GroupServiceServicer):
    """GroupService, as group_service.proto describes it."""

    def __init__(self, sequencer: Sequencer, verifier: TokenVerifier, departures: DepartureTokens, live: Live) -> None:
        self._sequencer = sequencer
        self._verifier = verifier
        self._departures = departures
        self._live = live
        self._creations = Throttle(period=HOUR)
        self._additions = Throttle()
        self._joins = Throttle(period=HOUR)  # by user and group
        self._settings = Throttle()
        self._chat_limit = UnknownChatLimit(live)
        self._link_limit = UnknownChatLimit(live, "token")
        self._sample = sample_calls(lambda: live.value.trace_ratio)
        self._calls: Counter[int] = Counter()  # by user
        self._may_warn = Interval()

    @stream_handler
    async def ChangeGroup(self, stream: Stream) -> None:  # type: ignore[override]
        """Handle one call. While it lasts, its connection is that of a user who has signed in."""
        user_id, is_deleted = await self._caller(stream)
        if self._calls[user_id] >= MAX_CALLS:
            raise error_of(_TOO_MANY)
        self._calls[user_id] += 1
        stream.authenticate()
        try:
            with structlog.contextvars.bound_contextvars(user_id=str(user_id)):
                await self._sample(stream, partial(self._change, user_id, is_deleted))
        finally:
            stream.end_authentication()
            self._calls[user_id] -= 1
            if not self._calls[user_id]:
                del self._calls[user_id]

    async def _caller(self, stream: Stream) -> tuple[int, bool]:
        """The user of the call's token, and whether their account is deleted. Raises RpcError without a valid one."""
        token = bearer_token(stream.metadata)
        try:
            claims = await self._verifier.verify(token)
            if isinstance(claims, Claims):
                return claims.user_id, False
            if (user_id := await self._departures.verify(token)) is not None:
                return user_id, True
        except Unavailable as error:
            self._warn(error)
            claims = UNAVAILABLE_NOW
        raise error_of(claims)

    async def _change(self, user_id: int, is_deleted: bool, stream: Stream) -> None:
        request = None
        with trio.move_on_after(REQUEST_SECONDS):
            request = await stream.receive_only()
        if request is None:
            raise error_of(_LATE)
        if not is_deleted:
            limit = self._link_limit if request.join.secret else self._chat_limit
            event = await limit.call(user_id, partial(self._make, user_id), request)
        elif _is_departure(request, user_id):
            event = await self._make(user_id, request)
        else:
            event = _ONLY_DEPARTS
        if isinstance(event, Refusal):
            raise error_of(event)
        await stream.send(ChangeGroupResponse(event=event))

    async def _make(self, user_id: int, request: ChangeGroupRequest) -> Event | Refusal:
        """Make the change, unless the user makes too many of its kind. Failures of ours do not count."""
        attempt = self._begin(user_id, request)
        if isinstance(attempt, Refusal):
            return attempt
        try:
            event = await self._sequencer.change(user_id, request)
        except Unavailable as error:
            self._warn(error)
            event = UNAVAILABLE_NOW
        if isinstance(event, Refusal) and event.retryable:
            attempt.forgive()
        return event

    def _warn(self, error: Unavailable) -> None:
        """Log that an engine does not answer, once a minute: strangers call too, and each call fails meanwhile."""
        if self._may_warn.has_passed():
            _log.warning("group_request_unavailable", error=str(error))

    def _begin(self, user_id: int, request: ChangeGroupRequest) -> Attempt | Refusal:
        """Count a request that creates a group or adds members, each of which reads up to 999 accounts, or by which
        the user joins or invites others, or changes the settings of a group."""
        key, now, live = str(user_id), trio.current_time(), self._live.value
        match request.WhichOneof("change"):
            case "join" if not is_group(request.chat_id):  # no key may be as long as a request
                return no_such_chat()
            case "create":
                begun, takes = self._creations.begin(key, live.groups_per_hour, now), "new groups"
            case "add_members" | "join" | "create_invite" as kind:
                limits = [Take(self._additions, key, live.member_additions_per_minute)]
                if kind == "join":
                    limits.append(Take(self._joins, f"{key} {request.chat_id}", JOINS_PER_HOUR))
                begun, takes = take_all(limits, now), "additions to groups"
            case "change_settings":
                begun, takes = self._settings.begin(key, SETTINGS_PER_MINUTE, now), "changes of groups' settings"
            case _:
                return Attempt(())
        return begun if isinstance(begun, Attempt) else too_many(takes, begun)


def _is_departure(request: ChangeGroupRequest, user_id: int) -> bool:
    """Whether the user leaves the group, or hands it over."""
    match request.WhichOneof("change"):
        case "remove_member":
            return request.remove_member == RemoveMember(user_id=user_id)
        case "change_member":
            return request.change_member == ChangeMember(user_id=request.change_member.user_id, role=ROLE_OWNER)
        case _:
            return False
