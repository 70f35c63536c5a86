"""One client of a verification: it sends messages and changes until each is accepted, and records its deliveries."""

import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Protocol, cast

import trio

from rookery.client import (
    Api,
    CatchUp,
    ChannelHead,
    Chat,
    Client,
    Connected,
    Disconnected,
    Event,
    Followed,
    Gap,
    Member,
    Message,
    NotFollowed,
    Refused,
    State,
    TooOld,
    Unreachable,
    apply_change,
)
from rookery.client.catch_up import PAUSE
from rookery.verify.absences import Presence
from rookery.verify.feeds import WatchedFeed
from rookery.verify.files import ClientFiles
from rookery.verify.groups import Group
from rookery.verify.histories import read_chat, retry
from rookery.verify.pipeline import Command, Pipeline
from rookery.verify.plan import GROUP_EVERY, opens_channels
from rookery.verify.records import Copy, Delivery, FeedRead, Head, Key, Made, Place, Sent, place_of
from shared.contract.chats import direct_chat_id
from shared.contract.ids import first_id_at, time_of, wall_clock_ms

MENTIONS, FORWARDED = 5, 7
"""One message in this many mentions its recipient or members of its group, or is forwarded."""

CLOCK_MS = 2_000
"""Milliseconds by which the clocks of gateways may differ."""

MAX_WAITING = 500
"""Unanswered messages of one client at a rate: beyond these it falls behind."""


class Observer(Protocol):
    """Receives the answers and the deliveries of messages and changes."""

    def accepted(self, sent: Sent) -> None:
        """The message was accepted, or refused for good."""
        ...

    def made(self, made: Made) -> None:
        """The change was accepted, or refused for good."""
        ...

    def delivered(self, key: Key) -> None: ...


class Participant:
    """The messages and deliveries of one account, over all reconnects of its client."""

    def __init__(self, number: int, observer: Observer, clock: Callable[[], float] = trio.current_time) -> None:
        self.number = number
        self.sent: list[Sent] = []
        self.deliveries: list[Delivery] = []
        self.received_changes: list[tuple[Key, int]] = []
        """The key and the event id of each change of a message that arrived in the session."""
        self.states: dict[Place, State] = {}
        """The states of messages and chats."""
        self.answers: list[FeedRead] = []
        """The lists of chats and of changes that the client has read after Gaps, and of opened channels."""
        self.heads: list[Head] = []
        self.opens_channels = opens_channels(number)
        """Whether the client opens the channels that it follows."""
        self.newest: Counter[str] = Counter()
        """The id of the newest event that the client knows, by chat: from a session, a head or a list of changes."""
        self.refused = Counter[str]()
        """The refusals of messages, by code and message."""
        self.not_followed = Counter[str]()
        """The refusals of Follow by code."""
        self.unanswered = 0
        """The number of answers that did not arrive in time."""
        self.outages: list[tuple[float, float]] = []
        """The moments when the session was lost, and when it was live again."""
        self.gaps = 0
        self.gap_at = -math.inf
        """The moment of the last Gap: the session must have all that is sent later."""
        self.read_at_end: set[Key] = set()
        """The messages that had not arrived when the client read the rest from history at the end."""
        self.began_ms = 0
        """A moment before the first message of the run, in milliseconds since 1970."""
        self.lost_at: float | None = None
        """The moment when the session was lost; None while it is live, or while the client is away by itself."""
        self.presence = Presence()
        self._observer = observer
        self._clock = clock
        self._pipeline: Pipeline | None = None
        self._slots = trio.Semaphore(0)
        """Slots for messages in flight."""
        self._seen: set[Key | int] = set()
        self._read: set[Key | int] = set()
        """The part of `_seen` that was read after a Gap, and may arrive in the session too."""
        self._catch_up: CatchUp
        self._memberships: dict[str, Member] = {}
        """The newest membership of the user in each channel."""
        self._follows = 0
        self._followed_at: dict[str, float] = {}
        """When the newest Follow of each channel was accepted in the present session."""
        self._opened_ms: Counter[str] = Counter()
        """When the newest Follow of each open channel was accepted, in milliseconds since 1970."""
        self._complete: Counter[str] = Counter()
        """The id up to which the client has read all events of each opened channel."""
        self._reading = trio.Lock()
        """The lock of the task that reads an opened channel: the others wait with it while there is no answer."""

    # ---- sending

    async def run_pipeline(self, client: Client, *, task_status: trio.TaskStatus[None]) -> None:
        """Send the messages and changes of the pipeline, until cancelled."""
        self._pipeline = Pipeline(client, self._answered, self._count_retry)
        task_status.started()
        await self._pipeline.run()

    async def send_all(
        self,
        client: Client,
        run_id: str,
        recipients: Sequence[int],
        groups: Sequence[Group],
        files: ClientFiles,
        moments: AsyncGenerator[None, None],
        size: int,
        in_flight: int,
    ) -> None:
        """Send a message at each moment, to the recipients and the groups in turn, some with files. Return once all
        have an answer."""
        assert self._pipeline is not None  # noqa: S101 - for the type checker
        self._slots = trio.Semaphore(in_flight)
        async with aclosing(moments):
            async for _ in moments:
                await self._slots.acquire()
                number = len(self.sent)
                recipient, partner = recipients[number % len(recipients)], 0
                chat_id, mentioned = direct_chat_id(client.me.user_id, recipient), recipient
                if group := self._group(number, groups, client.me.user_id):
                    recipient, chat_id, mentioned = 0, group.chat_id, group.mentioned_by(client.me.user_id)
                    partner = group.partner_of(client.me.user_id)
                key = f"{run_id}-{self.number}-{number}"
                mentions = () if number % MENTIONS else (mentioned,)
                text = f"{key} {'@you ' if mentions else ''}".ljust(size, "·" if number % 2 else ".")
                at, at_ms = self._clock(), wall_clock_ms()
                sent = Sent((client.me.user_id, key), chat_id, recipient, text, number, at=at, at_ms=at_ms)
                sent.mentions, sent.forwarded, sent.partner_id = mentions, not number % FORWARDED, partner
                sent.files = files.next(number, to_group=not recipient)
                self.sent.append(sent)
                self._pipeline.put(sent)
            for _ in range(in_flight):
                await self._slots.acquire()

    @staticmethod
    def _group(number: int, groups: Sequence[Group], user_id: int) -> Group | None:
        """Return the group to which the message of this number goes; None if it is a direct one."""
        turn, is_direct = divmod(number, GROUP_EVERY)
        group = None if is_direct or not groups else groups[turn % len(groups)]
        return group if group is not None and user_id in group.present else None

    def has(self, key: Key) -> bool:
        """Whether the message or the change has arrived, in the session or from history."""
        return key in self._seen

    def put_change(self, made: Made) -> None:
        """Make the change behind the messages and changes before it."""
        assert self._pipeline is not None  # noqa: S101 - for the type checker
        self._pipeline.put(made)

    def _answered(self, command: Command) -> None:
        if isinstance(command, Sent):
            self._slots.release()
            self._observer.accepted(command)
        else:
            if command.event is not None:
                self._apply(command.event)
            self._observer.made(command)

    def _count_retry(self, command: Command, reason: Refused | Unreachable) -> None:
        if not isinstance(command, Sent):
            return
        if isinstance(reason, Refused):
            self._count_refusal(reason)
        else:
            self.unanswered += 1

    def _count_refusal(self, refused: Refused) -> None:
        """Count it by its message too, without numbers such as of seconds: sends are refused as `unavailable` for many
        reasons."""
        self.refused[f"{refused.code}: {re.sub('[0-9]+', '#', refused.message)}"] += 1

    # ---- receiving

    async def listen(self, client: Client) -> None:
        """Record events, until cancelled."""
        feed = WatchedFeed(client.api, self.answers)
        note_chat = partial(self._note_chat, client)
        self._catch_up = CatchUp(cast(Api, feed), lambda event: True, note_chat=note_chat)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._catch_up.begin)
            try:
                async for event in client.events():
                    match event:
                        case Message():
                            self._receive_live(client.me.user_id, Copy.of(event))
                            if self._follow(client, event):
                                nursery.start_soon(self._read_opened, client, event.chat_id, time_of(event.message_id))
                        case Followed():
                            self._follows += 1
                            self._followed_at |= dict.fromkeys(event.chat_ids, self._clock())
                            for chat_id in event.open_chat_ids:
                                self._opened_ms[chat_id] = event.at_ms
                                nursery.start_soon(self._read_opened, client, chat_id, event.at_ms)
                        case NotFollowed():
                            self.not_followed[event.refused.code] += 1
                            nursery.start_soon(self._follow_again, client, event.refused)
                        case ChannelHead():
                            self.heads.append(Head(event.chat_id, event.newest_id, self._clock(), self._follows))
                            self._know(event.chat_id, event.newest_id)
                        case Event() if not event.change.HasField("marked"):
                            self._receive_change(event)
                        case Gap():
                            self.gaps += 1
                            self.gap_at = self._clock()
                            for chat_id in self._opened_ms:
                                nursery.start_soon(self._read_opened, client, chat_id, event.at_ms)
                            nursery.start_soon(self._read_missed, client, self._catch_up, event)
                        case Disconnected():
                            self._followed_at.clear()
                            self.lost_at = None if self.presence.is_away else self._clock()
                        case Connected():
                            self._record_connection()
                        case _:
                            pass
            except Refused as error:
                self._count_refusal(error)

    def _record_connection(self) -> None:
        self.presence.is_away = False
        if self.lost_at is not None:
            self.outages.append((self.lost_at, self._clock()))
            self.lost_at = None

    def _receive_live(self, user_id: int, copy: Copy) -> None:
        # The client drops repetitions in its session: a failure of that must be recorded, so nothing is dropped here.
        if not self._read & {copy.key, copy.message_id}:
            self._record(user_id, copy, is_live=True)

    def _receive_change(self, event: Event) -> None:
        key = event.change.actor_id, event.change.client_change_id
        self.received_changes.append((key, event.event_id))
        self._seen.add(key)
        self._know(event.change.chat_id, event.event_id)
        self._apply(event)
        self._observer.delivered(key)

    def _apply(self, event: Event) -> None:
        apply_change(self.states.setdefault(place_of(event.change), {}), event)

    def _record(self, user_id: int, copy: Copy, *, is_live: bool) -> None:
        self._seen |= {copy.key, copy.message_id}
        self._know(copy.chat_id, copy.message_id)
        has_order = time_of(copy.message_id) > self._opened_ms[copy.chat_id] + CLOCK_MS
        self.deliveries.append(Delivery(copy, self._clock(), self.gaps, is_live, has_order))
        if copy.key[0] != user_id:
            self._observer.delivered(copy.key)

    def _know(self, chat_id: str, event_id: int) -> None:
        self.newest[chat_id] = max(self.newest[chat_id], event_id)

    # ---- channels

    def _follow(self, client: Client, message: Message) -> bool:
        """Follow a channel once a control change has made the client's user a member. Return whether it has removed the
        user from an open one: the session may have lost the Follow some events before."""
        if not message.control.settings.is_channel and message.chat_id not in self._memberships:
            return False
        own = next((member for member in message.control.members if member.user_id == client.me.user_id), None)
        if own is None:
            return False
        self._note_member(client, message.chat_id, own)
        return not own.role and message.chat_id in self._opened_ms

    def _note_chat(self, client: Client, chat: Chat) -> None:
        """Follow a channel of which the client's user has become a member without a control change in the session."""
        if chat.settings.is_channel:
            self._note_member(client, chat.chat_id, chat.own)

    def _note_member(self, client: Client, chat_id: str, member: Member) -> None:
        known = self._memberships.get(chat_id)
        if known is None or known.version < member.version:
            self._memberships[chat_id] = member
            if not member.role:  # a removal ends the following
                self._followed_at.pop(chat_id, None)
            else:
                # The archive may have recorded late that the user joined, and returned no later events until then.
                self._complete[chat_id] = min(self._complete[chat_id], member.spans[-1].first - 1)
                self._send_follow(client)

    def _send_follow(self, client: Client) -> None:
        followed = [chat_id for chat_id, member in self._memberships.items() if member.role]
        client.follow(followed, followed if self.opens_channels else ())

    async def _follow_again(self, client: Client, refused: Refused) -> None:
        """Follow after a refusal: of a channel that the user has left, or that a gateway can't read now."""
        await trio.sleep(max(PAUSE, refused.retry_after_ms / 1000))
        self._send_follow(client)

    def behind_until(self, chat_id: str) -> float:
        """The moment up to which the session may lack events of a channel: after a Gap, that of the Follow in the
        present session, without a Follow infinity."""
        return max(self.gap_at, self._followed_at.get(chat_id, math.inf)) if self.gaps else -math.inf

    async def _read_opened(self, client: Client, chat_id: str, at_ms: int, *, is_last: bool = False) -> None:
        """Record the events from before a Follow was accepted, or those that a Gap reports as missing, as
        docs/client-guide.md describes it. Later ones must arrive in the session, and are not recorded here, unless a
        later Follow reads them: the session may end."""
        limit = first_id_at(at_ms + CLOCK_MS)
        feed = WatchedFeed(client.api, self.answers, is_last=is_last)
        while True:
            async with self._reading:
                known = self._complete[chat_id]
                answer = await retry(feed.changes, chat_id, after=known or first_id_at(self.began_ms))
            if answer is not None:  # the new member is known
                if answer.too_old:
                    await self._read_anew(client, chat_id)
                for event in answer.events:
                    if event.event_id <= limit:
                        if is_last:
                            self._note_rest(event)
                        self._record_missed(client, event.message if event.HasField("message") else event)
                if self._complete[chat_id] == known:  # else it was read, or is to be read again, by another task
                    self._complete[chat_id] = max(known, min(answer.complete_up_to, limit))
                if time_of(answer.complete_up_to) >= at_ms:
                    return
            await trio.sleep(PAUSE)

    # ---- after a Gap

    async def _read_missed(self, client: Client, catch_up: CatchUp, gap: Gap) -> None:
        """Record the events that are missing after a Gap, as the Python client reads them."""
        async with aclosing(catch_up.events(gap)) as events:
            async for event in events:
                match event:
                    case TooOld():
                        await self._read_anew(client, event.chat_id)
                    case ChannelHead():  # the answer is recorded: the client knows that the channel has changed
                        pass
                    case _:
                        self._record_missed(client, event)

    def _record_missed(self, client: Client, event: Message | Event) -> None:
        if isinstance(event, Message):
            self._record_read(client.me.user_id, Copy.of(event))
            self._follow(client, event)
        else:
            self._seen.add((event.change.actor_id, event.change.client_change_id))
            self._apply(event)

    async def _read_anew(self, client: Client, chat_id: str) -> None:
        """Record the whole chat, in place of a list of changes that would be too long."""
        if chat := await retry(client.api.chat, chat_id):
            for change in chat.changes:
                self._apply(change)
        for copy in await read_chat(client, chat_id, self.began_ms):
            for change in copy.changes:
                self._apply(change)
            self._record_read(client.me.user_id, copy)

    async def read_rest(self, client: Client) -> None:
        """Record the missing events once everything is recorded: read once more from the client's last event."""
        rest = CatchUp(cast(Api, WatchedFeed(client.api, self.answers, is_last=True)), self._note_rest)
        rest.listed_up_to, rest.after = self._catch_up.listed_up_to, dict(self._catch_up.after)
        await self._read_missed(client, rest, Gap())
        for chat_id in self._memberships if self.opens_channels else ():  # also if no Follow was accepted in time
            await self._read_opened(client, chat_id, wall_clock_ms(), is_last=True)

    def _note_rest(self, event: Event) -> bool:
        if event.HasField("message") and (key := Copy.of(event.message).key) not in self._seen:
            self.read_at_end.add(key)
        return True

    def _record_read(self, user_id: int, copy: Copy) -> None:
        # A client learns of its own messages by their answers.
        if copy.key[0] != user_id and not self._seen & {copy.key, copy.message_id}:
            self._read |= {copy.key, copy.message_id}
            self._record(user_id, copy, is_live=False)
