"""The files of a verification: each client uploads some, sends and forwards them. At the end all who may read a file
compare its bytes, and some who may not try to."""

import hashlib
import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count, islice
from random import Random

import trio

from rookery.client import Client, FileRef, Refused, RookeryError
from rookery.client.backoff import Backoff
from rookery.load.sessions import for_each
from rookery.verify.changes import Expected
from rookery.verify.histories import wait_after
from rookery.verify.membership import Membership
from rookery.verify.plan import GROUP_EVERY
from rookery.verify.records import FileRead, Records, Sent, SentFile
from shared.contract.chats import direct_members

READY = 2
"""Files that a client has uploaded before it sends them."""

SMALL_BYTES = 60_000
"""Most bytes of most files."""

LARGE_EVERY, LARGE_BYTES = 20, 9 << 20
"""One file of a client in this many is larger: it has two parts. Such files are sent to one user, not to groups."""

AGAIN_EVERY = 4
"""One message with a file in this many has the client's previous file once more."""

MAX_READS, MAX_TRIES = 3_000, 100
"""Readings of files that are compared, and that must be refused: a server repeats a look-up of a new message for 3 s
before it refuses."""

READS_AT_ONCE, TRIES_AT_ONCE = 8, 50

ANSWER_SECONDS = 30.0
"""Seconds in which a running server answers, repetitions included."""


class ClientFiles:
    """The files of one client: it uploads them one after the other, and sends them as its messages are due."""

    def __init__(self, client: Client, prefix: str, percent: float, offset: int) -> None:
        """`percent` of the client's messages have a file, if one is uploaded by then. The `offset` differs for
        each client, so that not all of them send one at once."""
        self.failures: list[str] = []
        """Uploads that were refused for good."""
        self._client = client
        self._prefix = prefix
        self._percent = percent
        self._offset = offset
        self._to_send, self._uploaded = trio.open_memory_channel[SentFile](READY)
        self._waiting = deque[SentFile](maxlen=READY)
        """Files of others that it forwards, and its own files that were not for a group."""
        self._last: SentFile | None = None

    async def upload_all(self) -> None:
        """Upload files, as many as are sent, until cancelled, or until one is refused for good."""
        for number in count(self._offset):
            name = f"{self._prefix}-f{number}"
            content = content_of(name, is_large=not (number + 1) % LARGE_EVERY)
            if (file := await self._upload(name, content)) is None:
                return
            await self._to_send.send(file)

    def forward(self, sent: Sent) -> None:
        """Send the files of a message, which another client has sent to this one, in later messages."""
        for file in sent.files:
            ref = FileRef(file_id=file.ref.file_id, chat_id=sent.chat_id, message_id=sent.message_id)
            self._waiting.append(SentFile(ref, file.owner_id, file.size, file.digest))

    def next(self, number: int, *, to_group: bool) -> Sequence[SentFile]:
        """Return the files of the client's message of this number."""
        turn = self._offset + (number // GROUP_EVERY if to_group else number)
        before, after = (int(each * self._percent / 100) for each in (turn, turn + 1))
        file = None if after == before else self._take(is_again=after % AGAIN_EVERY == 0)
        if file is not None and to_group and file.size > SMALL_BYTES:
            self._waiting.append(file)
            return ()
        return () if file is None else (file,)

    def _take(self, *, is_again: bool) -> SentFile | None:
        if self._waiting:
            return self._waiting.popleft()
        if not is_again or self._last is None:
            try:
                self._last = self._uploaded.receive_nowait()
            except trio.WouldBlock:
                return None
        return self._last

    async def _upload(self, name: str, content: bytes) -> SentFile | None:
        backoff = Backoff(trio.current_time())
        while True:
            try:
                file = await self._client.files.upload(content, name=name, client_file_id=name)
                break
            except RookeryError as failure:
                if isinstance(failure, Refused) and not failure.retryable:
                    self.failures.append(f"{name} of {self._client.me.user_id} was refused: {failure.code}, {failure}")
                    return None
                await wait_after(failure, backoff)
        ref, digest = FileRef(file_id=file.file_id), hashlib.sha256(content).hexdigest()
        return SentFile(ref, self._client.me.user_id, len(content), digest)


def content_of(name: str, *, is_large: bool) -> bytes:
    """Return the bytes of a file, of no known type."""
    source = Random(name)  # noqa: S311 - guards nothing
    return b"verify\0\xff" + source.randbytes(LARGE_BYTES if is_large else source.randrange(SMALL_BYTES))


def due_reads(records: Records, everyone: Sequence[int], users: Mapping[str, Collection[int]]) -> Iterator[FileRead]:
    """Yield the readings of the files of all accepted messages: by all who were members of its chat at some time, which
    are the `users` of a group, and by a stranger. Not of a message that may be deleted or not, and not by the owner of
    a file, who may read it anyway, unless the message allows it."""
    membership = Membership(records)
    expected = Expected(records.made, membership)
    for number, sent in enumerate(each for each in records.sent.values() if each.is_accepted and each.files):
        chat_id, message_id = sent.chat_id, sent.message_id
        is_deleted = expected.is_deleted(message_id)
        if sent.may_be_deleted and not is_deleted:
            continue
        members = users.get(chat_id) or direct_members(chat_id) or ()
        start = number % len(everyone)
        strangers = (each for each in (*everyone[start:], *everyone[:start]) if each not in members)
        for file in sent.files:
            ref = FileRef(file_id=file.ref.file_id, chat_id=chat_id, message_id=message_id)
            for user_id in (*members, *islice(strangers, 1)):
                is_reader = user_id in members and membership.allows(chat_id, user_id, message_id)
                if is_reader and not is_deleted:
                    yield FileRead(user_id, sent.key, ref, file.digest)
                elif user_id != file.owner_id:
                    yield FileRead(user_id, sent.key, ref, "")


async def read_files(reads: Sequence[FileRead], clients: Mapping[int, Client], deadline: float) -> Sequence[FileRead]:
    """Return the readings with their results: of MAX_READS files and MAX_TRIES at most, and none that would begin after
    the deadline (on Trio's clock). One without an answer until the deadline, and for ANSWER_SECONDS, has no result."""

    async def read(each: FileRead) -> FileRead | None:
        now = trio.current_time()
        return None if now > deadline else await _read(each, clients[each.user_id], max(deadline, now + ANSWER_SECONDS))

    done: list[FileRead | None] = []
    for may_read, limit, at_once in (False, MAX_TRIES, TRIES_AT_ONCE), (True, MAX_READS, READS_AT_ONCE):
        due = [each for each in reads if bool(each.expected) == may_read]
        done += await for_each(read, due[:: max(1, math.ceil(len(due) / limit))], at_once=at_once)
    return [each for each in done if each is not None]


async def _read(read: FileRead, client: Client, deadline: float) -> FileRead:
    backoff = Backoff(trio.current_time())
    with trio.CancelScope(deadline=deadline):
        while True:
            try:
                digest = hashlib.sha256()
                async with client.files.download(read.ref) as chunks:
                    async for chunk in chunks:
                        digest.update(chunk)
                return read.answered(digest.hexdigest())
            except RookeryError as failure:
                if isinstance(failure, Refused) and not failure.retryable:
                    return read.answered("")
                await wait_after(failure, backoff)
    return read
