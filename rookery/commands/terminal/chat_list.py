"""The list of chats that `rookery chat` shows: the titles of chats, their newest messages and their unread counts."""

from collections.abc import Iterator, Sequence

from rookery.client import Chat, Client, HistoryMessage, State, apply_change
from rookery.commands.terminal.commands import MAX_PAGE
from rookery.commands.terminal.groups import TerminalGroups
from rookery.commands.terminal.names import UserNames
from rookery.commands.terminal.texts import clock, control_text, is_set, text_of, users_in
from shared.contract.chats import direct_members, is_group

MAX_UNREAD = 100
"""Unread messages that the server counts in a chat at most."""

SNIPPET = 60
"""Characters of the newest message in /chats."""

NO_CHATS = "no chats yet: /find TEXT finds people"


class ChatList:
    """The user's chats."""

    def __init__(self, client: Client, names: UserNames, groups: TerminalGroups) -> None:
        self._client = client
        self._names = names
        self._groups = groups

    async def lines(self) -> Sequence[str]:
        """Read the newest chats, and return a line for each. Raises RookeryError."""
        page = await self._client.api.chats(limit=MAX_PAGE)
        await self._read_titles(page.chats)
        listed = [await self._line(chat) for chat in page.chats] or [NO_CHATS]
        return [*listed, f"only the newest {MAX_PAGE} are listed"] if page.next_cursor else listed

    async def unread_line(self, chats: Sequence[Chat]) -> str:
        """Return a line about the unread messages in the chats."""
        await self._read_titles(chats)
        unread = [chat for chat in chats if chat.unread]
        counts = [f"{_count(chat.unread)} from {await self.title(chat.chat_id)}" for chat in unread]
        if not counts:
            return "no unread messages" if chats else NO_CHATS
        are_groups = any(is_group(chat.chat_id) for chat in unread)
        return f"unread: {', '.join(counts)}; /with NAME{' or /open NAME' * are_groups} shows them"

    async def title(self, chat_id: str) -> str:
        """Return the name of a group, or of the other member of a direct chat."""
        if is_group(chat_id):
            return await self._groups.title(chat_id)
        return await self._names.of(self.other(chat_id))

    def other(self, chat_id: str) -> int:
        """Return the other member of a direct chat; the user's own id if there is none."""
        me = self._client.me.user_id
        return next((member for member in direct_members(chat_id) or () if member != me), me)

    async def _read_titles(self, chats: Sequence[Chat]) -> None:
        self._groups.note(chats)
        await self._names.read(self.other(chat.chat_id) for chat in chats if not is_group(chat.chat_id))

    async def _line(self, chat: Chat) -> str:
        notes = ", ".join(_notes(chat, self._client.server_ms()))
        title = await self.title(chat.chat_id)
        return f"{title}{notes and f' ({notes})'}  {await self._snippet(chat.newest)}".rstrip()

    async def _snippet(self, newest: HistoryMessage) -> str:
        """The time and the first line of a chat's newest message."""
        message = newest.message
        if not message.message_id:
            return ""
        state: State = {}
        for event in newest.changes:
            apply_change(state, event)
        if is_set(state, "hidden"):
            return ""
        if message.HasField("control"):
            await self._names.read(users_in(message, None))
            line = f"{await self._names.of(message.sender_id)} {control_text(message, self._names.known)}"
        else:
            is_own = message.sender_id == self._client.me.user_id
            sender = "you" if is_own else await self._names.of(message.sender_id) if is_group(message.chat_id) else ""
            text = text_of(message, state, self._names.known).strip().partition("\n")[0]
            line = f"{sender}: {text}" if sender else text
        return f"{clock(message.message_id)} {line[:SNIPPET]}{'…' if len(line) > SNIPPET else ''}"


def is_marked_unread(chat: Chat) -> bool:
    """Whether the user has marked the chat as unread."""
    return any(event.change.marked_unread.set for event in chat.changes)


def opening(chat_id: str) -> str:
    """Return the command that opens a chat by its name."""
    return "/open" if is_group(chat_id) else "/with"


def _count(unread: int) -> str:
    return f"{unread}+" if unread >= MAX_UNREAD else str(unread)


def _notes(chat: Chat, now_ms: int) -> Iterator[str]:
    """The unread messages and mentions of a chat, and the user's own settings of it at a time of the server."""
    if chat.unread or is_marked_unread(chat):
        yield f"{_count(chat.unread)} unread" if chat.unread else "unread"
    if mentions := chat.unread_mentions:
        yield f"{_count(mentions)} mention{'s' if mentions > 1 else ''}"
    muted = [event.change.muted for event in chat.changes if event.change.muted.until_ms > now_ms]
    if muted:
        yield "muted except mentions" if muted[0].except_mentions else "muted"
    if any(event.change.chat_pinned.set for event in chat.changes):
        yield "pinned"
    is_quiet = bool(muted) and not (muted[0].except_mentions and mentions)
    newest_id = max((chat.newest_sent_id, *(max(span.first, span.last) for span in chat.own.spans)))
    back_at = 0 if is_quiet else newest_id
    if any(event.change.archived.set and event.event_id > back_at for event in chat.changes):
        yield "archived"
    if any(event.change.without_previews.set for event in chat.changes):
        yield "without previews"
