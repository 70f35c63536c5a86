"""Follows the user's channels, and reads what is missing of the open ones, as docs/client-guide.md describes it."""

import re
from collections.abc import Callable

import trio

from rookery.client.catch_up import PAGE, PAUSE, repeat
from rookery.client.core import ClientEvent, Connected, Followed, NotFollowed, Session, TooOld
from rookery.client.errors import Refused, Unreachable
from rookery.client.events import EventQueue
from rookery.client.http import Api
from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import Chat, ListChangesResponse
from rookery.v1.groups_pb2 import Control, Member
from shared.contract.ids import time_of
from shared.contract.sessions import MAX_FOLLOWED, MAX_OPEN

OPEN_DEADLINE = 30.0
"""Seconds that `open` waits, over reconnects: long enough for another gateway to take over."""

RECORDED_PAUSE = 0.5
"""Seconds between two requests while history does not have a channel yet that a gateway knows."""

READ_AGAIN_EVENTS = 500
"""Received events of an open channel after which its changes are read, although none is known to be missing. So fewer
than the 1,000 that the server returns are to be read after a reconnect."""

READ_AGAIN_SECONDS = 3600.0
"""The same after this time, about."""

INDEX = re.compile(r"follow\.(open_)?chat_ids\[(\d+)\]")
"""The field of a refusal that concerns one channel."""


class _Opened:
    """A channel that is open."""

    def __init__(self, refused: Refused | None) -> None:
        """`refused` is the end of the sign-in, if it has ended."""
        self.answered = trio.Event()
        """Set once the server has accepted or refused to open it."""
        self.refused = refused
        self.ready = trio.Event()
        """Set once `after` is known."""
        self.settled = trio.Event()
        """Set once it is ready, or closed."""
        self.after = 0
        """All its events up to this id were received, or are in history."""
        self.until_ms = 0
        """Some of its events up to this time, in milliseconds since 1970, may be missing."""
        self.received = 0
        """Events since the last reading."""
        self.is_live = False
        """Whether the newest connection has it open."""
        self.newest_id = 0
        """Of its events from that connection since then; 0 before the first."""
        self.read_at = trio.current_time()

    def check(self, deadline: float) -> None:
        """Raise the refusal, or Unreachable if the channel is not ready after so many seconds."""
        if self.refused is not None:
            raise self.refused
        if not self.ready.is_set():
            raise Unreachable(f"no answer within {deadline:g} s")

    @property
    def was_given_up(self) -> bool:
        """Whether it was closed before it was ready, for another reason than a refusal of the server."""
        return self.settled.is_set() and not self.ready.is_set() and self.refused is None

    @property
    def is_behind(self) -> bool:
        """Whether events may be missing."""
        return self.ready.is_set() and time_of(self.after) < self.until_ms

    @property
    def is_due(self) -> bool:
        """Whether the changes are to be read although no event is known to be missing."""
        is_old = trio.current_time() >= self.read_at + READ_AGAIN_SECONDS
        return self.ready.is_set() and (is_old or self.received >= READ_AGAIN_EVENTS)


class Channels:
    """The channels of the user. The newest 200 are followed: `Client.events` has a ChannelHead when one has new events,
    and the events that concern the user: own ones, mentions, and control changes about them. Of an open channel it has
    all events."""

    def __init__(self, api: Api, session: Session, queue: EventQueue, wake: Callable[[], None]) -> None:
        """`wake` sends the frames of the session that wait."""
        self._api = api
        self._session = session
        self._queue = queue
        self._wake = wake
        self._followed: dict[str, None] = {}  # the newest last
        self._open: dict[str, _Opened] = {}
        self._versions: dict[str, int] = {}  # by chat, of the newest change of the user
        self._ended: Refused | None = None
        self._pause = 0.0  # seconds, until the next Follow
        self._stale = trio.Event()  # the session does not follow these channels yet
        self._answered = trio.Event()  # the newest Follow
        self._behind = trio.Event()  # an open channel may be

    async def open(self, chat_id: str, *, after: int = 0, deadline: float = OPEN_DEADLINE) -> None:
        """Get all events of a channel from now on: each once, over all reconnects, until `close`. 20 at most are open.

        Once this returns, the history that is read afterwards and `Client.events` have every event together. An event
        that history records late is in `Client.events` some seconds later; so are events from the seconds before the
        call. Events of one channel may come in any order of their ids. TooOld replaces more than 1,000 missing ones.

        With `after`, a `complete_up_to` of an earlier answer about this channel, all events after that id come too.
        If the user is removed and added again, the channel is open again.

        Raises Refused: `not_found` for a channel of which the user is no member, `invalid` for a chat that is no
        channel; Unreachable without an answer within `deadline` seconds; SignedOut; ValueError if 20 channels are open.
        """
        give_up_at = trio.current_time() + deadline
        while opened := self._open.get(chat_id):
            with trio.move_on_at(give_up_at):
                await opened.settled.wait()
            if not opened.was_given_up:
                opened.check(deadline)
                return  # else another call gave up, or it was closed: this call opens it
        if len(self._open) >= MAX_OPEN:
            raise ValueError(f"a session may have {MAX_OPEN} channels open")
        opened = self._open[chat_id] = _Opened(self._ended)
        try:
            with trio.move_on_at(give_up_at):
                await self._start(chat_id, opened, after)
            opened.check(deadline)
        except BaseException:  # trio.Cancelled too: only to close the channel; raised again
            if self._open.get(chat_id) is opened:  # else it was closed, and perhaps opened again
                self.close(chat_id)
            raise

    def close(self, chat_id: str) -> None:
        """Get a ChannelHead in place of all events again. Return at once; some events may still come."""
        if opened := self._open.pop(chat_id, None):
            opened.settled.set()
            self._stale.set()

    def is_open(self, chat_id: str) -> bool:
        return chat_id in self._open

    @property
    def followed(self) -> tuple[str, ...]:
        """The followed channels, the open ones included. A group to which the user was just added may be among them."""
        return tuple(self._followed)

    # ---- for the client

    async def run(self) -> None:
        """Follow the channels, and read what is missing of the open ones, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_following)
            nursery.start_soon(self._read_missing)
            await self._list()

    def note(self, event: ClientEvent | Refused) -> None:
        """Note an event of the session, or the refusal that has ended the sign-in."""
        match event:
            case pb.Message():
                self._count(event.chat_id, event.message_id)
                if event.HasField("control"):
                    self._apply(event.chat_id, event.control)
            case pb.Event():
                self._count(event.change.chat_id, event.event_id)
            case Connected():
                for opened in self._open.values():
                    opened.is_live, opened.newest_id = False, 0
            case pb.Gap():
                self._expect(event.at_ms, *self._open)
            case Followed():
                self._expect(event.at_ms, *event.open_chat_ids)
                for chat_id, opened in self._open.items():
                    opened.is_live = chat_id in event.open_chat_ids
                    if opened.is_live:
                        opened.answered.set()
                self._answered.set()
            case NotFollowed():
                self._refused(event)
                self._answered.set()
            case Refused():
                self._ended = event
                for opened in self._open.values():
                    opened.refused = event
                    opened.answered.set()
            case _:
                pass

    def note_chat(self, chat: Chat) -> None:
        """Follow a chat of the user's list, if it is a channel and the user is a member."""
        if _is_own_channel(chat):
            self._follow(chat.chat_id)

    # ---- followed channels

    async def _list(self) -> None:
        """Follow the newest channels of the user's list."""
        channels: list[Chat] = []
        moved: list[Chat] = []
        try:
            first = page = await repeat(self._api.chats, limit=PAGE)
            channels += filter(_is_own_channel, page.chats)
            while page.next_cursor and len(channels) < MAX_FOLLOWED:
                page = await repeat(self._api.chats, limit=PAGE, cursor=page.next_cursor)
                channels += filter(_is_own_channel, page.chats)
            if page is not first:  # a chat that changed meanwhile may have moved to a page that was read already
                since_ms = time_of(first.complete_up_to)
                changed = await repeat(self._api.chats, changed_since_ms=since_ms, limit=PAGE)
                moved += filter(_is_own_channel, changed.chats)
        except Refused:  # the sign-in has ended
            return
        newest = dict.fromkeys(channel.chat_id for channel in [*moved, *channels])
        for chat_id in reversed([*newest][:MAX_FOLLOWED]):
            self._follow(chat_id)

    def _apply(self, chat_id: str, control: Control) -> None:
        """Follow a channel that the user joins, or that a group of theirs becomes, until they leave. Control changes
        may come in any order: an older one than the newest that changed the user has no effect."""
        me = self._api.me.user_id
        own = next((member for member in control.members if member.user_id == me), None)
        if control.version < self._versions.get(chat_id, 0):
            return
        if own is not None:
            self._versions[chat_id] = control.version
            self._read_span(chat_id, own)
        if own is not None and not own.role:
            self._unfollow(chat_id)
        elif control.HasField("settings"):
            if control.settings.is_channel:
                self._follow(chat_id)
        elif own is not None and not own.former_role:
            self._follow(chat_id)  # the server refuses a group that is no channel

    def _follow(self, chat_id: str) -> None:
        if chat_id in self._followed:
            return
        if len(self._followed) >= MAX_FOLLOWED:
            del self._followed[next(each for each in self._followed if each not in self._open)]
        self._followed[chat_id] = None
        self._stale.set()

    def _read_span(self, chat_id: str, own: Member) -> None:
        """Read an open channel again from where the user joined it: the archive may have recorded that late, and have
        returned no events from after it until then."""
        opened = self._open.get(chat_id)
        if own.role and opened is not None and opened.ready.is_set() and own.spans:
            opened.after = min(opened.after, own.spans[-1].first - 1)
            self._expect(self._session.server_ms(), chat_id)

    def _unfollow(self, chat_id: str) -> None:
        if chat_id in self._followed:
            del self._followed[chat_id]
            self._stale.set()
            self._expect(self._session.server_ms(), chat_id)  # events of before may be missing

    async def _keep_following(self) -> None:
        """Send the channels whenever they change, one Follow after the other. The session repeats it by itself after a
        reconnect."""
        while True:
            await self._stale.wait()
            await trio.sleep(self._pause)
            self._stale, self._answered, self._pause = trio.Event(), trio.Event(), 0.0
            self._session.follow(self._followed, [each for each in self._open if each in self._followed])
            self._wake()
            await self._answered.wait()

    def _refused(self, event: NotFollowed) -> None:
        """Follow the other channels, or the same ones later if a retry makes sense."""
        refused = event.refused
        if refused.retryable:
            self._pause = max(refused.retry_after_ms / 1000, RECORDED_PAUSE)
            self._stale.set()
            return
        chat_ids = event.chat_ids
        if concerned := INDEX.fullmatch(refused.field):
            listed = event.open_chat_ids if concerned[1] else chat_ids
            chat_ids = listed[int(concerned[2]) :][:1]
        for chat_id in chat_ids:
            self._unfollow(chat_id)
            opened = self._open.get(chat_id)
            if opened is not None and not opened.answered.is_set():
                opened.refused = refused
                opened.answered.set()

    # ---- missing events of open channels

    async def _start(self, chat_id: str, opened: _Opened, after: int) -> None:
        if opened.refused is None:
            self._follow(chat_id)
            self._stale.set()
            await opened.answered.wait()
        if opened.refused is None:
            opened.after = after or await self._complete_up_to(chat_id, is_new=True)
            opened.ready.set()
            opened.settled.set()
            self._behind.set()

    async def _complete_up_to(self, chat_id: str, *, is_new: bool = False) -> int:
        """Return the id up to which history has all events of a channel: wait until it knows the id, and until it has
        the channel if that `is_new`, since a gateway may know a channel before. Raises Refused."""
        while True:
            try:
                page = await repeat(self._api.history, chat_id, limit=1)
                if page.complete_up_to:
                    return page.complete_up_to
            except Refused as refused:
                if refused.code != "not_found" or not is_new:
                    raise
            await trio.sleep(RECORDED_PAUSE)

    def _count(self, chat_id: str, event_id: int) -> None:
        opened = self._open.get(chat_id)
        if opened is not None:
            opened.received += 1
            if opened.is_live:
                opened.newest_id = max(opened.newest_id, event_id)
            if opened.received == READ_AGAIN_EVENTS:
                self._behind.set()

    def _expect(self, until_ms: int, *chat_ids: str) -> None:
        """Events of these channels up to a time may be missing."""
        for chat_id in chat_ids:
            if chat_id in self._open:
                self._open[chat_id].until_ms = max(self._open[chat_id].until_ms, until_ms)
                self._behind.set()

    async def _read_missing(self) -> None:
        """Read the changes of open channels while some may be missing, and now and then."""
        pause = READ_AGAIN_SECONDS
        while True:
            with trio.move_on_after(pause):
                await self._behind.wait()
            self._behind = trio.Event()
            for chat_id, opened in list(self._open.items()):
                if opened.is_behind or opened.is_due:
                    await self._queue.wait_for_room()
                    await self._read(chat_id, opened)
            pause = PAUSE if any(opened.is_behind for opened in self._open.values()) else READ_AGAIN_SECONDS

    async def _read(self, chat_id: str, opened: _Opened) -> None:
        """Publish the events after `after` that the client does not have, and raise `after` if there was room."""
        opened.received, opened.read_at, after = 0, trio.current_time(), opened.after
        try:
            answer = await repeat(self._api.changes, chat_id, after=after)
            # History is read before TooOld is published: the pages that the reader requests then are not older.
            complete_up_to = await self._complete_up_to(chat_id) if answer.too_old else answer.complete_up_to
        except Refused:  # until the channel is followed again
            opened.until_ms = 0
            return
        if self._open.get(chat_id) is not opened:
            return
        if answer.too_old and not opened.is_behind:
            if opened.newest_id > complete_up_to:  # the session has brought all events up to there
                opened.after = max(after, complete_up_to)
            return
        if not self._publish_missing(chat_id, answer):
            self._expect(self._session.server_ms(), chat_id)  # it is read again once there is room
            return
        if opened.after == after:  # else more is to be read, since the user has joined meanwhile
            opened.after = max(after, complete_up_to)

    def _publish_missing(self, chat_id: str, answer: ListChangesResponse) -> bool:
        """Publish the events that the client does not have, or TooOld. Return whether there was room for all."""
        if answer.too_old:
            return self._queue.put(TooOld(chat_id), self._session.newest_ms)
        return all(self._publish(event) for event in answer.events if self._session.is_new(event))

    def _publish(self, event: pb.Event) -> bool:
        """Return whether there was room for the event. It may be the control change that makes the user a member."""
        published = event.message if event.HasField("message") else event
        if event.message.HasField("control"):
            self._apply(event.message.chat_id, event.message.control)
        has_room = self._queue.put(published, self._session.newest_ms)
        if not has_room:
            self._session.forget(published)
        return has_room


def _is_own_channel(chat: Chat) -> bool:
    """Whether the chat is a channel of which the user is a member."""
    return chat.settings.is_channel and bool(chat.own.role)
