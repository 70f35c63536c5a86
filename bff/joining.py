"""Joining groups: invite links, public groups, and requests to join. Gateways make the changes, archives answer the
queries."""

from dataclasses import replace

import trio
from quart import request

from bff.groups import NO_GROUP, Groups
from bff.http.endpoints import Response, endpoint
from bff.http.proxy_headers import client_address
from bff.models import groups as models
from bff.services import Services
from rookery.v1.archive_pb2 import GetGroupRequest, GetGroupResponse, ListPublicChatsRequest
from rookery.v1.group_service_pb2 import ChangeGroupRequest, CreateInvite, DeclineUser, Join, RevokeInvite
from rookery.v1.groups_pb2 import Member
from rookery.v1.session_pb2 import Event
from shared.accounts.store import deleted_users
from shared.accounts.tokens import Claims, made_secret
from shared.contract.chats import is_group, no_such_chat
from shared.contract.errors import Code, Refusal
from shared.contract.groups import PERMISSION_TEXTS, Permission, Roster
from shared.contract.joining import NO_LINK, JoinToken, secret_hash
from shared.throttle import Attempt, Take, Throttle, take_all, too_many
from shared.unknown_chats import UnknownChatLimit

PAGE = 20
"""Public groups on a page, unless the client sets another number."""

ADDRESS_FACTOR = 10
"""Requests with tokens that are not valid per address, as a multiple of the limit per user."""


class Joining:
    """Invite users to a group by links, join groups, and decide on requests to join."""

    def __init__(self, services: Services, chat_limit: UnknownChatLimit, groups: Groups) -> None:
        self._services = services
        self._chat_limit = chat_limit
        self._groups = groups
        self._by_user = Throttle()
        self._by_address = Throttle()

    @endpoint("POST", "/v1/chats/<chat_id>/invites", models.NewGroupInvite, status=201)
    async def create_group_invite(
        self, claims: Claims, token: str, chat_id: str, body: models.NewInvite
    ) -> Response | Refusal:
        """Create an invite link to a group. A retry with the same `client_change_id` returns the same token."""
        named = f"{claims.user_id} {chat_id} {body.client_change_id}"
        link = JoinToken.of(chat_id, await made_secret(self._services.issuer.keys, "invite link", named))
        expires_at_ms = body.expires_in_seconds and self._services.clock_ms() + body.expires_in_seconds * 1000
        digest = secret_hash(link.secret)
        create = CreateInvite(secret_hash=digest, expires_at_ms=expires_at_ms, max_uses=body.max_uses)
        answer = await self._groups.make(claims, token, chat_id, body.client_change_id, create_invite=create)
        if isinstance(answer, Refusal):
            return replace(answer, field="expires_in_seconds") if answer.field == "expires_at_ms" else answer
        message = answer.event.message
        await self._groups.wait_recorded(claims.user_id, message)
        (invite,) = (each for each in message.control.invites if each.secret_hash == digest)
        made = models.GroupInvite.of(invite, is_usable=True)
        return Response(models.NewGroupInvite(invite=made, token=str(link)), 201)

    @endpoint("GET", "/v1/chats/<chat_id>/invites", models.GroupInvites)
    async def list_group_invites(self, claims: Claims, chat_id: str) -> Response | Refusal:
        """The invite links of a group, ended links too, without tokens. It needs the permission to add members."""
        roster = await self._managed(claims.user_id, chat_id)
        if isinstance(roster, Refusal):
            return roster
        now_ms = self._services.clock_ms()
        invites = [
            models.GroupInvite.of(invite, is_usable=roster.is_usable(invite, now_ms))
            for invite in roster.invites.values()
        ]
        return Response(models.GroupInvites(invites=invites, version=str(roster.version)))

    @endpoint("DELETE", "/v1/chats/<chat_id>/invites/<invite_id>", Event)
    async def revoke_group_invite(
        self, claims: Claims, token: str, chat_id: str, invite_id: int, query: models.RemovalQuery
    ) -> Response | Refusal:
        """End an invite link. A link of another user needs the permission to manage the group."""
        return await self._groups.change(claims, token, chat_id, query, revoke_invite=RevokeInvite(invite_id=invite_id))

    @endpoint("GET", "/v1/joining/<link>", models.JoinableChat)
    async def get_joinable_chat(self, claims: Claims, link: str) -> Response | Refusal:
        """The group of an invite link's token. A link that has ended still shows the group to members, and to a user
        whose request to join by this link is open."""
        attempt = self._begin(claims.user_id)
        if isinstance(attempt, Refusal):
            return attempt
        chat = await self._joinable(claims.user_id, link)
        if chat != NO_LINK:
            attempt.forgive()
        return chat if isinstance(chat, Refusal) else Response(chat)

    @endpoint("POST", "/v1/joining/<link>", Event)
    async def join(self, claims: Claims, token: str, link: str, body: models.JoiningUser) -> Response | Refusal:
        """Join a group by the token of an invite link, or ask to join it."""
        attempt = self._begin(claims.user_id)
        if isinstance(attempt, Refusal):
            return attempt
        parsed = JoinToken.parse(link)
        if parsed is None:
            return NO_LINK
        change = ChangeGroupRequest(
            chat_id=parsed.chat_id, client_change_id=body.client_change_id, join=Join(secret=parsed.secret)
        )
        answer = await self._services.groups.change(change, token)
        if answer != NO_LINK:
            attempt.forgive()
        return await self._groups.respond(claims.user_id, answer)

    @endpoint("GET", "/v1/public-chats", models.PublicChats)
    async def list_public_chats(self, claims: Claims, query: models.PublicChatsQuery) -> Response | Refusal:
        """A page of the public groups whose names the query finds, by name; of all public groups without a query."""
        asked = ListPublicChatsRequest(
            user_id=claims.user_id, query=query.query, limit=query.limit or PAGE, cursor=query.after
        )
        found = await self._services.archive.list_public_chats(asked)
        if isinstance(found, Refusal):
            return replace(found, field="after") if found.field == "cursor" else found
        chats = [
            models.JoinableChat.of(each.chat_id, each.settings, each.member_count, each.own) for each in found.chats
        ]
        after = found.next_cursor
        return Response(models.PublicChats(chats=chats, has_more=bool(after), after=after))

    @endpoint("POST", "/v1/public-chats/<chat_id>/joining", Event)
    async def join_public_chat(
        self, claims: Claims, token: str, chat_id: str, body: models.JoiningUser
    ) -> Response | Refusal:
        """Join a public group, or ask to join it."""
        answer = await self._groups.make(claims, token, chat_id, body.client_change_id, join=Join())
        return await self._groups.respond(claims.user_id, answer)

    @endpoint("GET", "/v1/chats/<chat_id>/requests", models.JoinRequests)
    async def list_join_requests(self, claims: Claims, chat_id: str) -> Response | Refusal:
        """The requests to join a group, without requests of deleted accounts. It needs the permission to add members.
        To accept a request, add its user."""
        roster = await self._managed(claims.user_id, chat_id)
        if isinstance(roster, Refusal):
            return roster
        waiting = roster.asking()
        deleted = await deleted_users(self._services.accounts, [each.user_id for each in waiting])
        asking = [
            models.JoinRequest(user_id=str(each.user_id), asked_at_ms=str(each.asked_at_ms))
            for each in waiting
            if each.user_id not in deleted
        ]
        return Response(models.JoinRequests(requests=asking, version=str(roster.version)))

    @endpoint("DELETE", "/v1/chats/<chat_id>/requests/<user_id>", Event)
    async def decline_user(
        self, claims: Claims, token: str, chat_id: str, user_id: int, query: models.RemovalQuery
    ) -> Response | Refusal:
        """Decline the request of a user to join a group, or take this user's own request back."""
        return await self._groups.change(claims, token, chat_id, query, decline_user=DeclineUser(user_id=user_id))

    def _begin(self, user_id: int) -> Attempt | Refusal:
        """Count a request with a token, which is forgiven if the token is valid; else a Refusal."""
        limit = self._services.live.value.unknown_chats_per_minute
        takes = [
            Take(self._by_user, str(user_id), limit),
            Take(self._by_address, client_address(request), limit * ADDRESS_FACTOR),
        ]
        begun = take_all(takes, trio.current_time())
        return begun if isinstance(begun, Attempt) else too_many("links that are not valid", begun)

    async def _joinable(self, user_id: int, link: str) -> models.JoinableChat | Refusal:
        token = JoinToken.parse(link)
        if token is None:
            return NO_LINK
        found = await self._services.archive.get_group(GetGroupRequest(chat_id=token.chat_id, user_ids=[user_id]))
        if isinstance(found, Refusal):
            return found
        roster, digest = Roster.of(found.group), secret_hash(token.secret)
        own = roster.members.get(user_id, Member())
        known_ids = [each.invite_id for each in roster.invites.values() if each.secret_hash == digest]
        is_known = bool(known_ids) if user_id in roster else own.asked_at_ms > 0 and own.invite_id in known_ids
        if not is_known and roster.usable_invite(digest, self._services.clock_ms(), user_id) is None:
            return NO_LINK
        return models.JoinableChat.of(roster.chat_id, roster.settings, roster.member_count, own)

    async def _managed(self, user_id: int, chat_id: str) -> Roster | Refusal:
        """The group, if the user may add members to it."""

        async def get(asked: GetGroupRequest) -> GetGroupResponse | Refusal:
            if not is_group(asked.chat_id):
                return NO_GROUP
            found = await self._services.archive.get_group(asked)
            if not isinstance(found, Refusal) and user_id not in Roster.of(found.group):
                return no_such_chat()
            return found

        found = await self._chat_limit.call(user_id, get, GetGroupRequest(chat_id=chat_id, user_ids=[user_id]))
        if isinstance(found, Refusal):
            return found
        roster = Roster.of(found.group)
        if Permission.ADD_MEMBERS in roster.permissions(user_id):
            return roster
        return Refusal(Code.FORBIDDEN, f"You may not {PERMISSION_TEXTS[Permission.ADD_MEMBERS]} here.")
