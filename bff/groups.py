"""Groups and their members: `/v1/chats`. Gateways make the changes, archives answer the queries."""

from collections.abc import Sequence
from typing import Any

import trio

from bff.files.avatars import Avatars
from bff.http.endpoints import Response, endpoint
from bff.models import groups as models
from bff.models.people import Profiles
from bff.profiles import search_users
from bff.read_marks import blocked_marks, hidden_marks
from bff.services import Services
from rookery.v1.archive_pb2 import (
    Chat,
    GetChatRequest,
    GetGroupRequest,
    ListMarksRequest,
    ListMarksResponse,
    ListMembersRequest,
    ListMembersResponse,
)
from rookery.v1.group_service_pb2 import (
    AddMembers,
    ChangeGroupRequest,
    ChangeGroupResponse,
    ChangeMember,
    ChangeSettings,
    CreateGroup,
    RemoveMember,
)
from rookery.v1.groups_pb2 import Control, GroupSettings
from rookery.v1.session_pb2 import Event, Message
from shared.accounts.store import MAX_IDS, User
from shared.accounts.tokens import Claims
from shared.contract.chats import group_chat_id, is_group
from shared.contract.errors import Code, Refusal
from shared.contract.wire import to_object
from shared.unknown_chats import UnknownChatLimit

RECORDED_SECONDS = 1.0
"""How long the response to a change waits for the archive to record it, so that later requests return the change."""

RETRY_SECONDS = 0.05
"""Between queries of the archive, which does not announce recorded events."""

MAX_SEARCHED = 1_000
"""Accounts among which one request looks for members by name; the next page goes on after them."""

NO_GROUP = Refusal(Code.NOT_FOUND, "There is no such group among your chats.", field="chat_id")


class Groups:
    """Create and change groups, and read their members."""

    def __init__(self, services: Services, chat_limit: UnknownChatLimit, avatars: Avatars) -> None:
        self._services = services
        self._chat_limit = chat_limit
        self._avatars = avatars

    @endpoint("POST", "/v1/chats", Event, status=201)
    async def create_group(self, claims: Claims, token: str, body: models.NewGroup) -> Response | Refusal:
        """Create a group. The response is its first event. A retry with the same `client_change_id` makes no second
        group."""
        settings = GroupSettings(
            name=body.name,
            topic=body.topic,
            permissions=body.permissions or 0,
            shows_history=body.shows_history,
            is_public=body.is_public,
            asks_to_join=body.asks_to_join,
            is_channel=body.is_channel,
        )
        request = ChangeGroupRequest(
            chat_id=group_chat_id(claims.user_id, body.client_change_id),
            client_change_id=body.client_change_id,
            create=CreateGroup(settings=settings, user_ids=body.user_ids),
        )
        return await self.respond(claims.user_id, await self._services.groups.change(request, token), status=201)

    @endpoint("PATCH", "/v1/chats/<chat_id>", Event)
    async def change_group(
        self, claims: Claims, token: str, chat_id: str, body: models.GroupChange
    ) -> Response | Refusal:
        """Change the name, the topic, the picture, the permissions, the history or the joining of a group, or make it a
        channel."""
        former = await self._group_before(claims.user_id, chat_id, body.avatar)
        if isinstance(former, Refusal):
            return former
        fields = body.model_dump(exclude_none=True, exclude={"client_change_id", "expected_version"})
        change = ChangeSettings(**fields)
        answer = await self.make(
            claims, token, chat_id, body.client_change_id, body.expected_version, change_settings=change
        )
        response = await self.respond(claims.user_id, answer)
        if not isinstance(answer, Refusal) and _replaces_avatar(answer.event.message.control, former):
            await self._avatars.forget(chat_id, former.settings.avatar)
        return response

    async def _group_before(self, user_id: int, chat_id: str, avatar: str | None) -> Chat | Refusal:
        """The group before its picture changes; empty if it does not. Refuses a picture that is not the group's."""
        if avatar is None or not is_group(chat_id):
            return Chat()
        request = GetChatRequest(user_id=user_id, chat_id=chat_id)
        found = await self._chat_limit.call(user_id, self._services.archive.get_chat, request)
        if isinstance(found, Refusal):
            return found
        is_new = avatar and avatar != found.chat.settings.avatar
        if is_new and (refusal := await self._avatars.check(chat_id, avatar)):
            return refusal
        return found.chat

    @endpoint("POST", "/v1/chats/<chat_id>/members", Event)
    async def add_members(
        self, claims: Claims, token: str, chat_id: str, body: models.NewMembers
    ) -> Response | Refusal:
        """Add users to a group."""
        added = AddMembers(user_ids=body.user_ids, role=body.role)
        return await self.change(claims, token, chat_id, body, add_members=added)

    @endpoint("PATCH", "/v1/chats/<chat_id>/members/<user_id>", Event)
    async def change_member(
        self, claims: Claims, token: str, chat_id: str, user_id: int, body: models.MemberChange
    ) -> Response | Refusal:
        """Change the role or the own permissions of a member, or hand the group over."""
        fields = body.model_dump(exclude_none=True, exclude={"client_change_id", "expected_version"})
        return await self.change(claims, token, chat_id, body, change_member=ChangeMember(user_id=user_id, **fields))

    @endpoint("DELETE", "/v1/chats/<chat_id>/members/<user_id>", Event)
    async def remove_member(
        self, claims: Claims, token: str, chat_id: str, user_id: int, query: models.RemovalQuery
    ) -> Response | Refusal:
        """Remove a member, or leave the group as this user. An owner hands the group over first, or leaves last."""
        return await self.change(claims, token, chat_id, query, remove_member=RemoveMember(user_id=user_id))

    @endpoint("GET", "/v1/chats/<chat_id>/members", ListMembersResponse)
    async def list_members(self, claims: Claims, chat_id: str, query: models.MembersQuery) -> Response | Refusal:
        """A page of the members of a chat, by rising user id; with `user_ids`, the members among these users."""
        request = ListMembersRequest(
            user_id=claims.user_id, chat_id=chat_id, limit=query.limit, after=query.after, user_ids=query.user_ids
        )
        response = await self._chat_limit.call(claims.user_id, self._services.archive.list_members, request)
        if isinstance(response, Refusal):
            return response
        return Response({"members": [], "has_more": False, "version": "0", **to_object(response)})

    @endpoint("GET", "/v1/chats/<chat_id>/profiles", Profiles)
    async def find_members(self, claims: Claims, chat_id: str, query: models.MemberSearch) -> Response | Refusal:
        """A page of the profiles of a group's members whom a search by a part of a name finds: the one with this name,
        then the others by name. A request looks for members among 1,000 accounts with such names at most: a page may be
        shorter than its limit, or empty, and have a `next_cursor`."""
        own = await self._among(claims.user_id, chat_id, [claims.user_id])
        if isinstance(own, Refusal):
            return own
        if not own:  # a former member reads no members
            return Response(Profiles.of([]))
        return await self._search(claims.user_id, chat_id, query)

    @endpoint("GET", "/v1/chats/<chat_id>/marks", ListMarksResponse)
    async def list_marks(self, claims: Claims, chat_id: str, query: models.MarksQuery) -> Response | Refusal:
        """The read marks of the members of a chat, the 1,000 highest, by which clients list "seen by". Hidden marks are
        left out, as is that of the other user of a direct chat while one blocks the other; a user with hidden marks
        gets their own one only. A channel has none."""
        request = ListMarksRequest(user_id=claims.user_id, chat_id=chat_id, from_id=query.from_id)
        response = await self._chat_limit.call(claims.user_id, self._services.archive.list_marks, request)
        if isinstance(response, Refusal):
            return response
        found = await hidden_marks(self._services.accounts, claims.user_id, response.marks)
        if not is_group(chat_id):
            found += await blocked_marks(self._services.accounts, claims.user_id, response.marks)
        hidden = {mark.user_id for mark in found}
        # Left out, since in a group the order and `delivered_up_to` follow from reading.
        shown = ListMarksResponse(marks=[mark for mark in response.marks if mark.user_id not in hidden])
        return Response({"marks": [], **to_object(shown)})

    async def change(
        self,
        claims: Claims,
        token: str,
        chat_id: str,
        meant: models.GroupChange | models.NewMembers | models.MemberChange | models.RemovalQuery,
        **change: Any,
    ) -> Response | Refusal:
        """Make a change of an existing group, and return its event. `change` is one field of ChangeGroupRequest."""
        answer = await self.make(claims, token, chat_id, meant.client_change_id, meant.expected_version, **change)
        return await self.respond(claims.user_id, answer)

    async def make(
        self,
        claims: Claims,
        token: str,
        chat_id: str,
        client_change_id: str,
        expected_version: int = 0,
        **change: Any,
    ) -> ChangeGroupResponse | Refusal:
        """Make a change of an existing group. `change` is one field of ChangeGroupRequest."""

        async def make(request: ChangeGroupRequest) -> ChangeGroupResponse | Refusal:
            if not is_group(request.chat_id):
                return NO_GROUP
            return await self._services.groups.change(request, token)

        request = ChangeGroupRequest(
            chat_id=chat_id,
            client_change_id=client_change_id,
            expected_version=expected_version,
            **change,
        )
        return await self._chat_limit.call(claims.user_id, make, request)

    async def respond(
        self, user_id: int, answer: ChangeGroupResponse | Refusal, *, status: int = 200
    ) -> Response | Refusal:
        """The response with the event of a user's change, once it is recorded."""
        if isinstance(answer, Refusal):
            return answer
        await self.wait_recorded(user_id, answer.event.message)
        return Response(to_object(answer.event), status)

    async def wait_recorded(self, user_id: int, message: Message) -> None:
        """Wait until the archive has recorded a user's change, RECORDED_SECONDS at most."""
        with trio.move_on_after(RECORDED_SECONDS):
            while not await self._is_recorded(user_id, message):  # noqa: ASYNC110 - see RETRY_SECONDS
                await trio.sleep(RETRY_SECONDS)

    async def _is_recorded(self, user_id: int, message: Message) -> bool:
        own = next((each for each in message.control.members if each.user_id == user_id), None)
        if own is not None and not own.role and not own.former_role:  # they asked to join: no member lists members
            found = await self._services.archive.get_group(GetGroupRequest(chat_id=message.chat_id))
            return not isinstance(found, Refusal) and found.group.version >= message.control.version
        request = ListMembersRequest(user_id=user_id, chat_id=message.chat_id, limit=1)
        response = await self._services.archive.list_members(request)
        return not isinstance(response, Refusal) and response.version >= message.control.version

    async def _search(self, user_id: int, chat_id: str, query: models.MemberSearch) -> Response | Refusal:
        """The members on a page of a search: it reads on in the accounts until the page is full, or to MAX_SEARCHED."""
        limit = query.limit or self._services.live.value.profiles_page_size
        cursor, members = query.cursor, list[User]()
        for _ in range(MAX_SEARCHED // MAX_IDS):
            found = await search_users(self._services.accounts, query.name_contains, cursor=cursor, limit=MAX_IDS)
            ids = await self._among(user_id, chat_id, [user.user_id for user in found.users])
            if isinstance(ids, Refusal):
                return ids
            cursor = found.next_cursor
            members += [user for user in found.users if user.user_id in ids]
            if len(members) > limit:
                cursor = found.cursor_after(members[limit - 1])
            if len(members) >= limit or not cursor:
                break
        return Response(Profiles.of(members[:limit], cursor))

    async def _among(self, user_id: int, chat_id: str, user_ids: Sequence[int]) -> set[int] | Refusal:
        """The ids of the members of a chat among up to 100 users; empty if the asking user is a former member."""
        if not user_ids:
            return set()
        request = ListMembersRequest(user_id=user_id, chat_id=chat_id, limit=1, user_ids=user_ids)
        response = await self._chat_limit.call(user_id, self._services.archive.list_members, request)
        return response if isinstance(response, Refusal) else {member.user_id for member in response.members}


def _replaces_avatar(control: Control, former: Chat) -> bool:
    """Whether the change took the picture of `former` away. A retry may have the event of an old change, after which
    the group got its present picture."""
    is_other = "avatar" in control.changed and control.settings.avatar != former.settings.avatar
    return is_other and control.version > former.version > 0
