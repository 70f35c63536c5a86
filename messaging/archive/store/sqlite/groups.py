"""Groups in SQLite: the fold of control changes, in the writer's thread, and reads of members, in a reader's thread.

The tables are defined in `schema`.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

from messaging.archive.store.laws import check_control
from messaging.archive.store.protocol import Membership, PublicCursor
from rookery.v1.archive_pb2 import Group, ListMembersResponse, Mark, PublicChat
from rookery.v1.groups_pb2 import GroupSettings, Invite, Member
from rookery.v1.session_pb2 import Message
from shared.accounts.names import search_terms, searched_text
from shared.contract.groups import OPEN, invites_after, is_kept, members_after
from shared.contract.ids import time_of

_ADD_CONTROL = "INSERT OR IGNORE INTO controls VALUES (?, ?, ?, ?, ?)"
_CONTROL = "SELECT event_id FROM controls WHERE chat = ? AND version = ?"
_NEWEST_CONTROL = "SELECT event_id FROM controls WHERE chat = ? ORDER BY version DESC LIMIT 1"
_SET_MEMBER = """
    INSERT INTO members VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    version = excluded.version, role = excluded.role, member = excluded.member, asks = excluded.asks
    WHERE excluded.version > version
"""
_LIST_FOR = """
    INSERT INTO chats_by_user (user_id, chat, until_ms) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET until_ms = excluded.until_ms, is_listed = 1
"""
_SET_GROUP = """
    UPDATE chats SET version = :version, member_count = ifnull(
        (SELECT nullif(member_count, 0) FROM controls WHERE chat = :chat AND version = :version),
        (SELECT count(*) FROM members WHERE chat = :chat AND role > 0)
    ) WHERE chat = :chat
"""
# A channel may have a control change for each of its members. The index has only the changes of settings.
_SETTINGS = """
    SELECT settings FROM controls INDEXED BY settings_by_chat
    WHERE chat = ? AND version <= ? AND settings IS NOT NULL ORDER BY version DESC LIMIT 1
"""
_SET_INVITE = """
    INSERT INTO invites VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    version = excluded.version, invite = excluded.invite WHERE excluded.version > version
"""
_INVITES = "SELECT invite FROM invites WHERE chat = ?"
_REMOVE_INVITE = "DELETE FROM invites WHERE chat = ? AND invite_id = ?"
_REMOVE_PUBLIC = "DELETE FROM public_chats WHERE chat = ?"
_SET_PUBLIC = """
    INSERT OR REPLACE INTO public_chats SELECT chat, chat_id, ?, ? FROM chats WHERE chat = ? AND member_count > 0
"""
_PUBLIC = """
    SELECT chat, chat_id, version, member_count FROM public_chats JOIN chats USING (chat, chat_id)
    WHERE (name, chat_id) > (?, ?) {} ORDER BY name, chat_id LIMIT ?
"""
_HAS_TERM = "AND instr(searched, ?) "
_HEAD = "SELECT version, member_count FROM chats WHERE chat = ?"
_VERSION_OF = """
    SELECT version FROM controls WHERE chat = ? AND version <= ? AND event_id = ? ORDER BY version DESC LIMIT 1
"""
_MEMBER = "SELECT member FROM members WHERE chat = ? AND user_id = ?"
_MEMBERS = "SELECT member FROM members WHERE chat = ? ORDER BY user_id"
_SOME_MEMBERS = """
    SELECT member FROM members WHERE chat = ? AND user_id IN (
        SELECT value FROM json_each(?)
        UNION SELECT user_id FROM members INDEXED BY asking_by_chat WHERE chat = ? AND asks IS NOT NULL
    ) ORDER BY user_id
"""
_PRESENT = "SELECT member FROM members WHERE chat = ? AND user_id > ? AND role > 0 ORDER BY user_id LIMIT ?"
_MARKS = """
    SELECT user_id, delivered_up_to, read_up_to FROM marks
    WHERE marks.chat = ? AND max(read_up_to, delivered_up_to) >= ? {}
    ORDER BY read_up_to DESC, delivered_up_to DESC LIMIT ?
"""
_MARKS_OF_ALL = _MARKS.format("")
_MARKS_OF_PRESENT = _MARKS.format(
    "AND EXISTS (SELECT 1 FROM members WHERE chat = marks.chat AND user_id = marks.user_id AND role > 0)"
)


def fold(connection: sqlite3.Connection, chats: Mapping[str, int], controls: Iterable[Message]) -> set[int]:
    """Fold control changes into their groups; those that are recorded already have been folded. Return the ids of those
    that are ignored, since another one with their version was recorded first. Raises ValueError for an invalid one."""
    ignored: set[int] = set()
    changed: set[int] = set()
    for message in controls:
        chat, control, event_id = chats[message.chat_id], message.control, message.message_id
        check_control(message)
        settings = control.settings.SerializeToString() if control.HasField("settings") else None
        row_of_control = chat, control.version, event_id, settings, control.member_count
        if not connection.execute(_ADD_CONTROL, row_of_control).rowcount:
            (first_id,) = connection.execute(_CONTROL, (chat, control.version)).fetchone()
            if first_id != event_id:
                ignored.add(event_id)
            continue
        for user_id, member in members_after(control).items():
            asks = bool(member.asked_at_ms) or None
            row = chat, user_id, control.version, member.role, member.SerializeToString(), asks
            if connection.execute(_SET_MEMBER, row).rowcount and member.spans:
                connection.execute(_LIST_FOR, (user_id, chat, _until_ms(member)))
        if control.invites:
            _set_invites(connection, chat, control.invites)
        changed.add(chat)
    for chat in changed:
        version = _version(connection, chat)
        while connection.execute(_CONTROL, (chat, version + 1)).fetchone():
            version += 1
        connection.execute(_SET_GROUP, {"chat": chat, "version": version})
        _set_public(connection, chat, settings_at(connection, chat, version))
    return ignored


def _set_invites(connection: sqlite3.Connection, chat: int, invites: Iterable[Invite]) -> None:
    """Set the invite links; of too many, delete the revoked ones that the group does not keep."""
    rows = [(chat, invite.invite_id, invite.version, invite.SerializeToString()) for invite in invites]
    connection.executemany(_SET_INVITE, rows)
    known = _all_invites(connection, chat)
    surplus = {invite.invite_id for invite in known if invite.is_revoked} - invites_after({}, known).keys()
    connection.executemany(_REMOVE_INVITE, [(chat, invite_id) for invite_id in surplus])


def _set_public(connection: sqlite3.Connection, chat: int, settings: GroupSettings) -> None:
    """Add a public group with members to the index of names, or remove it."""
    connection.execute(_REMOVE_PUBLIC, (chat,))
    if settings.is_public:
        connection.execute(_SET_PUBLIC, (settings.name.casefold(), searched_text(settings.name), chat))


def _until_ms(member: Member) -> int | None:
    """The time at which the last span of a former member ended; None of a present member."""
    return None if member.role else time_of(member.spans[-1].last)


def read_group(connection: sqlite3.Connection, chat_id: str, chat: int, user_ids: Collection[int]) -> Group | None:
    """As `ChatStore.get_group`."""
    version, member_count = connection.execute(_HEAD, (chat,)).fetchone() or (0, 0)
    if not version:
        return None
    settings, invites = settings_at(connection, chat, version), invites_after({}, _all_invites(connection, chat))
    if settings.is_channel:
        named = json.dumps([*user_ids, *(invite.creator_id for invite in invites.values())])
        rows = connection.execute(_SOME_MEMBERS, (chat, named, chat))
    else:
        rows = connection.execute(_MEMBERS, (chat,))
    members = [member for (content,) in rows if is_kept(member := Member.FromString(content))]
    (changed_id,) = connection.execute(_NEWEST_CONTROL, (chat,)).fetchone()  # last: no member is of a later one
    return Group(
        chat_id=chat_id,
        version=version,
        settings=settings,
        members=members,
        invites=invites.values(),
        member_count=member_count,
        changed_id=changed_id,
    )


def _all_invites(connection: sqlite3.Connection, chat: int) -> list[Invite]:
    return [Invite.FromString(content) for (content,) in connection.execute(_INVITES, (chat,))]


def read_public(
    connection: sqlite3.Connection, user_id: int, query: str, after: PublicCursor, limit: int
) -> Sequence[PublicChat]:
    """As `ChatStore.list_public_chats`. It may read every name after the cursor: 100,000 take 45 ms."""
    terms = search_terms(query)
    rows = connection.execute(_PUBLIC.format(_HAS_TERM * len(terms)), (*after, *terms, limit)).fetchall()
    return [
        PublicChat(
            chat_id=chat_id,
            settings=settings_at(connection, chat, version),
            member_count=member_count,
            own=_any_member(connection, chat, user_id),
        )
        for chat, chat_id, version, member_count in rows
    ]


def settings_at(connection: sqlite3.Connection, chat: int, version: int) -> GroupSettings:
    """The settings after this version."""
    row = connection.execute(_SETTINGS, (chat, version)).fetchone()
    return GroupSettings() if row is None else GroupSettings.FromString(row[0])


def _any_member(connection: sqlite3.Connection, chat: int, user_id: int) -> Member | None:
    """The user as a member, a former one, or one who has asked to join."""
    row = connection.execute(_MEMBER, (chat, user_id)).fetchone()
    member = None if row is None else Member.FromString(row[0])
    return member if member is not None and is_kept(member) else None


def read_member(connection: sqlite3.Connection, chat: int, user_id: int) -> Member | None:
    """The user as a present member, or a former one as they left; None if they never were one."""
    member = _any_member(connection, chat, user_id)
    if member is None or not member.spans:
        return None
    if (last := member.spans[-1].last) != OPEN:  # they may have asked to join since
        row = connection.execute(_VERSION_OF, (chat, member.version, last)).fetchone()
        member.version = member.version if row is None else row[0]
        member.asked_at_ms = 0
    return member


def read_membership(connection: sqlite3.Connection, chat: int, user_id: int) -> Membership | None:
    """As `ChatStore.get_member`."""
    member = read_member(connection, chat, user_id)
    if member is None:
        return None
    return Membership(member, settings_at(connection, chat, _version(connection, chat)))


def read_present(connection: sqlite3.Connection, chat: int, after: int, limit: int) -> ListMembersResponse:
    """As `ChatStore.list_members`."""
    version = _version(connection, chat)  # first, so that the members are not of an earlier one
    rows = connection.execute(_PRESENT, (chat, after, limit + 1)).fetchall()
    members = [Member.FromString(member) for (member,) in rows[:limit]]
    return ListMembersResponse(members=members, has_more=len(rows) > limit, version=version)


def read_marks(connection: sqlite3.Connection, chat: int, from_id: int, limit: int, *, of_group: bool) -> list[Mark]:
    """As `ChatStore.list_marks`."""
    rows = connection.execute(_MARKS_OF_PRESENT if of_group else _MARKS_OF_ALL, (chat, from_id, limit))
    return [Mark(user_id=user_id, delivered_up_to=delivered, read_up_to=read) for user_id, delivered, read in rows]


def _version(connection: sqlite3.Connection, chat: int) -> int:
    row = connection.execute("SELECT version FROM chats WHERE chat = ?", (chat,)).fetchone()
    return 0 if row is None else int(row[0])
