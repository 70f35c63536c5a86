"""Reads groups in Cassandra: as a user sees them, their members, and their marks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from messaging.archive.store.cassandra.group_rows import INVITES, SHARD, end_of
from messaging.archive.store.cassandra.heads import Heads
from messaging.archive.store.protocol import Membership
from rookery.v1.archive_pb2 import CHAT_KIND_GROUP, Chat, Group, ListMembersResponse, Mark, PublicChat
from rookery.v1.groups_pb2 import GroupSettings, Invite, Member
from rookery.v1.session_pb2 import Event
from shared.contract.groups import changed_id, invites_after, is_kept
from shared.contract.ids import time_of
from shared.drivers.cassandra import CassandraSession
from shared.drivers.cassandra.session import Row

Key = TypeVar("Key", int, str)

ROWS_PER_READ = 100
"""Groups in one read of heads, or members in one read of a channel."""

MEMBERSHIPS = "SELECT chat_id, ended_id, changed_id, changes[?] FROM memberships_by_user WHERE user_id = ?"
_OWN = """
    SELECT chat_id, member, changed_id, delivered, read, changes FROM memberships_by_user
    WHERE user_id = ? AND chat_id IN ?
"""
_CHANGED_IDS = "SELECT chat_id, changed_id, version FROM chat_heads WHERE chat_id IN ?"
_HEADS = """
    SELECT chat_id, changed_id, newest_id, newest_sent_id, version, settings, member_count, changes
    FROM chat_heads WHERE chat_id IN ?
"""
_LOGGED_IDS = "SELECT changed_id, private_id FROM chat_heads WHERE chat_id = ?"
_HEAD = "SELECT version, settings FROM chat_heads WHERE chat_id = ?"
_GROUP = "SELECT version, settings, member_count, asking FROM chat_heads WHERE chat_id = ?"
_NEWEST_VERSION = "SELECT event_id FROM versions_by_chat WHERE chat_id = ? ORDER BY version DESC LIMIT 1"
_FORMER_SETTINGS = "SELECT settings FROM settings_by_chat WHERE chat_id = ? AND version <= ? LIMIT 1"
_MEMBERS = "SELECT member FROM members_by_chat WHERE chat_id = ? AND shard = ?"
_SOME_MEMBERS = "SELECT member FROM members_by_chat WHERE chat_id = ? AND shard = ? AND user_id IN ?"
_MEMBER = "SELECT member FROM members_by_chat WHERE chat_id = ? AND shard = ? AND user_id = ?"
_MEMBERSHIP = "SELECT member FROM memberships_by_user WHERE user_id = ? AND chat_id = ?"
# The filters read the rows of one partition only.
_PRESENT = """
    SELECT member FROM members_by_chat WHERE chat_id = ? AND shard = ? AND user_id > ? AND role > 0 LIMIT ?
    ALLOW FILTERING
"""
_PRESENT_IDS = "SELECT user_id FROM members_by_chat WHERE chat_id = ? AND shard = ? AND role > 0 ALLOW FILTERING"
_MARKS = "SELECT user_id, delivered, read FROM marks_by_chat WHERE chat_id = ? AND shard = ?"
GROUP_READS = (
    *(MEMBERSHIPS, _OWN, _CHANGED_IDS, _HEADS, _LOGGED_IDS, _HEAD, _FORMER_SETTINGS),
    *(_GROUP, _NEWEST_VERSION, _MEMBERS, _SOME_MEMBERS, _MEMBER, _MEMBERSHIP, _PRESENT, _PRESENT_IDS, _MARKS, INVITES),
)


class Groups:
    """Reads groups. Its methods raise Unavailable if Cassandra does not answer."""

    def __init__(self, session: CassandraSession, statements: Mapping[str, Any]) -> None:
        self._session = session
        self._statements = statements
        self._changed_ids = Heads(partial(self._of_heads, _CHANGED_IDS))
        self._heads = Heads(partial(self._of_heads, _HEADS))

    async def changed_ids(self, memberships: Iterable[Row]) -> dict[str, int]:
        """The newest event of each group as the user sees it. `memberships` are the rows of MEMBERSHIPS."""
        own_ids = {
            chat_id: (ended_id, own_id or 0) for chat_id, ended_id, own_id, _ in memberships if ended_id is not None
        }
        found = {chat_id: max(ended_id, own_id) for chat_id, (ended_id, own_id) in own_ids.items() if ended_id}
        for chat_id, head_id, version in await self._changed_ids.rows(own_ids.keys() - found):
            if version is not None:
                found[chat_id] = max(head_id or 0, own_ids[chat_id][1])
        return found

    async def chats(self, user_id: int, chat_ids: Sequence[str]) -> dict[str, tuple[Chat, int]]:
        """Groups as the user sees them, each with the id of its newest message, without that message and without the
        number of unread messages. A group that is not the user's is left out."""
        if not chat_ids:
            return {}
        heads = await self._heads.rows(chat_ids)  # first: the members of a version are recorded before it
        own = await self._session.execute(self._statements[_OWN], (user_id, chat_ids))
        rows = {chat_id: (Member.FromString(content), *row) for chat_id, content, *row in own if content is not None}
        former = {chat_id: member for chat_id, (member, *_) in rows.items() if end_of(member)}
        settings = await self._former_settings(former)
        chats: dict[str, tuple[Chat, int]] = {}
        for chat_id, *head in heads:
            if chat_id not in rows:
                continue
            member, *row = rows[chat_id]
            chat = Chat(chat_id=chat_id, kind=CHAT_KIND_GROUP, own=member)
            newest_id = _fill(chat, head, row, settings.get(chat_id))
            if chat.version:
                chats[chat_id] = chat, newest_id
        return chats

    async def group(self, chat_id: str, user_ids: Collection[int]) -> Group | None:
        """As `ChatStore.get_group`. Reads the head first, as `_head` does."""
        heads = await self._session.execute(self._statements[_GROUP], (chat_id,))
        version, content, member_count, asking = heads[0] if heads else (None,) * 4
        if version is None:
            return None
        links, newest = await self._session.execute_all(
            [(self._statements[cql], (chat_id,)) for cql in (INVITES, _NEWEST_VERSION)]
        )
        settings = _settings(content)
        invites = invites_after({}, [Invite.FromString(content) for (content,) in links]).values()
        reads: list[tuple[Any, tuple[object, ...]]] = [(self._statements[_MEMBERS], (chat_id, SHARD))]
        if settings.is_channel:
            wanted = sorted({*user_ids, *(asking or ()), *(invite.creator_id for invite in invites)})
            reads = [(self._statements[_SOME_MEMBERS], (chat_id, SHARD, part)) for part in _parts(wanted)]
        results = await self._session.execute_all(reads)
        found = (Member.FromString(content) for rows in results for (content,) in rows)
        members = [member for member in found if is_kept(member)]
        return Group(
            chat_id=chat_id,
            version=version,
            settings=settings,
            members=members,
            invites=invites,
            member_count=member_count or 0,
            changed_id=max(newest[0][0], changed_id(members)),  # a member may be of a version that is being written
        )

    async def add_own(self, chats: Iterable[PublicChat], user_id: int) -> None:
        """Set `own` of these groups to the user's membership, former membership or request to join."""
        statement, listed = self._statements[_MEMBER], list(chats)
        results = await self._session.execute_all([(statement, (chat.chat_id, SHARD, user_id)) for chat in listed])
        for chat, rows in zip(listed, results, strict=True):
            for (content,) in rows:
                if is_kept(member := Member.FromString(content)):
                    chat.own.CopyFrom(member)

    async def member(self, chat_id: str, user_id: int) -> Membership | None:
        """The user as a present member, or a former one as they left; None if they never were one."""
        members, heads = await self._session.execute_all(
            [(self._statements[_MEMBERSHIP], (user_id, chat_id)), (self._statements[_HEAD], (chat_id,))]
        )
        if not members or members[0][0] is None or not heads or heads[0][0] is None:
            return None
        return Membership(Member.FromString(members[0][0]), _settings(heads[0][1]))

    async def members(self, chat_id: str, after: int, limit: int) -> ListMembersResponse:
        """A page of the present members."""
        version, _ = await self._head(chat_id) or (0, None)
        key = chat_id, SHARD, after, limit + 1
        rows = await self._session.execute(self._statements[_PRESENT], key) if version else []
        members = [Member.FromString(content) for (content,) in rows[:limit]]
        return ListMembersResponse(members=members, has_more=len(rows) > limit, version=version)

    async def marks(self, chat_id: str) -> list[Mark]:
        """The marks of the present members, in no order."""
        marks, present = await self._session.execute_all(
            [(self._statements[cql], (chat_id, SHARD)) for cql in (_MARKS, _PRESENT_IDS)]
        )
        ids = {user_id for (user_id,) in present}
        return [_mark(*row) for row in marks if row[0] in ids]

    async def logged_id(self, chat_id: str) -> int:
        """The newest event of the group, private changes of any user included; 0 if it has none."""
        rows = await self._session.execute(self._statements[_LOGGED_IDS], (chat_id,))
        return max((each or 0 for row in rows for each in row), default=0)

    async def _head(self, chat_id: str) -> tuple[int, GroupSettings] | None:
        """The version and the settings. Read them before the members, which are recorded first."""
        rows = await self._session.execute(self._statements[_HEAD], (chat_id,))
        version, settings = rows[0] if rows else (None, None)
        return None if version is None else (version, _settings(settings))

    async def _of_heads(self, cql: str, chat_ids: Sequence[str]) -> list[Row]:
        results = await self._session.execute_all([(self._statements[cql], (part,)) for part in _parts(chat_ids)])
        return [row for rows in results for row in rows]

    async def _former_settings(self, former: Mapping[str, Member]) -> dict[str, GroupSettings]:
        """The settings of each group at the version by which the user left it."""
        results = await self._session.execute_all(
            [(self._statements[_FORMER_SETTINGS], (chat_id, member.version)) for chat_id, member in former.items()]
        )
        return {chat_id: _settings(rows[0][0] if rows else None) for chat_id, rows in zip(former, results, strict=True)}


def _parts(keys: Sequence[Key]) -> list[Sequence[Key]]:
    """The keys in parts of ROWS_PER_READ at most."""
    return [keys[start : start + ROWS_PER_READ] for start in range(0, len(keys), ROWS_PER_READ)]


def _fill(chat: Chat, head: Sequence[Any], own: Sequence[Any], former_settings: GroupSettings | None) -> int:
    """Fill a group in from its row of _HEADS, and from that of _OWN without the member; return the id of its newest
    message. `former_settings` are given if the user is not a member any more."""
    changed_id, newest_id, newest_sent_id, version, settings, member_count, changes = head
    own_changed_id, delivered, read, own_changes = own
    if delivered is not None or read is not None:
        chat.marks.append(_mark(chat.own.user_id, delivered, read))
    state = [Event.FromString(content) for each in (changes, own_changes) for content in (each or {}).values()]
    chat.changes.extend(sorted(state, key=lambda event: event.event_id))
    if former_settings is not None:
        chat.settings.CopyFrom(former_settings)
        chat.version, newest_id = chat.own.version, end_of(chat.own)
        changed_id = newest_id  # later ones are not the user's
    else:
        chat.settings.CopyFrom(_settings(settings))
        chat.version, chat.member_count = version or 0, member_count or 0
        chat.newest_sent_id = newest_sent_id or 0
    chat.changed_at_ms = time_of(max(changed_id or 0, own_changed_id or 0))
    return newest_id or 0


def _mark(user_id: int, delivered: int | None, read: int | None) -> Mark:
    return Mark(user_id=user_id, delivered_up_to=delivered or 0, read_up_to=read or 0)


def _settings(content: bytes | None) -> GroupSettings:
    return GroupSettings.FromString(content or b"")
