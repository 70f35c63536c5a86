"""Groups: their creation, settings and members, over the HTTP API."""

import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from rookery.client.http import Api, Profile, chat_path, decode_json, decode_proto
from rookery.v1.archive_pb2 import ListMarksResponse, ListMembersResponse
from rookery.v1.groups_pb2 import ROLE_MEMBER, Role
from rookery.v1.session_pb2 import Event, Message

WEEK = 7 * 24 * 3600.0
"""Seconds after which an invite link ends, unless its creator sets another time."""


class GroupInvite(msgspec.Struct, frozen=True):
    """An invite link to a group. Times are milliseconds since 1970; 0 for never."""

    invite_id: int
    creator_id: int
    expires_at_ms: int
    max_uses: int
    """How many users may join by it; 0 for any number."""
    uses: int
    is_revoked: bool
    is_usable: bool
    """Whether users join by it now: it has not ended, and its creator may add members."""


class NewGroupInvite(msgspec.Struct, frozen=True):
    """A new invite link, and its token: the only copy."""

    invite: GroupInvite
    token: str


class JoinableChat(msgspec.Struct, frozen=True):
    """A group that the user may join, as shown to users who are no members."""

    chat_id: str
    name: str
    topic: str
    members: int
    """The number of members."""
    is_member: bool
    asks_to_join: bool
    has_asked: bool
    is_channel: bool = False
    avatar: str = ""
    """The token of its picture, as in `Profile.avatar`."""


class PublicChats(msgspec.Struct, frozen=True):
    """A page of public groups, by name."""

    chats: Sequence[JoinableChat]
    has_more: bool
    after: str
    """The `after` of the request for the next page."""


class FoundMembers(msgspec.Struct, frozen=True):
    """A page of the members whom a search finds: the one with this name, then the others by name."""

    profiles: Sequence[Profile]
    next_cursor: str
    """The `cursor` of the next page; empty on the last one."""


class JoinRequest(msgspec.Struct, frozen=True):
    """A user who has asked to join a group, and when, in milliseconds since 1970."""

    user_id: int
    asked_at_ms: int


class _Invites(msgspec.Struct, frozen=True):
    invites: Sequence[GroupInvite]


class _Requests(msgspec.Struct, frozen=True):
    requests: Sequence[JoinRequest]


class Groups:
    """The control changes of groups, and queries about their members. `Client.send` sends messages, to the chat id.

    Each change is a message with a `control`, which its method returns. `Client.events` yields it too, to the caller
    as to all other members; a program that applies it twice compares `control.version`.

    A change without an answer is repeated with its client id for 30 seconds. After that its method raises Unreachable,
    or the retryable Refused: another call with the exception's `client_id` as `client_change_id` never makes a second
    change, within 3 days.

    With `expected_version`, the change is refused with `version_conflict` if the chat has another version.

    All methods raise Refused: with `forbidden` if the user lacks the permission, with `not_found` for an unknown chat
    and for one of which the user is no member, with `invalid` and the `field` for a value out of its bounds.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    async def create(
        self,
        name: str,
        user_ids: Iterable[int] = (),
        *,
        topic: str = "",
        permissions: int | None = None,
        shows_history: bool = False,
        is_public: bool = False,
        asks_to_join: bool = False,
        is_channel: bool = False,
        client_change_id: str = "",
    ) -> Message:
        """Create a group with these members, 999 at most, beside the user, who becomes its owner.

        `name` has 1 to 128 bytes, `topic` at most 1,024. `permissions` are those of members, a sum of `Permission`;
        None: the default. With `shows_history`, members may read messages from before they joined. Everybody finds a
        group that `is_public`, and joins it. With `asks_to_join`, users who join it become members when they are added.
        With `is_channel`, the group may have 100,000 members in place of 1,000; see `Client.channels`.
        """
        body = {
            "name": name,
            "topic": topic,
            "user_ids": _texts(user_ids),
            "permissions": _text(permissions),
            "shows_history": shows_history,
            "is_public": is_public,
            "asks_to_join": asks_to_join,
            "is_channel": is_channel,
        }
        return await self._change("POST", "/v1/chats", body, client_change_id)

    async def change_settings(
        self,
        chat_id: str,
        *,
        name: str | None = None,
        topic: str | None = None,
        permissions: int | None = None,
        shows_history: bool | None = None,
        is_public: bool | None = None,
        asks_to_join: bool | None = None,
        is_channel: bool | None = None,
        avatar: str | None = None,
        without_previews: bool | None = None,
        expected_version: int = 0,
        client_change_id: str = "",
    ) -> Message:
        """Change the settings that are not None. With `is_channel`, the group becomes a channel for ever. `avatar` is
        the token of a picture that `Api.upload_avatar` made for the group; empty for none. In a group
        `without_previews`, links in messages get none."""
        body = {
            "name": name,
            "topic": topic,
            "permissions": _text(permissions),
            "shows_history": shows_history,
            "is_public": is_public,
            "asks_to_join": asks_to_join,
            "is_channel": is_channel,
            "avatar": avatar,
            "without_previews": without_previews,
        }
        return await self._change("PATCH", chat_path(chat_id), body, client_change_id, expected_version)

    async def add_members(
        self,
        chat_id: str,
        user_ids: Iterable[int],
        *,
        role: Role = ROLE_MEMBER,
        expected_version: int = 0,
        client_change_id: str = "",
    ) -> Message:
        """Add 1 to 999 users, none of them a member, as ROLE_MEMBER or ROLE_GUEST."""
        body = {"user_ids": _texts(user_ids), "role": Role.Name(role)}
        return await self._change("POST", f"{chat_path(chat_id)}/members", body, client_change_id, expected_version)

    async def change_member(
        self,
        chat_id: str,
        user_id: int,
        *,
        role: Role | None = None,
        allow: int | None = None,
        deny: int | None = None,
        expected_version: int = 0,
        client_change_id: str = "",
    ) -> Message:
        """Change the role of a member, or the permissions that only they have (`allow`) or lack (`deny`), sums of
        `Permission`; None: unchanged. ROLE_OWNER hands the group over: the user, its owner, becomes an admin."""
        body = {"role": None if role is None else Role.Name(role), "allow": _text(allow), "deny": _text(deny)}
        return await self._change("PATCH", _member_path(chat_id, user_id), body, client_change_id, expected_version)

    async def remove_member(
        self, chat_id: str, user_id: int, *, expected_version: int = 0, client_change_id: str = ""
    ) -> Message:
        """Remove a member, who keeps the chat as it is now. The own id: like `leave`."""
        return await self._change("DELETE", _member_path(chat_id, user_id), {}, client_change_id, expected_version)

    async def leave(self, chat_id: str, *, client_change_id: str = "") -> Message:
        """Leave the group. The owner of a group with other members hands it over first."""
        return await self.remove_member(chat_id, self._api.me.user_id, client_change_id=client_change_id)

    async def members(self, chat_id: str, *, after: int = 0, limit: int = 1_000) -> ListMembersResponse:
        """Return a page of the present members, by rising user id: the ones after a user id. A former member gets none.

        By default the page has all members; with a lower `limit`, read on while `has_more`.
        """
        path, query = f"{chat_path(chat_id)}/members", {"after": after, "limit": limit}
        return decode_proto(await self._api.request("GET", path, query), ListMembersResponse)

    async def find_members(self, chat_id: str, text: str, *, limit: int = 20, cursor: str = "") -> FoundMembers:
        """Return a page of the members whom a text of 1 to 64 characters finds, as `Api.find_users` does. A former
        member finds none.

        A page has at most `limit` members, 1 to 100, and is made of at most 1,000 of the accounts that the text finds:
        it may have fewer members, or none, and a `next_cursor`, with which to read on.
        """
        query: dict[str, str | int] = {"name_contains": text, "limit": limit, "cursor": cursor}
        return decode_json(await self._api.request("GET", f"{chat_path(chat_id)}/profiles", query), FoundMembers)

    async def marks(self, chat_id: str, *, from_id: int = 0) -> ListMarksResponse:
        """Return the marks of the members who have read or received this message, or a later one: who has seen it."""
        path, query = f"{chat_path(chat_id)}/marks", {"from_id": from_id}
        return decode_proto(await self._api.request("GET", path, query), ListMarksResponse)

    # ---- joining

    async def create_invite(
        self, chat_id: str, *, expires_in: float = WEEK, max_uses: int = 0, client_change_id: str = ""
    ) -> NewGroupInvite:
        """Create an invite link, by which `max_uses` users may join: 10,000 at most, 0 for any number. It ends after
        `expires_in` seconds: a year at most, 0 for never. Only this call, and its retry, return the token."""
        body = {"expires_in_seconds": math.ceil(expires_in), "max_uses": max_uses}
        path = f"{chat_path(chat_id)}/invites"
        return decode_json(await self._request("POST", path, body, client_change_id), NewGroupInvite)

    async def invites(self, chat_id: str) -> Sequence[GroupInvite]:
        """Return the invite links of a group, ended ones too, the oldest first. For members who may add members."""
        return decode_json(await self._api.request("GET", f"{chat_path(chat_id)}/invites"), _Invites).invites

    async def revoke_invite(self, chat_id: str, invite_id: int, *, client_change_id: str = "") -> Message:
        """End an invite link. For its creator, and members who may manage the group."""
        return await self._change("DELETE", f"{chat_path(chat_id)}/invites/{invite_id}", {}, client_change_id)

    async def joinable(self, token: str) -> JoinableChat:
        """Return the group to which the token of an invite link leads. Raises Refused with `not_found` for a link that
        is not valid, or not any more."""
        return decode_json(await self._api.request("GET", _joining_path(token)), JoinableChat)

    async def join(self, token: str, *, client_change_id: str = "") -> Message:
        """Join a group by the token of an invite link. In a group that `asks_to_join`, the user then has asked to."""
        return await self._change("POST", _joining_path(token), {}, client_change_id)

    async def public(self, query: str = "", *, after: str = "", limit: int = 20) -> PublicChats:
        """Return a page of the public groups that the query finds, by name: words in any order, each a part of the
        name; all public groups without one. The next page is after the `after` of this one, while it `has_more`."""
        fields: Mapping[str, str | int] = {"query": query, "after": after, "limit": limit}
        return decode_json(await self._api.request("GET", "/v1/public-chats", fields), PublicChats)

    async def join_public(self, chat_id: str, *, client_change_id: str = "") -> Message:
        """Join a public group, as by a link."""
        path = f"/v1/public-chats/{quote(chat_id, safe='')}/joining"
        return await self._change("POST", path, {}, client_change_id)

    async def requests(self, chat_id: str) -> Sequence[JoinRequest]:
        """Return the users who have asked to join a group, in this order. `add_members` accepts them. For members who
        may add members."""
        return decode_json(await self._api.request("GET", f"{chat_path(chat_id)}/requests"), _Requests).requests

    async def decline(self, chat_id: str, user_id: int, *, client_change_id: str = "") -> Message:
        """Decline a user who has asked to join; with the own id, take the own request back."""
        return await self._change("DELETE", f"{chat_path(chat_id)}/requests/{user_id}", {}, client_change_id)

    async def _change(
        self, method: str, path: str, body: Mapping[str, Any], client_change_id: str, expected_version: int = 0
    ) -> Message:
        answer = await self._request(method, path, body, client_change_id, expected_version)
        return decode_proto(answer, Event).message

    async def _request(
        self, method: str, path: str, body: Mapping[str, Any], client_change_id: str, expected_version: int = 0
    ) -> bytes:
        """Make a change, again while it has no answer, and return the answer."""
        client_id = client_change_id or secrets.token_hex(16)
        fields = {**body, "client_change_id": client_id, "expected_version": _text(expected_version or None)}
        fields = {name: value for name, value in fields.items() if value is not None}
        query, content = (fields, None) if method == "DELETE" else (None, fields)
        return await self._api.repeat(method, path, query, content, client_id=client_id)


def _member_path(chat_id: str, user_id: int) -> str:
    return f"{chat_path(chat_id)}/members/{user_id}"


def _joining_path(token: str) -> str:
    return f"/v1/joining/{quote(token, safe='')}"


def _text(number: int | None) -> str | None:
    """The number as in JSON: 64-bit integers are strings."""
    return None if number is None else str(int(number))


def _texts(numbers: Iterable[int]) -> list[str]:
    return [str(number) for number in numbers]
