"""The groups of `rookery chat`: their names, the members of the open one, and the commands that change it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from rookery.client import Chat, Client, Member, Message, RookeryError
from rookery.commands.message_text import ROLE_NAMES
from rookery.commands.names import UserNames

ROLES = {name: role for role, name in ROLE_NAMES.items()}

COMMANDS = ("/group", "/rename", "/topic", "/add", "/remove", "/leave", "/role")
"""The commands that change a group."""

NO_GROUP = "no group is open: choose one with /open NAME"


class InvalidCommand(Exception):
    """The message is for the user."""


class TerminalGroups:
    """The groups of the terminal, and their control changes."""

    def __init__(self, client: Client, names: UserNames) -> None:
        self._client = client
        self._names = names
        self._titles: dict[str, tuple[int, str]] = {}
        """The newest name of each group, with its version."""
        self._open = ""
        """The group whose members are known."""
        self._members: dict[int, Member] = {}

    @property
    def members(self) -> Mapping[int, str]:
        """The names of the members of the open group."""
        present = (user_id for user_id, member in self._members.items() if member.role)
        return {user_id: self._names.known[user_id] for user_id in present if user_id in self._names.known}

    def note(self, chats: Iterable[Chat]) -> None:
        """Remember the names of the groups among the chats."""
        for chat in chats:
            if chat.HasField("settings"):
                self._note(chat.chat_id, chat.version, chat.settings.name)

    def apply(self, message: Message) -> None:
        """Apply a control change: the newest value of each setting and member stays."""
        control = message.control
        if control.HasField("settings"):
            self._note(message.chat_id, control.version, control.settings.name)
        if message.chat_id == self._open:
            for member in control.members:
                self._set(member)

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

    def open_created(self, creation: Message) -> None:
        """Open a group that was created now: history may not have it yet."""
        self._open, self._members = creation.chat_id, {}
        self.apply(creation)

    async def load(self, chat_id: str) -> Sequence[str]:
        """Read a group that is opened. Return lines that describe it. Raises RookeryError."""
        self._open, self._members = "", {}
        chat = await self._client.api.chat(chat_id)
        self.note([chat])
        if not chat.own.role:
            return ["you are not a member any more: the messages can be read"]
        self._open = chat_id
        for member in (await self._client.groups.members(chat_id)).members:
            self._set(member)
        await self._names.read(self._members)
        count = f"{chat.member_count} member{'s' if chat.member_count != 1 else ''}: /members lists them"
        return [count, *([f"topic: {chat.settings.topic}"] if chat.settings.topic else [])]

    async def list_members(self) -> Sequence[str]:
        """Return the names of the members with their roles, by name. Raises InvalidCommand."""
        self._require()
        present = [member for member in self._members.values() if member.role]
        await self._names.read(member.user_id for member in present)
        roles = {await self._names.of(member.user_id): ROLE_NAMES.get(member.role, "") for member in present}
        return [name if role == "member" else f"{name} ({role})" for name, role in sorted(roles.items())]

    async def execute(self, command: str, arguments: Sequence[str]) -> Message:
        """Make the control change of a command. Raises InvalidCommand; RookeryError."""
        groups = self._client.groups
        match command, *arguments:
            case "/group", name:
                return await groups.create(name)
            case "/rename", name:
                return await groups.change_settings(self._require(), name=name)
            case "/topic", *topic:
                return await groups.change_settings(self._require(), topic=" ".join(topic))
            case "/add", *names if names:
                group_id = self._require()
                return await groups.add_members(group_id, [await self._user_id(name) for name in names])
            case "/remove", name:
                return await groups.remove_member(self._require(), await self._user_id(name))
            case ("/leave",):
                return await groups.leave(self._require())
            case "/role", name, role if role in ROLES:
                return await groups.change_member(self._require(), await self._user_id(name), role=ROLES[role])
            case "/role", *_:
                raise InvalidCommand(f"/role NAME ROLE: a role is {', '.join(ROLES)}")
            case _:
                raise InvalidCommand(f"{command} needs other arguments: /help shows them")

    def _require(self) -> str:
        """The open group. Raises InvalidCommand without one."""
        if not self._open:
            raise InvalidCommand(NO_GROUP)
        return self._open

    async def _user_id(self, name: str) -> int:
        user = await self._client.api.find_user(name)
        self._names.known[user.user_id] = user.name
        return user.user_id

    def _set(self, member: Member) -> None:
        known = self._members.get(member.user_id)
        if known is None or known.version < member.version:
            self._members[member.user_id] = member

    def _note(self, chat_id: str, version: int, name: str) -> None:
        if version >= self._titles.get(chat_id, (0, ""))[0]:
            self._titles[chat_id] = version, name
