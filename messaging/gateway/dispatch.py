"""Dispatches clients' frames: each command to its handler, traced or not, and refused when an engine is unavailable."""

from contextlib import nullcontext
from typing import assert_never

import structlog
import trio

from messaging.gateway import tracing
from messaging.gateway.follows import Follows
from messaging.gateway.publisher import Publisher
from messaging.gateway.requests import ChangeRequest, FollowRequest, SendRequest, TypingRequest, WatchRequest
from messaging.gateway.session import UNAVAILABLE_NOW, Command, Session, State
from messaging.gateway.sign_in import SignIn
from messaging.gateway.signals.watches import Watches
from rookery.v1.session_pb2 import Accepted, Authenticate, ClientFrame, Renew
from shared.configuration.live import Live
from shared.contract.errors import Refusal, Unavailable
from shared.telemetry import traces
from shared.telemetry.logs import Interval

_UNTRACED = nullcontext()

_log = structlog.get_logger(__name__)


class Dispatcher:
    """Passes each command to its handler, and sends the refusals, except retryable ones while the session is leaving;
    one for each gateway."""

    def __init__(self, sign_in: SignIn, publisher: Publisher, watches: Watches, follows: Follows, live: Live) -> None:
        self._sign_in = sign_in
        self._publisher = publisher
        self._watches = watches
        self._follows = follows
        self._live = live
        self._may_warn = Interval()

    async def receive(self, session: Session, frame: ClientFrame | Refusal) -> None:
        """Handle a session's next frame, or the refusal of bytes that are none. The caller passes the frames of one
        session in order, each after this returned for the one before: an engine's latency must not reorder them."""
        command = session.receive(frame, trio.current_time())
        if command is None:
            return
        is_traced = traces.should_sample(self._live.value.trace_ratio)
        with tracing.frame(command) if is_traced else _UNTRACED:
            try:
                refusal = await self._handle(command)
            except Unavailable as error:
                if self._may_warn.has_passed():  # strangers send commands too: each of their sign-ins fails meanwhile
                    _log.warning("command_unavailable", error=str(error))
                refusal = UNAVAILABLE_NOW
            if refusal is None:
                return
            if refusal.retryable and session.state is State.LIVE and self._publisher.is_leaving(session):
                return  # the client repeats an unanswered frame with the next owner
            if command.span is not None:
                tracing.refused(command.span, refusal)
            session.refuse_or_end(refusal, command.frame, command.client_id)

    async def _handle(self, command: Command) -> Refusal | None:
        match command.request:
            case SendRequest() | ChangeRequest() as request:
                return await self._publisher.keep(command, request)
            case Authenticate() as request:
                return await self._sign_in.authenticate(command.session, request)
            case Renew() as request:
                refusal = await self._sign_in.renew(command.session, request)
                if refusal is None:
                    command.session.accept(Accepted(frame=command.frame))
                return refusal
            case TypingRequest() as request:
                return await self._publisher.type(command, request)
            case WatchRequest() as request:
                return await self._watches.watch(command, request)
            case FollowRequest() as request:
                return await self._follows.follow(command, request)
            case never:
                assert_never(never)
