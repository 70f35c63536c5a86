"""Groups: their creation, settings and members, over the HTTP API."""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import trio

from rookery.client.backoff import Backoff
from rookery.client.errors import Refused, Unreachable
from rookery.client.http import Api, chat_path, decode_proto
from rookery.v1.archive_pb2 import ListMarksResponse, ListMembersResponse
from rookery.v1.groups_pb2 import ROLE_MEMBER, Role
from rookery.v1.session_pb2 import Event, Message

CHANGE_DEADLINE = 30.0
"""Seconds for which a change without an answer is repeated: long enough for another gateway to take over."""


class Groups:
    """The control changes of groups, and queries about their members. `Client.send` sends messages, to the chat id.

    Each change is a message with a `control`, which its method returns. `Client.events` yields it too, to the caller
    as to all other members; a program that applies it twice compares `control.version`.

    A change without an answer is repeated with its client id for `CHANGE_DEADLINE` seconds. After that its method
    raises Unreachable, or the retryable Refused: another call with the exception's `client_id` as `client_change_id`
    never makes a second change, within 3 days.

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
        client_change_id: str = "",
    ) -> Message:
        """Create a group with these members, 999 at most, beside the user, who becomes its owner.

        `name` has 1 to 128 bytes, `topic` at most 1,024. `permissions` are those of members, a sum of `Permission`;
        None: the default. With `shows_history`, members may read messages from before they joined.
        """
        body = {
            "name": name,
            "topic": topic,
            "user_ids": _texts(user_ids),
            "permissions": _text(permissions),
            "shows_history": shows_history,
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
        expected_version: int = 0,
        client_change_id: str = "",
    ) -> Message:
        """Change the settings that are not None."""
        body = {"name": name, "topic": topic, "permissions": _text(permissions), "shows_history": shows_history}
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

    async def marks(self, chat_id: str, *, from_id: int = 0) -> ListMarksResponse:
        """Return the marks of the members who have read or received this message, or a later one: who has seen it."""
        path, query = f"{chat_path(chat_id)}/marks", {"from_id": from_id}
        return decode_proto(await self._api.request("GET", path, query), ListMarksResponse)

    async def _change(
        self, method: str, path: str, body: Mapping[str, Any], client_change_id: str, expected_version: int = 0
    ) -> Message:
        client_id = client_change_id or secrets.token_hex(16)
        fields = {**body, "client_change_id": client_id, "expected_version": _text(expected_version or None)}
        fields = {name: value for name, value in fields.items() if value is not None}
        query, content = (fields, None) if method == "DELETE" else (None, fields)
        began = trio.current_time()
        backoff = Backoff(began)
        while True:
            retry_after = 0.0
            try:
                return decode_proto(await self._api.request(method, path, query, content), Event).message
            except Unreachable as error:
                failure: Unreachable | Refused = error
            except Refused as refused:
                refused.client_id = client_id
                if not refused.retryable:
                    raise
                failure, retry_after = refused, refused.retry_after_ms / 1000
            pause = backoff.pause(trio.current_time(), retry_after)
            if trio.current_time() + pause > began + CHANGE_DEADLINE:
                failure.client_id = client_id
                raise failure
            await trio.sleep(pause)


def _member_path(chat_id: str, user_id: int) -> str:
    return f"{chat_path(chat_id)}/members/{user_id}"


def _text(number: int | None) -> str | None:
    """The number as in JSON: 64-bit integers are strings."""
    return None if number is None else str(int(number))


def _texts(numbers: Iterable[int]) -> list[str]:
    return [str(number) for number in numbers]
