"""A batch of events to record in Cassandra, and the reads that find its events that the store has already. Sans-I/O."""

from collections.abc import Iterable, Mapping, Sequence

from messaging.archive.store.cassandra.schema import BUCKET_BITS
from messaging.archive.store.laws import (
    DELETION,
    MARKS,
    check_change,
    check_control,
    counted_as,
    is_own,
    key_text,
    raised,
)
from messaging.archive.store.protocol import Logged
from rookery.v1.session_pb2 import Change, Event, Message
from shared.contract.changes import kind_of
from shared.contract.chats import is_chat

MAX_EVENT_BYTES = 1 << 20
"""Most bytes of an encoded message or change: a sixteenth of a node's limit for one write, far above the limit of a
gateway."""

MAX_KEY_BYTES = 65_000
"""Most bytes of a text in a row's key. Cassandra allows 65,535 bytes for the whole key, ids included."""

DEDUPE_BEHIND = 1 << 50
"""How far back from a retry, in ids, the first message of its send is certain to be found: 2^28 ms, 3.1 days. A retry
comes within seconds, and gateways find those; this is for a client that was off over a long weekend, and clients are
promised 3 days. Further back it is found within the same bucket only."""

DEDUPE_AHEAD = 1 << 44
"""The same distance forward, 70 minutes: a frozen gateway's message is recorded after its retry at another gateway."""

KEYS_PER_READ = 100
"""Keys in one read of sends, over all its chats. Each chat is also searched for the sends of the others, which is
cheaper than one read per chat for so few."""

MESSAGES_PER_READ = 20
"""Messages in one read over several chats. Each chat is also searched for the messages of the others."""

Send = tuple[str, int, str]
"""chat_id, author's id, client id: the same for a message or a change and its retries."""


class Batch:
    """The events of a batch, grouped by the tables that they are written to. Sans-I/O."""

    def __init__(self, events: Iterable[Logged]) -> None:
        """Raises ValueError for an invalid event."""
        self.changed: dict[str, int] = {}  # by chat_id, the highest event_id or late_id
        # The same of changes that count for one user only (private ones, marks in groups), by chat_id and user_id.
        self.changed_for: dict[tuple[str, int], int] = {}
        self.sends: dict[Send, Event] = {}  # of each send the first
        self.marks: dict[tuple[str, int], tuple[int, int]] = {}  # by chat_id and user_id: delivered, read
        self.late_ids: dict[int, int] = {}  # by event_id: see `add_late`
        self.controls: dict[str, dict[int, Message]] = {}  # by chat_id and version, of each version the first
        self._without_client_id: list[Event] = []
        for event, at_ms in events:
            match event.WhichOneof("event"):
                case "message":
                    message = event.message
                    if message.message_id < 1:
                        raise ValueError(f"message_id must be 1 or more, not {message.message_id}")
                    counted_id = self._counted_id(event.event_id, at_ms)
                    self._note_change(message.chat_id, counted_id)
                    if message.HasField("control") and not self._add_control(message, counted_id):
                        continue
                    self._add(event, message, message.sender_id, message.client_message_id)
                case "change":
                    self._add_change(event, event.change, self._counted_id(event.event_id, at_ms))
                case _:  # not stored
                    continue

    @property
    def events(self) -> Sequence[Event]:
        """The events to write, without marks."""
        return [*self.sends.values(), *self._without_client_id]

    def _add_control(self, message: Message, counted_id: int) -> bool:
        """Add a control change unless the batch has another one with its version; return whether it is added. A late
        one also counts for the members whom it changes: in the list of a former one, no later event of others does."""
        check_control(message)
        chat_id, control = message.chat_id, message.control
        _check_size("the name", control.settings.name.casefold())
        first = self.controls.setdefault(chat_id, {}).setdefault(control.version, message)
        if first.message_id != message.message_id:
            return False
        for member in control.members if counted_id > message.message_id else ():
            own = chat_id, member.user_id
            self.changed_for[own] = max(counted_id, self.changed_for.get(own, 0))
        return True

    def _add_change(self, event: Event, change: Change, counted_id: int) -> None:
        kind = kind_of(change)
        check_change(kind, change)
        if kind is not None and is_own(kind, change):
            own = _check_chat_id(change.chat_id), change.actor_id
            self.changed_for[own] = max(counted_id, self.changed_for.get(own, 0))
        else:
            self._note_change(change.chat_id, counted_id)
        if kind is MARKS:
            key = change.chat_id, change.actor_id
            self.marks[key] = raised(self.marks.get(key, (0, 0)), change)
            return
        if kind is not None:
            _check_size("the key", key_text(kind, change))
        self._add(event, change, change.actor_id, change.client_change_id)

    def _add(self, event: Event, content: Message | Change, author_id: int, client_id: str) -> None:
        if content.ByteSize() > MAX_EVENT_BYTES:
            name = event.WhichOneof("event")
            raise ValueError(f"the {name} must have {MAX_EVENT_BYTES} bytes at most, not {content.ByteSize()}")
        _check_size("the client id", client_id)
        if client_id:
            self.sends.setdefault((content.chat_id, author_id, client_id), event)
        else:
            self._without_client_id.append(event)

    def _counted_id(self, event_id: int, at_ms: int) -> int:
        """The id of the event, or of the time for which it counts if it is late."""
        if event_id < 1:
            raise ValueError(f"event_id must be 1 or more, not {event_id}")
        counted_id = counted_as(event_id, at_ms)
        if counted_id > event_id:
            self.late_ids[event_id] = counted_id
        return counted_id

    def _note_change(self, chat_id: str, event_id: int) -> None:
        newest = self.changed.get(chat_id)
        if newest is None:
            self.changed[_check_chat_id(chat_id)] = event_id
        elif event_id > newest:
            self.changed[chat_id] = event_id

    def send_reads(self) -> list[tuple[list[str], int, list[tuple[int, str]]]]:
        """The reads that find the first events of these sends: chats, a bucket, and sends in it."""
        wanted: dict[tuple[int, str], list[tuple[int, str]]] = {}  # by bucket and chat
        for (chat_id, author_id, client_id), event in self.sends.items():
            for bucket in buckets_around(event.event_id):
                wanted.setdefault((bucket, chat_id), []).append((author_id, client_id))
        reads: list[tuple[list[str], int, list[tuple[int, str]]]] = []
        for (bucket, chat_id), sends in sorted(wanted.items()):
            for start in range(0, len(sends), KEYS_PER_READ):
                some = sends[start : start + KEYS_PER_READ]
                last = reads[-1] if reads else None
                if last and last[1] == bucket and (len(last[0]) + 1) * (len(last[2]) + len(some)) <= KEYS_PER_READ:
                    last[0].append(chat_id)
                    last[2].extend(some)
                else:
                    reads.append(([chat_id], bucket, some))
        return reads

    def drop_retries(self, rows: Iterable[tuple[str, int, str, int]]) -> None:
        """Drop the events whose send has another event in the store. `rows` are the results of `send_reads`."""
        for chat_id, author_id, client_id, event_id in rows:
            event = self.sends.get((chat_id, author_id, client_id))
            if event is not None and event.event_id != event_id:
                del self.sends[chat_id, author_id, client_id]

    def drop_other_versions(self, chat_id: str, stored: Mapping[int, int]) -> None:
        """Drop the control changes of a group whose version another event has in the store. `stored` has the ids of
        stored events by version."""
        controls = self.controls[chat_id]
        dropped: set[int] = set()
        for version, message in list(controls.items()):
            if stored.get(version, message.message_id) != message.message_id:
                del controls[version]
                dropped.add(message.message_id)
        if dropped:
            self.sends = {send: event for send, event in self.sends.items() if event.event_id not in dropped}
            self._without_client_id = [each for each in self._without_client_id if each.event_id not in dropped]

    def newest_ids(self, *, sent: bool = False) -> Mapping[str, int]:
        """The newest message of each chat; `sent`: the newest one that is no control change."""
        newest: dict[str, int] = {}
        for event in self.events:
            if event.HasField("message") and not (sent and event.message.HasField("control")):
                chat_id = event.message.chat_id
                newest[chat_id] = max(newest.get(chat_id, 0), event.message.message_id)
        return newest

    def deletions(self) -> list[Change]:
        """The deletions, retries included."""
        return [event.change for event in self.events if event.HasField("change") and kind_of(event.change) is DELETION]


def bucket_of(snowflake: int) -> int:
    """The bucket of a message or of a change in its chat."""
    return snowflake >> BUCKET_BITS


def buckets_around(snowflake: int) -> set[int]:
    """The buckets, at most 3, in which the first event of a send is searched that is retried with this id."""
    behind = max(snowflake - DEDUPE_BEHIND, 0)
    return {bucket_of(behind), bucket_of(snowflake), bucket_of(snowflake + DEDUPE_AHEAD)}


def message_reads(messages: Iterable[tuple[str, int]]) -> list[tuple[list[str], int, list[int]]]:
    """The reads of messages, each given as chat_id and message_id: chats, a bucket, and ids in it. They may also find
    messages that are not wanted. The messages of a chat are in as few of them as possible, since each chat of a read is
    searched for all of its messages."""
    wanted: dict[int, list[tuple[str, int]]] = {}
    for chat_id, message_id in sorted(messages):
        wanted.setdefault(bucket_of(message_id), []).append((chat_id, message_id))
    reads: list[tuple[list[str], int, list[int]]] = []
    for bucket, each in wanted.items():
        for start in range(0, len(each), MESSAGES_PER_READ):
            some = each[start : start + MESSAGES_PER_READ]
            reads.append(([*{chat_id for chat_id, _ in some}], bucket, [message_id for _, message_id in some]))
    return reads


def _check_chat_id(chat_id: str) -> str:
    if not is_chat(chat_id):
        raise ValueError("chat_id is not that of a chat")
    return chat_id


def _check_size(name: str, text: str) -> None:
    if len(text) * 4 > MAX_KEY_BYTES and len(text.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"{name} must have {MAX_KEY_BYTES} bytes at most")
