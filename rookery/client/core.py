"""What a client knows of its session, over all the connections that carry it. No I/O in here.

It follows the position from which to resume, drops events that it has seen, and tells the outbox what was answered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rookery.client.errors import Refused
from rookery.client.outbox import Key, Outbox, reaction_key
from rookery.v1 import session_pb2 as pb
from shared.contract.ids import time_of

REMEMBERED_EVENTS = 10_000
"""Events that are recognised if they come again: twice what a server replays to one session by default."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The session is live again. `replayed` events that were missed meanwhile follow."""

    session_id: str
    replayed: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended. The client is making a new one; what is sent meanwhile waits for it."""

    reason: str


ClientEvent = pb.Message | pb.Reaction | pb.Receipt | pb.Typing | pb.Gap | Connected | Disconnected
"""What `Client.events` yields."""


@dataclass(frozen=True, slots=True)
class Leave:
    """An instruction: close this connection and make a new one after so long, where `moved` says if it is given."""

    reason: str
    after_ms: int = 0
    moved: pb.Moved | None = None
    signed_out: bool = False


@dataclass(frozen=True, slots=True)
class RenewToken:
    """An instruction: get a fresh access token and say it in the session."""


class Session:
    """Feed it with `receive`, send what `outgoing` gives, and call `begin` for each new connection."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.user_id = 0
        self.welcome: pb.Welcome | None = None
        """Of this connection; None before it came."""
        self.position: pb.Position | None = None
        self._received = 0
        self._replay_left = 0
        self._newest_event_id = 0
        self._seen: dict[Key, None] = {}  # a dict keeps the order, so the oldest is forgotten first

    @property
    def newest_ms(self) -> int:
        """When the newest known event happened, in milliseconds since 1970; 0 if there is none yet."""
        return time_of(self._newest_event_id) if self._newest_event_id else 0

    def say(self, frame: pb.ClientFrame) -> None:
        """Send a frame that has no answer, if there is a session now; it is not worth repeating on another."""
        if self.welcome is not None:
            self.outbox.say(frame)

    def begin(self, access_token: str, client_name: str) -> pb.ClientFrame:
        """Start on a new connection: the frame to send first. What is unanswered follows once the welcome is there."""
        self.end()
        self.outbox.begin()
        authenticate = pb.Authenticate(access_token=access_token, client_name=client_name)
        if self.position is not None:
            authenticate.last_position.CopyFrom(self.position)
        return pb.ClientFrame(authenticate=authenticate)

    def end(self) -> None:
        """The connection is gone."""
        self.welcome = None
        self._received = 0

    def outgoing(self) -> list[pb.ClientFrame]:
        """The frames to send now, in this order. No more messages are in flight than the server allows."""
        if self.welcome is None:
            return []
        return self.outbox.take(self.welcome.limits.max_unanswered_sends or 1)

    # ---- what comes in

    def receive(self, frame: pb.ServerFrame) -> Iterator[ClientEvent | Leave | RenewToken]:
        """Take a frame in; what the client is to hear of it, and what is to be done. Exhaust it before the next."""
        if frame.sequence > self._received + 1:
            # Frames were dropped. The server tells of events with a Gap; but an answer may be among them.
            self.outbox.send_again()
        self._received = frame.sequence
        match frame.WhichOneof("frame"):
            case "welcome":
                yield self._begun(frame.welcome)
            case "event":
                yield from self._event(frame.event)
            case "accepted":
                self._accepted(frame.accepted)
            case "refused":
                self._refused(frame.refused)
            case "expiring":
                yield RenewToken()
            case "gap":
                if frame.gap.HasField("position"):
                    self.position = frame.gap.position
                yield frame.gap
            case "reconnect":
                yield Leave("the gateway asked for it", after_ms=frame.reconnect.after_ms)
            case "moved":
                yield Leave("the sessions are elsewhere", moved=frame.moved)
            case "goodbye":
                goodbye = frame.goodbye
                yield Leave(goodbye.message or goodbye.code, signed_out=goodbye.code == "unauthenticated")
            case _:  # a pong, or a frame of a newer server
                pass

    def _begun(self, welcome: pb.Welcome) -> Connected:
        self.welcome = welcome
        self.user_id = welcome.user_id
        self._replay_left = welcome.replayed
        if not welcome.replayed:
            self._advance(welcome.position)
        return Connected(welcome.session_id, welcome.replayed)

    def _event(self, event: pb.Event) -> Iterator[ClientEvent]:
        self._advance(event.position)
        self._newest_event_id = max(self._newest_event_id, event.event_id)
        if self._replay_left:
            self._replay_left -= 1
            if not self._replay_left and self.welcome is not None:
                self._advance(self.welcome.position)
        match event.WhichOneof("event"):
            case "message":
                yield from self._message(event.message)
            case "reaction":
                if self._is_new(("event", event.event_id)):
                    yield event.reaction
                if event.reaction.user_id == self.user_id:
                    self.outbox.finish(reaction_key(event.reaction, event.reaction.set), None)
            case "receipt":
                if self._is_new(("event", event.event_id)):
                    yield event.receipt
                self._receipt_echoed(event.receipt)
            case "typing":
                yield event.typing
            case _:  # of a newer server
                pass

    def _message(self, message: pb.Message) -> Iterator[pb.Message]:
        is_new = self._is_new(("message", message.message_id))
        # Two copies of one message have different ids if its sender's gateway died half-way: the first one counts.
        if self._is_new(("sent", message.sender_id, message.client_message_id)) and is_new:
            yield message
        # One's own message in a replay is no answer: its gateway may have died before the others' copies were written,
        # and only the retry, which is on its way, has them written. Accepted says that they are.

    def _accepted(self, accepted: pb.Accepted) -> None:
        self._is_new(("message", accepted.message_id))
        self._is_new(("sent", self.user_id, accepted.client_message_id))
        self.outbox.finish(("send", accepted.client_message_id), accepted)

    def _refused(self, refused: pb.Refused) -> None:
        key = self.outbox.key_of_number(refused.frame) or ("send", refused.client_message_id)
        self.outbox.finish(
            key,
            Refused(
                refused.code,
                refused.message,
                field=refused.field,
                retryable=refused.retryable,
                retry_after_ms=refused.retry_after_ms,
                client_message_id=refused.client_message_id,
            ),
        )

    def _receipt_echoed(self, receipt: pb.Receipt) -> None:
        asked = self.outbox.receipt(receipt.chat_id)
        if receipt.user_id == self.user_id and asked is not None and _covers(receipt, asked):
            self.outbox.finish(("receipt", receipt.chat_id), None)

    def _advance(self, position: pb.Position) -> None:
        """Positions of one epoch only go forward: a replay, for one, may lie before what is known."""
        known = self.position
        if known is None or position.epoch != known.epoch or position.offset > known.offset:
            self.position = position

    def _is_new(self, key: Key) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > 2 * REMEMBERED_EVENTS:  # a message has two keys
            del self._seen[next(iter(self._seen))]
        return True


def _covers(receipt: pb.Receipt, asked: pb.Receipt) -> bool:
    return receipt.delivered_up_to >= asked.delivered_up_to and receipt.read_up_to >= asked.read_up_to
