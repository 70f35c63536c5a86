"""The groups of `rookery chat`: their names, the members of the open one, and the commands that change it."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from rookery.client import (
    ROLE_GUEST,
    ROLE_MEMBER,
    Chat,
    Client,
    Control,
    GroupInvite,
    GroupSettings,
    JoinableChat,
    ListMembersResponse,
    Member,
    Message,
    Role,
    RookeryError,
)
from rookery.commands.terminal.commands import MAX_PAGE, InvalidCommand
from rookery.commands.terminal.group_settings import SWITCHES, settings_lines, switch
from rookery.commands.terminal.names import UserNames
from rookery.commands.terminal.texts import ROLE_NAMES
from shared.contract.groups import MAX_QUERY
from shared.contract.joining import JoinToken

ROLES = {name: role for role, name in ROLE_NAMES.items()}

COMMANDS = (
    "/group",
    "/channel",
    "/rename",
    "/topic",
    "/set",
    "/add",
    "/remove",
    "/leave",
    "/role",
    "/accept",
    "/decline",
    "/revoke",
)
"""The commands that change the open group, or create one."""

LISTINGS = ("/members", "/settings", "/invite", "/invites", "/requests", "/public", "/join")
"""The commands about groups that show lines."""

DAYS = 7
"""Days after which an invite link ends."""

MAX_MEMBERS = 100
"""Members of a channel that /members lists."""

MAX_PAGES = 10
"""Pages of groups among which `/join` looks for a name."""

MAX_LISTED = 20
"""Public groups that are listed at most."""

NO_GROUP = "no group is open: choose one with /open NAME"


class _Members:
    """The known members of a group; in a channel: the user, changed members, authors of shown messages."""

    def __init__(self, chat_id: str = "") -> None:
        self.chat_id = chat_id
        self.by_id: dict[int, Member] = {}
        self.has_missed = False
        """Whether not all control changes came, so that there may be unknown members. In a channel it means nothing."""
        self.version = 0
        """The version of the newest control change that is known."""

    def present(self) -> Iterable[int]:
        """The ids of the present members."""
        return [user_id for user_id, member in self.by_id.items() if member.role]

    def set(self, member: Member) -> None:
        """Set a member, unless a newer change of them is known."""
        known = self.by_id.get(member.user_id)
        if known is None or known.version < member.version:
            self.by_id[member.user_id] = member

    def apply(self, control: Control) -> None:
        """Apply a control change. Ones before it may be missing."""
        self.has_missed |= control.version > self.version + 1
        self.version = max(self.version, control.version)
        for member in control.members:
            self.set(member)

    def take(self, page: ListMembersResponse) -> None:
        """Apply the list of all members."""
        self.has_missed = page.version < self.version
        self.version = max(self.version, page.version)
        listed = {member.user_id for member in page.members}
        for user_id in [*self.by_id]:
            if user_id not in listed and self.by_id[user_id].version <= page.version:
                del self.by_id[user_id]
        for member in page.members:
            self.set(member)


class TerminalGroups:
    """The groups of the terminal, and their control changes."""

    def __init__(self, client: Client, names: UserNames) -> None:
        self._client = client
        self._names = names
        self._titles: dict[str, tuple[int, str]] = {}
        """The newest name of each group, with its version."""
        self._channels: set[str] = set()
        """The groups that are known to be channels."""
        self._open = _Members()
        """The members of the open group; without a chat_id if none is open."""
        self._reading = _Members()
        """The members of the group that is being read, to be opened; without a chat_id if none is."""
        self._watched: frozenset[int] = frozenset()
        self._online: set[int] = set()
        """The watched users who are online."""
        self._invites: Sequence[GroupInvite] = ()
        """The invite links as they were listed last."""

    @property
    def members(self) -> Mapping[int, str]:
        """The names of the known members of the open group."""
        known = self._names.known
        return {user_id: known[user_id] for user_id in self._open.present() if user_id in known}

    async def read_names(self) -> None:
        """Read the members, and the names of the known members, that could not be read before."""
        await self._read_missed()
        await self._names.read(self._open.present())

    def note_watched(self, user_ids: Iterable[int]) -> None:
        """Replace the users whose presence is watched by these."""
        self._watched = frozenset(user_ids)
        self._online &= self._watched

    def set_online(self, user_id: int, *, is_online: bool) -> None:
        """Note whether a user is online. It counts for watched ones only: of others, the end is not reported."""
        if is_online and user_id in self._watched:
            self._online.add(user_id)
        else:
            self._online.discard(user_id)

    def note(self, chats: Iterable[Chat]) -> None:
        """Remember the names of the groups among the chats."""
        for chat in chats:
            if chat.HasField("settings"):
                self._note(chat.chat_id, chat.version, chat.settings)

    async def apply(self, message: Message) -> None:
        """Apply a control change: the newest value of each setting and member stays. Read the names of the members whom
        it adds to the open group; all members, if a change before it did not come, as while the user was no member."""
        control = message.control
        if control.HasField("settings"):
            self._note(message.chat_id, control.version, control.settings)
        for group in (self._open, self._reading):
            if message.chat_id == group.chat_id:
                group.apply(control)
        if message.chat_id == self._open.chat_id:
            await self._read_missed()
            await self._names.read(self._open.present())

    def note_sender(self, message: Message) -> None:
        """Count the sender of a message in the open channel as a member who can be mentioned."""
        if message.chat_id == self._open.chat_id and self.has_open_channel:
            self._open.by_id.setdefault(message.sender_id, Member(user_id=message.sender_id, role=ROLE_MEMBER))

    def note_former(self, user_id: int) -> None:
        """Count a user as no member of the open group, until a newer change says otherwise."""
        if known := self._open.by_id.get(user_id):
            self._open.by_id[user_id] = Member(user_id=user_id, version=known.version)

    @property
    def has_open_channel(self) -> bool:
        """Whether the open group is known to be a channel."""
        return self.is_channel(self._open.chat_id)

    def is_channel(self, chat_id: str) -> bool:
        """Whether this is known to be a channel."""
        return chat_id in self._channels

    async def title(self, chat_id: str) -> str:
        """Return the name of a group."""
        if chat_id not in self._titles:
            with suppress(RookeryError):
                self.note([await self._client.api.chat(chat_id)])
        return self._titles[chat_id][1] if chat_id in self._titles else chat_id

    def find(self, name: str) -> Sequence[str]:
        """Return the known groups with this name; capitals do not matter."""
        wanted = name.strip().casefold()
        return [chat_id for chat_id, (_, title) in self._titles.items() if title.casefold() == wanted]

    async def open_created(self, creation: Message) -> None:
        """Open a group that was created now: history may not have it yet."""
        self._open, self._invites = _Members(creation.chat_id), ()
        await self.apply(creation)

    async def load(self, chat_id: str) -> Sequence[str]:
        """Read a group that is opened. Return lines that describe it.

        Raises RookeryError; the former group stays open then.
        """
        reading = self._reading = _Members(chat_id)
        try:
            chat = await self._client.api.chat(chat_id)
            self.note([chat])
            if not chat.own.role:
                self.close()
                return ["you are not a member any more: the messages can be read"]
            reading.set(chat.own)
            if not self.is_channel(chat_id):
                reading.take(await self._client.groups.members(chat_id))
            await self._names.read(reading.present())
        finally:
            self._reading = _Members()
        self._open, self._invites = reading, ()
        count = f"{chat.member_count} member{'s' if chat.member_count != 1 else ''}: /members lists them"
        return [count, *([f"topic: {chat.settings.topic}"] if chat.settings.topic else [])]

    def close(self) -> None:
        """Leave no group open, such as when the user writes to a direct chat."""
        self._open, self._invites = _Members(), ()

    async def _read_missed(self) -> None:
        """Read the members of the open group if there may be unknown changes of them; again at the next call if the
        server does not answer, or does not have the newest known control change yet."""
        group = self._open
        if group.has_missed and not self.has_open_channel:
            with suppress(RookeryError):
                page = await self._client.groups.members(group.chat_id)
                if page.version >= group.version:
                    group.take(page)

    async def lines(self, command: str, arguments: Sequence[str]) -> Sequence[str]:
        """Carry out a command that shows lines, and return them. Raises InvalidCommand; RookeryError."""
        match command, *arguments:
            case ("/members",):
                return await self._list_members()
            case ("/settings",):
                return settings_lines((await self._client.api.chat(self._require())).settings)
            case "/invite", *numbers if len(numbers) < 3 and all(map(_is_count, numbers)):
                return await self._invite(*map(int, numbers))
            case ("/invites",):
                return await self._list_invites()
            case ("/requests",):
                return await self._list_requests()
            case "/public", *words:
                return await self._list_public(" ".join(words))
            case "/join", text:
                return [await self._join(text)]
            case _:
                raise InvalidCommand(f"{command} needs other arguments: /help shows them")

    async def _list_members(self) -> Sequence[str]:
        """The names of the members with their roles, by name."""
        group_id = self._require()
        await self._read_missed()
        present = [member for member in self._open.by_id.values() if member.role]
        has_more = False
        if self.is_channel(group_id):
            page = await self._client.groups.members(group_id, limit=MAX_MEMBERS)
            present, has_more = list(page.members), page.has_more
        await self._names.read(member.user_id for member in present)
        roles = {await self._names.of(member.user_id): ROLE_NAMES.get(member.role, "") for member in present}
        online = {await self._names.of(user_id) for user_id in self._online}
        listed = [
            name + (role != "member") * f" ({role})" + (name in online) * ", online"
            for name, role in sorted(roles.items())
        ]
        return [*listed, *([f"only {MAX_MEMBERS} members are listed"] if has_more else [])]

    async def _invite(self, days: int = DAYS, uses: int = 0) -> Sequence[str]:
        made = await self._client.groups.create_invite(self._require(), expires_in=days * 86_400.0, max_uses=uses)
        return [f"others join with /join {made.token}", f"it {_limits(made.invite)}"]

    async def _list_invites(self) -> Sequence[str]:
        """The links that can still be used, numbered for /revoke."""
        self._invites = [each for each in await self._client.groups.invites(self._require()) if each.is_usable]
        await self._names.read(each.creator_id for each in self._invites)
        listed = [
            f"{number}: of {await self._names.of(each.creator_id)}, used {each.uses} times, {_limits(each)}"
            for number, each in enumerate(self._invites, 1)
        ]
        return listed or ["no invite link can be used"]

    async def _list_requests(self) -> Sequence[str]:
        asking = [each.user_id for each in await self._client.groups.requests(self._require())]
        await self._names.read(asking)
        return [await self._names.of(user_id) for user_id in asking] or ["nobody waits to join"]

    async def _list_public(self, query: str) -> Sequence[str]:
        page = await self._client.groups.public(query, limit=MAX_LISTED)
        listed = [_described(chat) for chat in page.chats]
        return [*listed, *(["there are more: add a word"] if page.has_more else [])] or ["no public group is found"]

    async def _join(self, text: str) -> str:
        """Join by the token of an invite link, or the public group of this name."""
        groups = self._client.groups
        if JoinToken.parse(text) is not None:
            chat, message = await groups.joinable(text), await groups.join(text)
        else:
            chat = await self._public_named(text)
            message = await groups.join_public(chat.chat_id)
        if not any(member.role for member in message.control.members):
            return f"you asked to join {chat.name}: its members add you, or not"
        return f"you joined {chat.name}: /open {chat.name} writes to it"

    async def _public_named(self, name: str) -> JoinableChat:
        """The first public group of this name. Raises InvalidCommand; RookeryError."""
        after, wanted = "", name.casefold()
        for _ in range(MAX_PAGES):
            page = await self._client.groups.public(name[:MAX_QUERY], after=after, limit=MAX_PAGE)
            found = next((chat for chat in page.chats if chat.name.casefold() == wanted), None)
            if found is not None:
                return found
            if not page.has_more:
                break
            after = page.after
        raise InvalidCommand(f"no public group has the name {name}: /public lists them")

    async def execute(self, command: str, arguments: Sequence[str]) -> Message:
        """Make the control change of a command. Raises InvalidCommand; RookeryError."""
        groups = self._client.groups
        match command, *arguments:
            case "/group", name:
                return await groups.create(name)
            case "/channel", name:
                return await groups.create(name, is_channel=True)
            case ("/channel",):
                return await groups.change_settings(self._require(), is_channel=True)
            case "/rename", name:
                return await groups.change_settings(self._require(), name=name)
            case "/topic", *topic:
                return await groups.change_settings(self._require(), topic=" ".join(topic))
            case "/set", name, ("on" | "off") as value if name in SWITCHES:
                return await switch(self._client, self._require(), name, is_on=value == "on")
            case "/set", *_:
                raise InvalidCommand(f"/set NAME on, or off: a NAME is {', '.join(SWITCHES)}")
            case "/add" | "/accept", *names if names:
                group_id, role = self._require(), self._role_of_added()
                return await groups.add_members(group_id, [await self._user_id(name) for name in names], role=role)
            case "/remove", name:
                return await groups.remove_member(self._require(), await self._user_id(name))
            case ("/leave",):
                return await groups.leave(self._require())
            case "/role", name, role if role in ROLES:
                return await groups.change_member(self._require(), await self._user_id(name), role=ROLES[role])
            case "/decline", name:
                return await groups.decline(self._require(), await self._user_id(name))
            case "/revoke", number if _is_count(number) and 0 < int(number) <= len(self._invites):
                return await groups.revoke_invite(self._require(), self._invites[int(number) - 1].invite_id)
            case "/revoke", *_:
                raise InvalidCommand("/revoke NUMBER: /invites lists the links with their numbers")
            case "/role", *_:
                raise InvalidCommand(f"/role NAME ROLE: a role is {', '.join(ROLES)}")
            case _:
                raise InvalidCommand(f"{command} needs other arguments: /help shows them")

    def _require(self) -> str:
        """The open group. Raises InvalidCommand without one."""
        if not self._open.chat_id:
            raise InvalidCommand(NO_GROUP)
        return self._open.chat_id

    def _role_of_added(self) -> Role:
        """The role of the members whom the user adds to the open group: a guest may add guests only."""
        own = self._open.by_id.get(self._client.me.user_id)
        return ROLE_GUEST if own and own.role == ROLE_GUEST else ROLE_MEMBER

    async def _user_id(self, name: str) -> int:
        user = await self._client.api.find_user(name)
        self._names.known[user.user_id] = user.name
        return user.user_id

    def _note(self, chat_id: str, version: int, settings: GroupSettings) -> None:
        if settings.is_channel:
            self._channels.add(chat_id)
        if version >= self._titles.get(chat_id, (0, ""))[0]:
            self._titles[chat_id] = version, settings.name


def _is_count(word: str) -> bool:
    """Whether the argument is a number of at most 5 digits."""
    return word.isdecimal() and len(word) < 6


def _limits(invite: GroupInvite) -> str:
    """When an invite link ends, and how often it may be used."""
    ends = time.strftime("ends at %Y-%m-%d %H:%M", time.localtime(invite.expires_at_ms / 1000))
    uses = f"can be used {invite.max_uses} times" if invite.max_uses else "can be used any number of times"
    return f"{uses}, {ends if invite.expires_at_ms else 'never ends'}"


def _described(chat: JoinableChat) -> str:
    """A public group in a list."""
    notes = [f"{chat.members} member{'s' if chat.members != 1 else ''}"]
    if chat.is_member:
        notes.append("you are one")
    elif chat.has_asked:
        notes.append("you asked to join")
    elif chat.asks_to_join:
        notes.append("members decide who joins")
    return f"{chat.name} ({', '.join(notes)})"
