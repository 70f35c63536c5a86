"""The commands of `rookery chat` about connections, blocks and reports."""

from collections.abc import Awaitable, Callable, Sequence

from rookery.client import Client, Message, RookeryError
from rookery.commands.terminal.commands import InvalidCommand
from rookery.commands.terminal.names import UserNames

COMMANDS = ("/connect", "/disconnect", "/connections", "/block", "/unblock", "/blocks")

STATES = {"connected": "", "invited": " (invited)", "invites_me": " (invites you: /connect or /disconnect)"}
"""The words after a name in /connections."""

MAX_INVITATIONS = 10
"""Invitations that are shown unasked."""


class TerminalPeople:
    """The connections and blocks of the user."""

    def __init__(self, client: Client, names: UserNames) -> None:
        self._client = client
        self._names = names
        self._inviting: set[int] = set()
        """The users whose invitations were shown, or counted as further ones, and stand."""

    async def execute(self, command: str, arguments: Sequence[str]) -> Sequence[str]:
        """Execute one of the COMMANDS, and return the lines to show. Raises InvalidCommand; RookeryError."""
        people = self._client.people
        match command, *arguments:
            case ("/connections",):
                found = {each.user_id: STATES.get(each.state, "") for each in await people.connections()}
                return await self._named(found, "no connections yet: /connect NAME invites a user")
            case ("/blocks",):
                return await self._named(dict.fromkeys(await people.blocks(), ""), "you block nobody")
            case "/connect", name:
                user = await self._client.api.find_user(name)
                is_connected = (await people.connect(user.user_id)).state == "connected"
                return [f"connected to {user.name}" if is_connected else f"invited {user.name}"]
            case "/disconnect", name:
                return [await self._change(people.disconnect, name, "not connected to {}")]
            case "/block", name:
                return [await self._change(people.block, name, "{} is blocked: /unblock ends that")]
            case "/unblock", name:
                return [await self._change(people.unblock, name, "{} is not blocked any more")]
            case _:
                raise InvalidCommand(f"{command} needs other arguments: /help shows them")

    async def invitations(self, user_id: int | None = None, *, again: bool = False) -> Sequence[str]:
        """Return a line for each user who invites this one, at most MAX_INVITATIONS; with an id, for that user alone.
        An invitation that was shown already is left out, unless `again` is true. Without an answer of the server, a
        line says so."""
        try:
            connections = await self._client.people.connections()
        except RookeryError as error:
            return [f"the connections can't be read: {error}"]
        inviting = [each.user_id for each in connections if each.state == "invites_me"]
        wanted = [each for each in inviting if user_id in (None, each) and (again or each not in self._inviting)]
        self._inviting = {*wanted, *self._inviting.intersection(inviting)}
        shown = wanted[:MAX_INVITATIONS]
        await self._names.read(shown)
        lines = [_invitation(await self._names.of(each)) for each in shown]
        has_more = len(wanted) > MAX_INVITATIONS
        return [*lines, *(["there are more invitations: /connections lists them"] if has_more else [])]

    async def report(self, message: Message, reason: str) -> str:
        """Report a message. Raises RookeryError."""
        await self._client.people.report(
            message.sender_id, reason, chat_id=message.chat_id, message_ids=[message.message_id]
        )
        return "reported to the admins"

    async def report_user(self, name: str, reason: str) -> str:
        """Report a user. Raises RookeryError."""
        user = await self._client.api.find_user(name)
        await self._client.people.report(user.user_id, reason)
        return f"reported {user.name} to the admins"

    async def _change(self, change: Callable[[int], Awaitable[None]], name: str, done: str) -> str:
        user = await self._client.api.find_user(name)
        await change(user.user_id)
        return done.format(user.name)

    async def _named(self, notes: dict[int, str], nothing: str) -> Sequence[str]:
        """The users with their notes, by name; `nothing` if there is none."""
        await self._names.read(notes)
        lines = [f"{await self._names.of(user_id)}{note}" for user_id, note in notes.items()]
        return sorted(lines) or [nothing]


def _invitation(name: str) -> str:
    return f"{name} invites you to connect: /connect {name} accepts, /disconnect {name} declines"
