"""The gRPC service that changes groups: the BFF calls it with the access token of the user, and so may the user.

It is on the port of the sessions, which is public, so each call needs a valid token before anything of it is read.
"""

from collections import Counter
from functools import partial

import structlog
import trio

from messaging.gateway.groups.sequencer import Sequencer
from messaging.gateway.session import RETRY_AFTER_MS
from rookery.v1.group_service_grpc import GroupServiceServicer
from rookery.v1.group_service_pb2 import ChangeGroupRequest, ChangeGroupResponse
from shared.accounts.tokens import Claims, TokenVerifier
from shared.contract.errors import Code, Refusal, Unavailable
from shared.rpc import ServerStream, stream_handler
from shared.rpc.refusals import error_of
from shared.rpc.server.interceptors import bearer_token, trace_calls

MAX_CALLS = 8
"""Concurrent calls of a user: more than one person makes, on all devices."""

REQUEST_SECONDS = 5.0
"""How long the message of a call may take to arrive."""

_UNAVAILABLE = Refusal(Code.UNAVAILABLE, "This can't be done now.", retry_after_ms=RETRY_AFTER_MS)

_TOO_MANY = Refusal(
    Code.RATE_LIMITED, f"A user changes groups with {MAX_CALLS} calls at once at most.", retry_after_ms=RETRY_AFTER_MS
)

_LATE = Refusal(Code.TIMED_OUT, f"The request did not arrive within {REQUEST_SECONDS:g} seconds.")

_log = structlog.get_logger(__name__)

Stream = ServerStream[ChangeGroupRequest, ChangeGroupResponse]


class GroupService(GroupServiceServicer):
    """GroupService, as group_service.proto describes it."""

    def __init__(self, sequencer: Sequencer, verifier: TokenVerifier) -> None:
        self._sequencer = sequencer
        self._verifier = verifier
        self._calls: Counter[int] = Counter()  # by user

    @stream_handler
    async def ChangeGroup(self, stream: Stream) -> None:
        """Handle one call. While it lasts, its connection is that of a user who has signed in."""
        claims = await self._claims(stream)
        user_id = claims.user_id
        if self._calls[user_id] >= MAX_CALLS:
            raise error_of(_TOO_MANY)
        self._calls[user_id] += 1
        stream.authenticate()
        try:
            with structlog.contextvars.bound_contextvars(user_id=str(user_id)):
                await trace_calls(stream, partial(self._change, user_id))
        finally:
            stream.end_authentication()
            self._calls[user_id] -= 1
            if not self._calls[user_id]:
                del self._calls[user_id]

    async def _claims(self, stream: Stream) -> Claims:
        """The claims of the call's token. Raises RpcError without a valid one."""
        try:
            claims = await self._verifier.verify(bearer_token(stream.metadata))
        except Unavailable as error:
            _log.warning("request_failed", error=str(error))
            claims = _UNAVAILABLE
        if isinstance(claims, Refusal):
            raise error_of(claims)
        return claims

    async def _change(self, user_id: int, stream: Stream) -> None:
        request = None
        with trio.move_on_after(REQUEST_SECONDS):
            request = await stream.receive_only()
        if request is None:
            raise error_of(_LATE)
        try:
            event = await self._sequencer.change(user_id, request)
        except Unavailable as error:
            _log.warning("request_failed", error=str(error))
            event = _UNAVAILABLE
        if isinstance(event, Refusal):
            raise error_of(event)
        await stream.send(ChangeGroupResponse(event=event))
