"""The rows of groups in Cassandra: of each group its head, its members and their marks, and of each user their groups.

A message changes the head of its group and no row of a member. A control change has its version as timestamp, so that
the value of the highest version stays, in any order of recording. Its members are written before its version: a reader
who reads the version of the head first finds members of that version, or of a later one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from messaging.archive.store.cassandra.batch import Batch
from messaging.archive.store.cassandra.public_chats import PUBLIC_WRITES, add_public
from messaging.archive.store.cassandra.writes import Writes
from rookery.v1.groups_pb2 import GroupSettings, Invite, Member
from rookery.v1.session_pb2 import Message
from shared.contract.chats import is_group
from shared.contract.groups import invites_after, members_after
from shared.contract.ids import MAX_ID

SHARD = 0
"""The shard of the rows of all members."""

# By the columns that one event sets: a message alone sets all three, a control change alone the first two.
_HEAD = "INSERT INTO chat_heads (chat_id, {}) VALUES (?{}) USING TIMESTAMP ?"
_HEADS: Mapping[tuple[str, ...], str] = {
    columns: _HEAD.format(", ".join(columns), ", ?" * len(columns))
    for columns in (
        ("changed_id", "newest_id", "newest_sent_id"),
        ("changed_id", "newest_id"),
        ("changed_id",),
        ("newest_id", "newest_sent_id"),
        ("newest_id",),
        ("newest_sent_id",),
    )
}
_PRIVATE = "INSERT INTO chat_heads (chat_id, private_id) VALUES (?, ?) USING TIMESTAMP ?"
_VERSION = "INSERT INTO chat_heads (chat_id, version, member_count) VALUES (?, ?, ?) USING TIMESTAMP ?"
_SETTINGS = "INSERT INTO chat_heads (chat_id, settings) VALUES (?, ?) USING TIMESTAMP ?"
_OWN_CHANGE = "INSERT INTO memberships_by_user (user_id, chat_id, changed_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
_OWN_DELIVERED = "INSERT INTO memberships_by_user (user_id, chat_id, delivered) VALUES (?, ?, ?) USING TIMESTAMP ?"
_OWN_READ = "INSERT INTO memberships_by_user (user_id, chat_id, read) VALUES (?, ?, ?) USING TIMESTAMP ?"
_DELIVERED = "INSERT INTO marks_by_chat (chat_id, shard, user_id, delivered) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
_READ = "INSERT INTO marks_by_chat (chat_id, shard, user_id, read) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
_ADD_VERSION = """
    INSERT INTO versions_by_chat (chat_id, version, event_id, member_count) VALUES (?, ?, ?, ?) USING TIMESTAMP ?
"""
_ADD_SETTINGS = "INSERT INTO settings_by_chat (chat_id, version, settings) VALUES (?, ?, ?) USING TIMESTAMP ?"
_MEMBER = """
    INSERT INTO members_by_chat (chat_id, shard, user_id, version, role, member) VALUES (?, ?, ?, ?, ?, ?)
    USING TIMESTAMP ?
"""
_MEMBERSHIP = """
    INSERT INTO memberships_by_user (user_id, chat_id, ended_id, member) VALUES (?, ?, ?, ?) USING TIMESTAMP ?
"""
_SET_INVITE = "INSERT INTO invites_by_chat (chat_id, invite_id, invite) VALUES (?, ?, ?) USING TIMESTAMP ?"
_REMOVE_INVITE = "DELETE FROM invites_by_chat USING TIMESTAMP ? WHERE chat_id = ? AND invite_id = ?"
INVITES = "SELECT invite FROM invites_by_chat WHERE chat_id = ?"
_VERSIONS = "SELECT version, event_id, member_count FROM versions_by_chat WHERE chat_id = ? AND version >= ?"
_KNOWN_HEAD = "SELECT version, settings, asking FROM chat_heads WHERE chat_id = ?"
ASKS = "UPDATE chat_heads USING TIMESTAMP ? SET asking = asking + ? WHERE chat_id = ?"
_ASKS_NOT = "UPDATE chat_heads USING TIMESTAMP ? SET asking = asking - ? WHERE chat_id = ?"
_MEMBERS = "SELECT user_id, version, role FROM members_by_chat WHERE chat_id = ? AND shard = ?"
GROUP_STATEMENTS = (
    *_HEADS.values(),
    *(_PRIVATE, _VERSION, _SETTINGS, _OWN_CHANGE, _OWN_DELIVERED, _OWN_READ),
    *(_DELIVERED, _READ, _ADD_VERSION, _ADD_SETTINGS, _MEMBER, _MEMBERSHIP, _VERSIONS, _KNOWN_HEAD, _MEMBERS),
    *(ASKS, _ASKS_NOT, _SET_INVITE, _REMOVE_INVITE, INVITES, *PUBLIC_WRITES),
)


def add_heads(writes: Writes, statements: Mapping[str, Any], batch: Batch, newest: Mapping[str, int]) -> None:
    """Add the changes of heads, and of the rows of users whose private changes or marks are in the batch. `newest` has
    the newest message of each chat."""
    sent = batch.newest_ids(sent=True)
    for chat_id, changed_id in batch.changed.items():
        if is_group(chat_id):
            _add_head(writes, statements, chat_id, (changed_id, newest.get(chat_id), sent.get(chat_id)))
    for (chat_id, user_id), changed_id in batch.changed_for.items():
        if is_group(chat_id):
            writes.add(user_id, statements[_OWN_CHANGE], (user_id, chat_id, changed_id, changed_id))
            writes.add(("chat", chat_id), statements[_PRIVATE], (chat_id, changed_id, changed_id))
    for (chat_id, user_id), (delivered, read) in batch.marks.items():
        if is_group(chat_id):
            _add_marks(writes, statements, chat_id, user_id, delivered, read)


def _add_head(writes: Writes, statements: Mapping[str, Any], chat_id: str, ids: Sequence[int | None]) -> None:
    """Add the columns of _HEADS with these ids, in this order; None leaves a column as it is."""
    columns: dict[int, list[str]] = {}
    for name, event_id in zip(("changed_id", "newest_id", "newest_sent_id"), ids, strict=True):
        if event_id is not None:
            columns.setdefault(event_id, []).append(name)
    for event_id, names in columns.items():
        row = chat_id, *[event_id] * len(names), event_id
        writes.add(("chat", chat_id), statements[_HEADS[tuple(names)]], row)


def _add_marks(
    writes: Writes, statements: Mapping[str, Any], chat_id: str, user_id: int, delivered: int, read: int
) -> None:
    of_chat = "members", chat_id
    if read:
        writes.add(user_id, statements[_OWN_READ], (user_id, chat_id, read, read))
        writes.add(of_chat, statements[_READ], (chat_id, SHARD, user_id, read, read))
    if delivered or not read:  # a change without marks stores a mark of 0
        writes.add(user_id, statements[_OWN_DELIVERED], (user_id, chat_id, delivered, delivered))
        writes.add(of_chat, statements[_DELIVERED], (chat_id, SHARD, user_id, delivered, delivered))


@dataclass(slots=True)
class Controls:
    """The control changes of one group in a batch, with the stored rows of the group that they depend on."""

    chat_id: str
    changes: Mapping[int, Message]
    """The control changes by version."""
    counts: Mapping[int, int]
    """The numbers of members after the stored control changes by version, from the lowest in the batch on; 0 if a
    former release made the change."""
    version: int
    """The version in the stored head; 0 if it has none."""
    settings: GroupSettings
    """The settings in the stored head."""
    asking: Collection[int]
    """The users who ask to join, in the stored head."""
    invites: Sequence[Invite]
    """The stored invite links."""
    members: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """The version and the role of each stored member, by user, if they are `counted`."""

    @property
    def newest(self) -> int:
        """The version of the head with these changes: that up to which every control change is recorded."""
        newest = self.version
        while newest + 1 in self.counts or newest + 1 in self.changes:
            newest += 1
        return newest

    @property
    def counted(self) -> bool:
        """Whether the members have to be counted, since the newest control change has no number of them."""
        newest = self.newest
        return newest > self.version and not self._count_at(newest)

    def add_members(self, writes: Writes, statements: Mapping[str, Any]) -> None:
        """Add the rows of the members that change."""
        for user_id, (version, member) in self._changed_members().items():
            content = member.SerializeToString()
            row_of_chat = self.chat_id, SHARD, user_id, version, member.role, content, version
            writes.add(("members", self.chat_id), statements[_MEMBER], row_of_chat, size=len(content))
            if member.asked_at_ms or user_id in self.asking:
                cql = ASKS if member.asked_at_ms else _ASKS_NOT
                writes.add(("chat", self.chat_id), statements[cql], (version, {user_id}, self.chat_id))
        for user_id, (version, member) in self._changed_members(own=True).items():
            content = member.SerializeToString()
            row_of_user = user_id, self.chat_id, end_of(member), content, version
            writes.add(user_id, statements[_MEMBERSHIP], row_of_user, size=len(content))

    def add_invites(self, writes: Writes, statements: Mapping[str, Any]) -> None:
        """Add the rows of the invite links that change; of too many, remove the revoked ones that the group does not
        keep."""
        changed = [invite for version in sorted(self.changes) for invite in self.changes[version].control.invites]
        partition = "invites", self.chat_id
        for invite in changed:
            content = invite.SerializeToString()
            row = self.chat_id, invite.invite_id, content, invite.version
            writes.add(partition, statements[_SET_INVITE], row, size=len(content))
        known = {
            invite.invite_id: invite for invite in sorted([*self.invites, *changed], key=lambda each: each.version)
        }
        kept = invites_after({}, known.values())
        for invite in known.values():
            if invite.is_revoked and invite.invite_id not in kept:
                removed = invite.version, self.chat_id, invite.invite_id
                writes.add(partition, statements[_REMOVE_INVITE], removed)

    def add_versions(self, writes: Writes, statements: Mapping[str, Any]) -> None:
        """Add the rows of the group itself, which are of one partition: the control changes, the settings, and the
        version of the head if every control change up to a higher one is recorded."""
        partition = "chat", self.chat_id
        for version, message in self.changes.items():
            event_id = message.message_id
            row_of_version = self.chat_id, version, event_id, message.control.member_count
            timestamp = MAX_ID - event_id  # as with sends, the older event wins
            writes.add(partition, statements[_ADD_VERSION], (*row_of_version, timestamp))
            if message.control.HasField("settings"):
                content = message.control.settings.SerializeToString()
                row = self.chat_id, version, content, version
                writes.add(partition, statements[_ADD_SETTINGS], row, size=len(content))
                writes.add(partition, statements[_SETTINGS], (self.chat_id, content, version), size=len(content))
        with_settings = [each for each in self.changes.values() if each.control.HasField("settings")]
        if with_settings:
            control = max((each.control for each in with_settings), key=lambda each: each.version)
            add_public(writes, statements, self.chat_id, control.settings, control.version, self.settings)
        if (newest := self.newest) > self.version:
            count = self._count_members() if self.counted else self._count_at(newest)
            writes.add(partition, statements[_VERSION], (self.chat_id, newest, count, newest))

    def _changed_members(self, *, own: bool = False) -> dict[int, tuple[int, Member]]:
        """The members that the batch changes, each with the highest version in which it does. `own`: as the user sees
        it, for whom nothing changes when they ask to join or are declined."""
        changed: dict[int, tuple[int, Member]] = {}
        for version in sorted(self.changes):
            message = self.changes[version]
            for user_id, member in members_after(message.control).items():
                ended = bool(member.spans) and member.spans[-1].last == message.message_id
                if member.role or ended or not own:
                    changed[user_id] = version, member
        return changed

    def _count_at(self, version: int) -> int:
        message = self.changes.get(version)
        return self.counts[version] if message is None else message.control.member_count

    def _count_members(self) -> int:
        roles = {user_id: role for user_id, (_, role) in self.members.items()}
        for user_id, (version, member) in self._changed_members().items():
            if version > self.members.get(user_id, (0, 0))[0]:
                roles[user_id] = member.role
        return sum(role > 0 for role in roles.values())


def end_of(member: Member) -> int:
    """The id of the event by which a former member left; 0 of a present one."""
    return 0 if member.role else member.spans[-1].last


def control_reads(statements: Mapping[str, Any], chat_id: str, lowest: int) -> list[tuple[Any, tuple[object, ...]]]:
    """The three reads of a group: its stored versions, from the lowest in the batch on, with the ids of their events
    and the numbers of members; the version, the settings and the asking users of its head; its invite links."""
    return [
        (statements[_VERSIONS], (chat_id, lowest)),
        (statements[_KNOWN_HEAD], (chat_id,)),
        (statements[INVITES], (chat_id,)),
    ]


def member_read(statements: Mapping[str, Any], chat_id: str) -> tuple[Any, tuple[object, ...]]:
    """The read of all members of a group, with version and role."""
    return statements[_MEMBERS], (chat_id, SHARD)
