"""The user's connections and blocks, and reports, over the HTTP API."""

from collections.abc import Sequence

import msgspec

from rookery.client.http import Api, decode_json


class Connection(msgspec.Struct, frozen=True):
    """A connection to another user."""

    user_id: int
    state: str
    """`connected`; `invited` by the user; or `invites_me`."""
    since_ms: int
    """Milliseconds since 1970."""


class _Connections(msgspec.Struct, frozen=True):
    connections: list[Connection]


class _OneConnection(msgspec.Struct, frozen=True):
    connection: Connection


class _Blocks(msgspec.Struct, frozen=True):
    user_ids: list[int]


class _Receipt(msgspec.Struct, frozen=True):
    report_id: int


class People:
    """Each method may be repeated: only `report` has an effect each time. Methods raise Refused, Unreachable and
    SignedOut."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def connections(self) -> Sequence[Connection]:
        """Return the connections, invited users, and users who invite this one; at most 1,000."""
        return decode_json(await self._api.request("GET", "/v1/me/connections"), _Connections).connections

    async def connect(self, user_id: int) -> Connection:
        """Invite a user, or accept their invitation."""
        answer = await self._api.request("PUT", f"/v1/me/connections/{user_id}")
        return decode_json(answer, _OneConnection).connection

    async def disconnect(self, user_id: int) -> None:
        """Remove a connection, cancel an invitation, or decline one."""
        await self._api.request("DELETE", f"/v1/me/connections/{user_id}")

    async def blocks(self) -> Sequence[int]:
        """Return the ids of the blocked users; at most 1,000."""
        return decode_json(await self._api.request("GET", "/v1/me/blocks"), _Blocks).user_ids

    async def block(self, user_id: int) -> None:
        """Block a user: neither can write to the other in their direct chat, and a connection ends."""
        await self._api.request("PUT", f"/v1/me/blocks/{user_id}")

    async def unblock(self, user_id: int) -> None:
        await self._api.request("DELETE", f"/v1/me/blocks/{user_id}")

    async def report(self, user_id: int, reason: str, *, chat_id: str = "", message_ids: Sequence[int] = ()) -> int:
        """Report a user to the admins, with at most 20 messages of one chat, and a reason of at most 1,000 characters.
        Return the id of the report."""
        body = {"user_id": str(user_id), "chat_id": chat_id, "message_ids": [*map(str, message_ids)], "reason": reason}
        return decode_json(await self._api.request("POST", "/v1/reports", body=body), _Receipt).report_id
