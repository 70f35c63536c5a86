"""The state of a client's session, over all the connections that carry it. No I/O.

It keeps the position to resume from, drops repeated events, and passes answers to the outbox.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rookery.client.errors import Refused
from rookery.client.outbox import Outbox
from rookery.v1 import session_pb2 as pb
from shared.clock import elapsed
from shared.contract.ids import time_of, wall_clock_ms

REMEMBERED_EVENTS = 10_000
"""Events whose repetition is recognised: twice the number that a server replays to one session by default."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The session is live. `replayed` events follow that were missed without a connection."""

    session_id: str
    replayed: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended. The client opens a new one; commands wait for it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Followed:
    """The session follows these channels, and has some of them open: from `at_ms` on, it gets all their events."""

    at_ms: int
    """The server's time, in milliseconds since 1970."""
    chat_ids: Sequence[str]
    open_chat_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class NotFollowed:
    """The server refused to follow these channels: the session follows the former ones, or after a reconnect none."""

    refused: Refused
    chat_ids: Sequence[str]
    open_chat_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class TooOld:
    """More was missed of a chat than can be read. Drop its messages, and read its newest page of history anew."""

    chat_id: str


Signal = pb.Typing | pb.GroupMarks | pb.Presence | pb.ProfileChanged | pb.PeopleChanged
"""An event that is not kept: it may be missing, and no Gap reports that."""

ChannelEvent = pb.ChannelHead | Followed | NotFollowed | TooOld
"""An event of `Client.events` about channels."""

ClientEvent = pb.Message | pb.Event | Signal | pb.Gap | Connected | Disconnected | ChannelEvent
"""An event of `Client.events`. A `pb.Event` is always a change."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """An instruction: close this connection, and open a new one after `after_ms`."""

    reason: str
    after_ms: int = 0
    moved: pb.Moved | None = None
    """The gateway to connect to; None: ask the BFF."""
    token_rejected: bool = False
    """Whether the new connection needs a fresh access token."""


@dataclass(frozen=True, slots=True)
class Stop:
    """An instruction: close this connection, and open no other one, since it would end in the same way."""

    refused: Refused


@dataclass(frozen=True, slots=True)
class RenewToken:
    """An instruction: get a fresh access token and send it in the session."""


class Session:
    """Pass received frames to `receive`, send the frames of `outgoing`, and call `begin` for each new connection."""

    def __init__(
        self,
        opened_ms: int = 0,
        size_of: Callable[[pb.ClientFrame], int] = pb.ClientFrame.ByteSize,
        now: Callable[[], float] = elapsed,
    ) -> None:
        """`opened_ms`, by this machine's clock, in milliseconds since 1970, is the time of the newest event until there
        is one. `size_of` returns the bytes of an encoded frame. `now` returns seconds of a clock that nobody sets,
        and that runs on while the machine is suspended."""
        self.outbox = Outbox()
        self.user_id = 0
        self.welcome: pb.Welcome | None = None
        """The welcome of this connection; None until it is received."""
        self.position: pb.Position | None = None
        self._replay_left = 0
        self._size_of = size_of
        self._now = now
        self._server_clock: tuple[int, float] | None = None  # the newest welcome, by the server's clock and by `now`
        self._opened_ms = opened_ms  # by the server's clock, from the first welcome on
        self._newest_event_id = 0
        self._watched: pb.Watch | None = None
        self._follow: pb.Follow | None = None
        self._follow_answer: Followed | NotFollowed | None = None  # until it is yielded
        self._seen: dict[object, None] = {}  # a dict keeps the order, so the oldest is dropped first

    @property
    def newest_ms(self) -> int:
        """The server's time of the newest event, in milliseconds since 1970.

        The user's own accepted messages and changes do not count: events may be missing before them.
        """
        return time_of(self._newest_event_id) if self._newest_event_id else self._opened_ms

    def server_ms(self) -> int:
        """The server's time by its newest welcome, in milliseconds since 1970; before that, this machine's time."""
        if self._server_clock is None:
            return wall_clock_ms()
        at_ms, at = self._server_clock
        return at_ms + round((self._now() - at) * 1000)

    def notify(self, frame: pb.ClientFrame) -> None:
        """Send a frame once, on this connection only, and ignore its answer."""
        if self.welcome is not None:
            self.outbox.notify(frame)

    def watch(self, user_ids: Iterable[int]) -> None:
        """Watch these users and no others, on this connection and on later ones."""
        self._watched = pb.Watch(user_ids=user_ids)
        self.notify(pb.ClientFrame(watch=self._watched))

    def follow(self, chat_ids: Iterable[str], open_chat_ids: Iterable[str]) -> None:
        """Follow these channels and no others, on this connection and on later ones. Each time, `receive` yields
        Followed or NotFollowed."""
        self._follow = pb.Follow(chat_ids=chat_ids, open_chat_ids=open_chat_ids)
        self._send_follow()

    def begin(self, access_token: str, client_name: str) -> pb.ClientFrame:
        """Start on a new connection: return its first frame. Unanswered commands follow after the welcome."""
        self.end()
        self.outbox.begin()
        authenticate = pb.Authenticate(access_token=access_token, client_name=client_name)
        if self.position is not None:
            authenticate.last_position.CopyFrom(self.position)
        return pb.ClientFrame(authenticate=authenticate)

    def end(self) -> None:
        """End this connection's part of the session."""
        self.welcome = None

    def outgoing(self) -> list[pb.ClientFrame]:
        """Return the frames to send now, in order. Commands in flight stay within the server's limit. A command that is
        larger than its limit is refused here: the server would only close the connection."""
        if self.welcome is None:
            return []
        limits = self.welcome.limits
        limit = limits.max_frame_bytes

        def refuse(frame: pb.ClientFrame) -> Refused | None:
            if not limit or self._size_of(frame) <= limit:
                return None
            client_id = frame.send.client_message_id or frame.change.client_change_id
            return Refused("too_large", f"A frame may have {limit} bytes at most.", client_id=client_id)

        return self.outbox.take(limits.max_unanswered_sends or 1, refuse)

    # ---- received frames

    def receive(self, frame: pb.ServerFrame) -> Iterator[ClientEvent | Reconnect | Stop | RenewToken]:
        """Apply a frame: yield its events and instructions. Exhaust the iterator before the next frame.

        A missing `sequence` needs no action: the server drops only events, and sends a Gap after them.
        """
        match frame.WhichOneof("frame"):
            case "welcome":
                # The former connections ended before their first event: without a position, the server reports no Gap.
                is_anew = self.user_id != 0 and self.position is None
                yield self._welcomed(frame.welcome)
                if is_anew:
                    yield pb.Gap(since_ms=self.newest_ms, at_ms=self.server_ms())
            case "event":
                yield from self._event(frame.event)
            case "accepted":
                self._accepted(frame.accepted)
                yield from self._answer_of_follow()
            case "refused":
                self._refused(frame.refused)
                yield from self._answer_of_follow()
            case "channel_head":
                yield frame.channel_head
            case "expiring":
                yield RenewToken()
            case "gap":
                self._watch_again()  # signals may have been dropped too
                yield self._gap(frame.gap)
            case "reconnect":
                yield Reconnect("the gateway asked for it", after_ms=frame.reconnect.after_ms)
            case "moved":
                yield Reconnect("the sessions are elsewhere", moved=frame.moved)
            case "goodbye":
                yield _left(frame.goodbye)
            case _:  # a pong, or a frame of a newer server
                pass

    def _welcomed(self, welcome: pb.Welcome) -> Connected:
        self.welcome = welcome
        self.user_id = welcome.user_id
        self._replay_left = welcome.replayed
        if welcome.at_ms:
            if self._server_clock is None:
                self._opened_ms += welcome.at_ms - wall_clock_ms()
            self._server_clock = welcome.at_ms, self._now()
        if not welcome.replayed:
            self.position = welcome.position
        self._watch_again()
        self._send_follow()
        return Connected(welcome.session_id, welcome.replayed)

    def _watch_again(self) -> None:
        if self._watched is not None:
            self.notify(pb.ClientFrame(watch=self._watched))

    def _send_follow(self) -> None:
        if self._follow is not None and self.welcome is not None:
            frame = pb.ClientFrame(follow=self._follow)
            self.outbox.submit(frame, partial(self._note_answer, self._follow))

    def _note_answer(self, follow: pb.Follow, answer: pb.Accepted | Refused) -> None:
        if follow is not self._follow:
            return  # a newer one took its place in the outbox
        lists = tuple(follow.chat_ids), tuple(follow.open_chat_ids)
        if isinstance(answer, Refused):
            self._follow_answer = NotFollowed(answer, *lists)
        else:
            self._follow_answer = Followed(answer.at_ms, *lists)

    def _answer_of_follow(self) -> Iterator[Followed | NotFollowed]:
        answer, self._follow_answer = self._follow_answer, None
        if answer is not None:
            yield answer

    def _gap(self, gap: pb.Gap) -> pb.Gap:
        """Complete the Gap: its start is unknown to a server that does not hold the client's position any more, and its
        end is unknown to an older server."""
        if gap.HasField("position"):
            self.position = gap.position
        gap.since_ms = gap.since_ms or self.newest_ms
        gap.at_ms = gap.at_ms or max(self.newest_ms, self.server_ms())
        return gap

    def _event(self, event: pb.Event) -> Iterator[ClientEvent]:
        if event.HasField("position"):
            self._count(event)
        match event.WhichOneof("event"):
            case "message":
                if self.is_new(event):
                    yield event.message
            case "change":
                if self.is_new(event):
                    yield event
            case "typing":
                yield event.typing
            case "group_marks":
                yield event.group_marks
            case "presence":
                yield event.presence
            case "profile_changed":
                yield event.profile_changed
            case "people_changed":
                yield event.people_changed
            case _:  # of a newer server
                pass
        # The user's own event in a replay is not an answer: its gateway may have died before it wrote the other
        # copies. The retry writes them, and Accepted confirms it.

    def _count(self, event: pb.Event) -> None:
        """Note the position and the id of an event of the log. The position falls after the log was made again."""
        self.position = event.position
        self._newest_event_id = max(self._newest_event_id, event.event_id)
        if self._replay_left:
            self._replay_left -= 1
            if not self._replay_left and self.welcome is not None:
                self.position = self.welcome.position

    def is_new(self, event: pb.Event) -> bool:
        """Remember a message or a change; return whether it is the first of its id, and of its author with this client
        id."""
        if event.HasField("message"):
            return self._is_new(event.event_id, event.message.sender_id, event.message.client_message_id)
        return self._is_new(event.event_id, event.change.actor_id, event.change.client_change_id)

    def forget(self, event: ClientEvent) -> None:
        """Forget a message or a change that its reader did not get: `is_new` will be true again."""
        match event:
            case pb.Message():
                keys: Iterable[object] = (event.message_id, (event.sender_id, event.client_message_id))
            case pb.Event():
                keys = (event.event_id, (event.change.actor_id, event.change.client_change_id))
            case _:
                keys = ()
        for key in keys:
            self._seen.pop(key, None)

    def _accepted(self, accepted: pb.Accepted) -> None:
        is_awaited = self.outbox.finish(accepted.frame, accepted)
        if is_awaited and accepted.event_id:  # else its event is still to come: nobody has the answer
            self._is_new(accepted.event_id, self.user_id, accepted.client_id)

    def _refused(self, refused: pb.Refused) -> None:
        self.outbox.finish(
            refused.frame,
            Refused(
                refused.code,
                refused.message,
                field=refused.field,
                retryable=refused.retryable,
                retry_after_ms=refused.retry_after_ms,
                client_id=refused.client_id,
            ),
        )

    def _is_new(self, event_id: int, author_id: int, client_id: str) -> bool:
        is_new = self._remember(event_id)
        # Copies of one event have different ids if its gateway died between writing them: the first counts.
        return (not client_id or self._remember((author_id, client_id))) and is_new

    def _remember(self, key: object) -> bool:
        """Return whether the key is new."""
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > 2 * REMEMBERED_EVENTS:  # an event has two keys
            del self._seen[next(iter(self._seen))]
        return True


def _left(goodbye: pb.Goodbye) -> Reconnect | Stop:
    """The instruction of a Goodbye."""
    if goodbye.is_final:
        return Stop(Refused(goodbye.code, goodbye.message, field=goodbye.field))
    return Reconnect(
        goodbye.message or goodbye.code,
        after_ms=goodbye.retry_after_ms,
        token_rejected=goodbye.code == "unauthenticated",
    )
