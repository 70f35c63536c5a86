"""`rookery chat`: a chat in the terminal over gRPC, line by line, so that it also works in a pipe.

Shown messages are numbered, so that a command can refer to one.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from itertools import islice
from pathlib import Path

import trio

from rookery.client import (
    FOR_EVER,
    MAX_WATCHED,
    ChannelHead,
    Chat,
    Client,
    Disconnected,
    Event,
    FileInfo,
    Gap,
    HistoryMessage,
    Message,
    Presence,
    Profile,
    Refused,
    RookeryError,
    State,
    Text,
    TooOld,
    Typing,
    Unreachable,
    User,
    apply_change,
    open_api,
    open_client,
    refs_in,
)
from rookery.commands.message_text import (
    change_text,
    content_of,
    control_text,
    has_everyone,
    is_set,
    listed_in,
    mentions_in,
    reactions_of,
    text_of,
    users_in,
    with_names,
)
from rookery.commands.names import UserNames
from rookery.commands.screen import Screen, open_screen
from rookery.commands.terminal_files import TerminalFiles
from rookery.commands.terminal_groups import COMMANDS, LISTINGS, InvalidCommand, TerminalGroups
from rookery.commands.terminal_people import COMMANDS as PEOPLE_COMMANDS
from rookery.commands.terminal_people import TerminalPeople
from shared.background import open_background
from shared.contract.chats import direct_chat_id, direct_members, is_group
from shared.contract.ids import time_of

PAGE = 20
"""Messages that /history and /older show by default, and people that /find lists."""

KEEP_UP_SECONDS = 3600.0
"""Between two readings without a Gap, after which fewer events are to be read if there is one."""

MAX_PAGE = 100
"""Messages and chats that a command shows at most."""

MAX_SHOWN = 10_000
"""The largest number of a message, and the bound of the messages whose changes are kept."""

TYPING_SECONDS = 10.0
"""After which a user who is typing is shown to be typing again. Clients repeat it every 4 seconds."""

MAX_UNREAD = 100
"""Unread messages that the server counts in a chat at most."""

HOUR_MS = 60 * 60 * 1000

SNIPPET = 60
"""Characters of the newest message in /chats."""

NO_CHAT = "no chat is open: choose a user with /with NAME, or a group with /open NAME"

NO_CHATS = "no chats yet: /find TEXT finds people"

LISTED = {"pin": "pinned", "star": "starred"}
"""The kinds that are set by a command (/pin), removed by another (/unpin), and listed by a third (/pins)."""

SPLITS = {
    **{"/channel": 1, "/edit": 2, "/group": 1, "/join": 1, "/open": 1, "/rename": 1},
    **{"/report": 2, "/save": 2, "/send": 1, "/topic": 1},
}
"""The commands whose last argument is a whole text, and the number of their arguments."""

TOGGLES = {f"/{prefix}{verb}": (kind, not prefix) for verb, kind in LISTED.items() for prefix in ("", "un")}
"""The commands that set (true) or remove a kind."""

LISTS = {f"/{verb}s": kind for verb, kind in LISTED.items()}
"""The commands that list the messages with a kind."""

OWN: dict[tuple[str, ...], tuple[str, bool, str]] = {
    ("/archive",): ("archived", True, "moved to the archive"),
    ("/unarchive",): ("archived", False, "moved out of the archive"),
    ("/pin", "chat"): ("chat_pinned", True, "pinned to the top of the list"),
    ("/unpin", "chat"): ("chat_pinned", False, "unpinned from the top of the list"),
    ("/previews", "off"): ("without_previews", True, "without previews of your links"),
    ("/previews", "on"): ("without_previews", False, "with previews of your links"),
}
"""The commands that set (true) or remove one of the user's own settings of the open chat, and what is shown then."""

HELP = f"""\
/chats                  list your chats and their unread messages
/find TEXT              find people by parts of their names
/with NAME              write to NAME, and show the unread messages
/history [COUNT]        show the newest messages: {PAGE}, or 1 to {MAX_PAGE}
/older [COUNT]          show the messages before these
/react [NUMBER] E       react with the emoji E to a message, by default the newest; /unreact removes it
/edit NUMBER TEXT       replace the text of your message
/edits [NUMBER]         show the texts that a message has had
/delete NUMBER          delete your message for everyone
/hide NUMBER            delete a message for you alone
/pin [NUMBER]           pin a message for all members; /unpin removes the pin, /pins shows the pinned messages
/star [NUMBER]          star a message for you alone; /unstar removes the star, /stars shows the starred messages
/mute [HOURS], /unmute  mute the chat for you alone
/archive, /unarchive    move the chat to your archive until a message arrives, or out of it
/pin chat, /unpin chat  keep the chat at the top of your list on the page
/previews off           make no previews of the links that you send to the chat; /previews on makes them again
/forward [NUMBER] NAME  send a copy of a message to NAME
/send FILE [CAPTION]    send a file; quote a path with spaces
/save NUMBER [PATH]     save the files of a message in a folder, by default this one, or its file to PATH
/group NAME             create a group of this name, and write to it
/channel NAME           create a channel, a group of up to 100,000 members; /channel makes the open group one for ever
/open NAME              write to the group or channel of this name, and show the unread messages
/add NAME..., /remove NAME, /leave, /members
/rename NAME, /topic [TEXT]
/role NAME ROLE         make NAME a guest, member or admin; or the owner, in your place
/invite [DAYS [USES]]   create an invite link to the group: 7 days, any number of uses, 0 DAYS for ever
/invites, /revoke NUMBER  list the invite links of the group, and end one of them
/join TOKEN, /join NAME  join the group of an invite link, or a public one; /public [TEXT] lists these
/requests, /accept NAME..., /decline NAME  list the users who asked to join the group, add or decline them
/connect NAME           invite NAME to be a connection, or accept; /disconnect ends it, /connections lists all
/block NAME             end messages between you and NAME, who is not told; /unblock ends it, /blocks lists all
/report NUMBER REASON, /report NAME REASON  report a message or a user to the admins
/help, /quit
Any other line is sent as a message; @NAME in it mentions a member of the chat, and @everyone all members of a group.
To send a line that begins with /, type // for its first /."""


async def find_server(url: str, ca_file: Path | None) -> None:
    """Return if a Rookery answers at the URL. Raises Unreachable with a remedy."""
    try:
        async with open_api(url, "", "", ca_file=ca_file) as api:
            await api.check_server()
    except Unreachable as error:
        raise Unreachable(f"{error}. Is Rookery running there? --url sets another address.") from error


async def create_account(url: str, name: str, password: str, invite: str, ca_file: Path | None) -> bool:
    """Create the account; return False if sign-up needs an invite and none is passed. Raises RookeryError."""
    async with open_api(url, name, password, ca_file=ca_file) as api:
        try:
            await api.register(invite=invite)
        except Refused as refused:
            if invite or refused.code != "invite_required":
                raise
            return False
    return True


async def run_chat(url: str, name: str, password: str, other: str | None, ca_file: Path | None) -> int:
    """Chat until /quit or the end of the input; return the exit status. Raises RookeryError if no session opens."""
    with open_screen() as screen:
        async with (
            open_client(url, name, password, client_name="rookery-chat", ca_file=ca_file) as client,
            open_background() as nursery,
        ):
            chat = TerminalChat(client, screen)
            await chat.greet()
            if other is not None:
                await chat.execute(f"/with {other}")
            nursery.start_soon(chat.show_events, nursery)
            nursery.start_soon(chat.keep_up)
            async for line in screen.lines():
                if not await chat.execute(line):
                    break
            return 1 if chat.failed else 0
    return 1  # the sign-in ended


def split_command(line: str) -> tuple[str, Sequence[str]]:
    """Split a line into the command, such as `/react`, and its arguments; the command is empty for a message."""
    if not line.startswith("/") or line.startswith("//"):
        return "", [line.removeprefix("/")] if line.startswith("//") else [line]
    command, *arguments = line.split(maxsplit=SPLITS.get(line.split(maxsplit=1)[0], -1))
    return command, arguments


class TerminalChat:
    """Executes typed lines and shows events."""

    def __init__(self, client: Client, screen: "Screen") -> None:
        self.failed = False
        """Whether any line failed."""
        self._client = client
        self._screen = screen
        self._chat_id = ""
        self._oldest = 0
        """The oldest message of the open chat that /history or /older has shown; 0 before that."""
        self._typing: dict[int, float] = {}
        """When each user was last reported to be typing in the open chat, in seconds of `trio.current_time`."""
        self._behind: set[str] = set()
        """Chats, of the newest 100, with unread messages not shown yet: a mark on a newer message marks them too."""
        self._names = UserNames(client.api, {client.me.user_id: client.me.name})
        self._groups = TerminalGroups(client, self._names)
        self._people = TerminalPeople(client, self._names)
        self._files = TerminalFiles(client, screen.show)
        self._shown: dict[int, Message] = {}
        self._numbers: dict[int, int] = {}
        self._states: dict[int, State] = {}
        """By message id. A change may come before its message."""

    async def greet(self) -> None:
        """Show the signed-in user, and the number of unread messages of each chat."""
        me = self._client.me
        self._screen.show(f"signed in as {_full_name(me)}: /help lists the commands")
        try:
            chats = (await self._client.api.chats(limit=MAX_PAGE)).chats
        except RookeryError as error:
            self._screen.show(f"the chats can't be read: {error}")
            return
        unread = [chat for chat in chats if chat.unread]
        self._behind.update(chat.chat_id for chat in unread)
        await self._read_titles(chats)
        counts = [f"{_count(chat.unread)} from {await self._title(chat.chat_id)}" for chat in unread]
        if counts:
            are_groups = any(is_group(chat.chat_id) for chat in unread)
            self._screen.show(f"unread: {', '.join(counts)}; /with NAME{' or /open NAME' * are_groups} shows them")
        else:
            self._screen.show("no unread messages" if chats else NO_CHATS)

    async def execute(self, line: str) -> bool:
        """Send the line or run its command. Return False for /quit."""
        command, arguments = split_command(line.rstrip("\r\n"))
        try:
            match command, *arguments:
                case "", text if text.strip():
                    await self._send(text)
                case "", text:
                    self._screen.erase_typed(text)
                case "/quit" | "/exit", *_:
                    return False
                case "/with", name:
                    await self._open_chat(name)
                case ("/chats",):
                    await self._show_chats()
                case "/find", *words if words:
                    await self._find(" ".join(words))
                case "/history" | "/older", *count if _is_number(count):
                    await self._show_history(int(count[0]) if count else PAGE, older=command == "/older")
                case "/react" | "/unreact", *number, emoji if _is_number(number):
                    act = self._client.react if command == "/react" else self._client.unreact
                    await self._change(act, self._number(number), emoji)
                case "/edit", number, text if _is_number([number]):
                    await self._edit(int(number), text)
                case "/edits", *number if _is_number(number):
                    await self._show_edits(self._number(number))
                case "/delete", number if _is_number([number]):
                    await self._change(self._client.delete, int(number))
                case "/hide", number if _is_number([number]):
                    await self._change(self._client.toggle, int(number), "hidden")
                case "/mute" | "/unmute", *hours if _is_number(hours):
                    await self._mute(int(hours[0]) if hours else None, is_set=command == "/mute")
                case _ if setting := OWN.get((command, *arguments)):
                    kind, is_set, done = setting
                    await self._set_own(partial(self._client.toggle, message_id=0, kind=kind, is_set=is_set), done)
                case _, *number if command in TOGGLES and _is_number(number):
                    kind, is_set = TOGGLES[command]
                    await self._change(partial(self._client.toggle, is_set=is_set), self._number(number), kind)
                case (_,) if command in LISTS:
                    await self._show_messages_having(LISTS[command])
                case "/forward", *number, name if _is_number(number):
                    await self._forward(self._number(number), name)
                case "/send", text:
                    await self._send_file(text)
                case "/save", number, *place if _is_number([number]):
                    for line in await self._files.save(self._shown_message(int(number)), " ".join(place)):
                        self._screen.show(line)
                case "/open", name:
                    await self._open_group(name)
                case "/report", number, reason if _is_number([number]):
                    self._screen.show(await self._people.report(self._shown_message(int(number)), reason))
                case "/report", name, reason:
                    self._screen.show(await self._people.report_user(name, reason))
                case _ if command in PEOPLE_COMMANDS:
                    for line in await self._people.execute(command, arguments):
                        self._screen.show(line)
                case _ if command in LISTINGS:
                    for line in await self._groups.lines(command, arguments):
                        self._screen.show(line)
                case _ if command in COMMANDS:
                    message = await self._groups.execute(command, arguments)
                    await self._show_event(message)
                    if message.control.version == 1:
                        self._groups.open_created(message)
                        self._set_open(message.chat_id)
                        await self._follow_open()
                        self._screen.show(f"writing to {await self._title(message.chat_id)}")
                case "/help", *_:
                    self._screen.show(HELP)
                case _:
                    raise InvalidCommand("unknown command: /help lists the commands")
        except InvalidCommand as error:
            self.failed = True
            self._screen.show(str(error))
        except RookeryError as error:
            self.failed = True
            self._screen.show(f"failed: {error}")
        return True

    async def show_events(self, nursery: trio.Nursery) -> None:
        """Show events, and, in a task of the nursery, missed ones; cancel the nursery when the sign-in ends."""
        try:
            async for event in self._client.events():
                if isinstance(event, Gap):
                    self._screen.show("some events were missed: reading them")
                    nursery.start_soon(self._show_missed, event)
                else:
                    await self._show_event(event)
                if isinstance(event, Message) and "is_channel" in event.control.changed:
                    nursery.start_soon(self._follow_converted)
        except RookeryError as error:
            self._screen.show(f"signed out: {error}")
            nursery.cancel_scope.cancel()

    async def _follow_converted(self) -> None:
        try:
            await self._follow_open()
        except RookeryError as error:
            self._screen.show(f"the channel can't be opened: {error}")

    async def keep_up(self) -> None:
        """Read once an hour the events that the session may lack, until cancelled."""
        while True:
            await trio.sleep(KEEP_UP_SECONDS)
            await self._show_missed()

    async def _show_missed(self, gap: Gap | None = None) -> None:
        try:
            async with aclosing(self._client.catch_up.events(gap)) as events:
                async for event in events:
                    await self._show_event(event)
        except RookeryError as error:
            self._screen.show(f"the missed events can't be read: {error}")

    async def _send(self, text: str) -> None:
        sent = await self._send_to(self._open_chat_id(), text)
        self._screen.erase_typed(text)
        await self._show_message(sent)

    async def _send_file(self, text: str) -> None:
        chat_id = self._open_chat_id()  # the first message of another chat may open it while the file is uploaded
        file, caption = await self._files.upload(text)
        await self._show_message(await self._send_to(chat_id, caption, [file]))

    async def _send_to(self, chat_id: str, text: str, files: Sequence[FileInfo] = ()) -> Message:
        """Send a message, and return it."""
        content = self._content(chat_id, text)
        mentions, everyone = content.mentions, content.mentions_everyone
        accepted = await self._client.send(chat_id, text, files=files, mentions=mentions, mentions_everyone=everyone)
        sender_id = self._client.me.user_id
        return Message(message_id=accepted.event_id, chat_id=chat_id, sender_id=sender_id, text=content, files=files)

    def _open_chat_id(self) -> str:
        """The chat that is open. Raises InvalidCommand without one."""
        if not self._chat_id:
            raise InvalidCommand(NO_CHAT)
        return self._chat_id

    async def _edit(self, number: int, text: str) -> None:
        """Replace the text of a message."""
        content = self._content(self._shown_message(number).chat_id, text)
        mentions, everyone = content.mentions, content.mentions_everyone
        edit = partial(self._client.edit, mentions=mentions, mentions_everyone=everyone)
        await self._change(edit, number, text)

    def _content(self, chat_id: str, text: str) -> Text:
        """Return the text with its mentions of members of the chat; of a group, only if it is the open one."""
        if is_group(chat_id):
            members = self._groups.members if chat_id == self._chat_id else {}
            return Text(body=text, mentions=mentions_in(text, members), mentions_everyone=has_everyone(text, members))
        known = self._names.known
        named = {member: known[member] for member in direct_members(chat_id) or () if member in known}
        return Text(body=text, mentions=mentions_in(text, named))

    async def _forward(self, number: int, name: str) -> None:
        """Send a copy of a message to another user."""
        message = self._shown_message(number)
        content = content_of(message, self._state(message.message_id))
        if content is None:
            raise InvalidCommand(f"[{number}] was deleted")
        user = await self._client.api.find_user(name)
        members = self._client.me.user_id, user.user_id
        mentions = [mention for mention in content.mentions if mention.user_id in members]
        files = refs_in(message)
        await self._client.send(user.user_id, content.body, files=files, mentions=mentions, forwarded=True)
        self._screen.show(f"forwarded [{number}] to {user.name}")

    async def _find(self, text: str) -> None:
        found = await self._client.api.find_users(text, limit=PAGE + 1)
        for user in found[:PAGE]:
            self._screen.show(_full_name(user))
        if not found:
            self._screen.show("nobody is found")
        elif len(found) > PAGE:
            self._screen.show("there are more: add a word")

    async def _show_chats(self) -> None:
        page = await self._client.api.chats(limit=MAX_PAGE)
        await self._read_titles(page.chats)
        for chat in page.chats:
            notes = ", ".join(_notes(chat))
            title = await self._title(chat.chat_id)
            self._screen.show(f"{title}{notes and f' ({notes})'}  {await self._snippet(chat.newest)}".rstrip())
        if not page.chats:
            self._screen.show(NO_CHATS)
        elif page.next_cursor:
            self._screen.show(f"only the newest {MAX_PAGE} are listed")

    async def _open_chat(self, name: str) -> None:
        user = await self._client.api.find_user(name)
        self._names.known[user.user_id] = user.name
        await self._enter(direct_chat_id(self._client.me.user_id, user.user_id))
        await self._show_unread(self._chat_id)

    async def _open_group(self, name: str) -> None:
        """Open the first group of this name in the list of chats."""
        page = await self._client.api.chats(limit=MAX_PAGE)
        self._groups.note(page.chats)
        found = self._groups.find(name)
        if not found:
            raise InvalidCommand(f"no group among your newest {MAX_PAGE} chats has the name {name}")
        listed = [chat.chat_id for chat in page.chats if chat.chat_id in found]
        await self._enter((listed or found)[0])
        await self._show_unread(self._chat_id)

    async def _enter(self, chat_id: str) -> None:
        """Let the following lines be sent to a chat. Raises RookeryError."""
        about = await self._groups.load(chat_id) if is_group(chat_id) else []
        self._set_open(chat_id)
        await self._follow_open()
        self._screen.show(f"writing to {await self._title(chat_id)}")
        for line in about:
            self._screen.show(line)

    def _set_open(self, chat_id: str) -> None:
        """Write to a chat. Watch its other member, or up to MAX_WATCHED known members of a group."""
        if chat_id != self._chat_id:
            self._client.channels.close(self._chat_id)
        self._chat_id, self._oldest = chat_id, 0
        self._typing.clear()
        members = self._groups.members if is_group(self._chat_id) else [self._other(self._chat_id)]
        self._client.watch(islice(members, MAX_WATCHED))

    async def _follow_open(self) -> None:
        """Get all events of the chat that is written to, if it is a channel of the user. Raises RookeryError."""
        if is_group(self._chat_id) and self._groups.has_open_channel:
            await self._client.channels.open(self._chat_id)

    async def _show_unread(self, chat_id: str) -> None:
        """Show the oldest page of unread messages, and mark it as read."""
        try:
            chat = await self._client.api.chat(chat_id)
        except Refused as refused:
            if refused.code != "not_found":  # a chat exists from its first message on
                raise
            return
        if _is_marked_unread(chat):
            await self._client.mark_unread(chat_id, is_unread=False)
        if not chat.unread:
            self._behind.discard(chat_id)
            return
        me = self._client.me.user_id
        read_up_to = next((mark.read_up_to for mark in chat.marks if mark.user_id == me), 0)
        page = await self._client.api.history(chat_id, limit=MAX_PAGE, after_id=read_up_to)
        for item in page.messages:
            await self._show_item(item)
        if page.messages:
            self._client.mark(chat_id, read_up_to=page.messages[-1].message.message_id)
        if page.has_newer:
            self._screen.show(f"there are more unread messages: repeat {_opening(chat_id)} NAME")
        else:
            self._behind.discard(chat_id)

    async def _show_history(self, count: int, *, older: bool) -> None:
        chat_id = self._open_chat_id()
        if not 1 <= count <= MAX_PAGE:
            raise InvalidCommand(f"COUNT is 1 to {MAX_PAGE}")
        anchor = {"before_id": self._oldest} if older and self._oldest else {}
        page = await self._client.api.history(chat_id, limit=count, **anchor)
        for item in page.messages:
            await self._show_item(item)
        if page.messages:
            self._oldest = page.messages[0].message.message_id
        self._screen.show("/older shows earlier messages" if page.has_older else "the chat begins here")

    async def _show_messages_having(self, kind: str) -> None:
        page = await self._client.api.history(self._open_chat_id(), limit=MAX_PAGE, having=kind)
        for item in page.messages:
            await self._show_item(item)
        if page.has_older:
            self._screen.show(f"only the newest {MAX_PAGE} are listed")
        elif not page.messages:
            self._screen.show(f"no message is {kind}")

    async def _show_edits(self, number: int) -> None:
        """Show the text of a message as it was sent, and each text that replaced it."""
        message = self._shown_message(number)
        edits = await self._client.api.versions(message.chat_id, message.message_id, "edited")
        texts = [(message.message_id, message.text), *((edit.event_id, edit.change.edited.text) for edit in edits)]
        for event_id, text in texts if edits else ():
            self._screen.show(f"    {_clock(event_id)} {_indented(with_names(text, self._names.known))}")
        if not edits:
            self._screen.show(f"[{number}] has no edits")

    async def _change(self, change: Callable[..., Awaitable[Event]], number: int, *arguments: str) -> None:
        """Call a method of the client that changes a message, and show the change."""
        message = self._shown_message(number)
        await self._show_change(await change(message.chat_id, message.message_id, *arguments))

    def _shown_message(self, number: int) -> Message:
        """The message with this number. Raises InvalidCommand if there is none."""
        if number not in self._shown:
            raise InvalidCommand(f"there is no message [{number}]" if number else "no message is shown yet")
        return self._shown[number]

    async def _mute(self, hours: int | None, *, is_set: bool) -> None:
        until_ms = FOR_EVER if hours is None else int(time.time() * 1000) + hours * HOUR_MS
        mute = partial(self._client.mute, until_ms=until_ms if is_set else 0)
        await self._set_own(mute, "muted" if is_set else "no longer muted")

    async def _set_own(self, change: Callable[[str], Awaitable[Event]], done: str) -> None:
        """Change one of the user's own settings of the open chat."""
        await change(self._open_chat_id())
        self._screen.show(f"the chat is {done}")

    async def _show_event(self, event: object) -> None:
        match event:
            case Message():
                if event.HasField("control"):
                    self._groups.apply(event)
                if event.message_id not in self._numbers:  # else it was read from history, or is an own control change
                    await self._show_message(event)
                if self._groups.is_channel(event.chat_id) and event.chat_id != self._chat_id:
                    self._behind.add(event.chat_id)  # not all of its messages are received
                elif not self._chat_id and not event.HasField("control"):
                    with suppress(RookeryError):
                        await self._enter(event.chat_id)
                if event.chat_id not in self._behind:
                    self._client.mark(event.chat_id, read_up_to=event.message_id)
            case Event():
                await self._show_change(event)
            case ChannelHead() if event.chat_id not in self._behind:
                self._behind.add(event.chat_id)
                title = await self._title(event.chat_id)
                self._screen.show(f"there are new messages in {title}: /open {title} shows them")
            case TooOld():
                self._behind.add(event.chat_id)
                title = await self._title(event.chat_id)
                chat = title if is_group(event.chat_id) else f"the chat with {title}"
                opening = f"{_opening(event.chat_id)} {title}"
                self._screen.show(f"too much of {chat} was missed: {opening} shows the unread messages")
            case Presence():
                await self._show_presence(event)
            case Typing() if event.chat_id == self._chat_id:
                since = trio.current_time() - self._typing.get(event.user_id, -TYPING_SECONDS)
                self._typing[event.user_id] = trio.current_time()
                if since >= TYPING_SECONDS:
                    self._screen.show(f"{await self._names.of(event.user_id)} is typing")
            case Disconnected():
                self._screen.show(f"the connection is lost ({event.reason}); messages are sent after reconnecting")
            case _:
                pass

    async def _show_presence(self, presence: Presence) -> None:
        """Note who is online for /members; show it of the other member of an open direct chat."""
        user_id = presence.user_id
        self._groups.set_online(user_id, is_online=presence.is_online)
        if is_group(self._chat_id) or user_id != self._other(self._chat_id):
            return
        if presence.is_online:
            self._screen.show(f"{await self._names.of(user_id)} is online")
        elif presence.last_seen_ms:
            self._screen.show(f"{await self._names.of(user_id)} was online {_local_time(presence.last_seen_ms)}")

    async def _show_change(self, event: Event) -> None:
        """Show the change of a message, unless a newer one is shown already."""
        target_id = event.change.target_id
        if target_id and apply_change(self._state(target_id), event):
            number = self._numbers.get(target_id)
            await self._names.read(mention.user_id for mention in event.change.edited.text.mentions)
            text = change_text(event.change, f"[{number}]" if number else "an older message", self._names.known)
            if text:
                self._screen.show(f"{await self._names.of(event.change.actor_id)} {_indented(text)}")

    async def _show_item(self, item: HistoryMessage) -> None:
        """Show a message of history with its listed kinds, such as a pin, and its reactions."""
        state = self._state(item.message.message_id)
        for event in item.changes:
            apply_change(state, event)
        await self._show_message(item.message)
        notes = [*listed_in(state), *(f"{emoji} {count}" for emoji, count in reactions_of(state).items())]
        if notes and not is_set(state, "hidden"):
            self._screen.show("    " + "  ".join(notes))

    async def _show_message(self, message: Message) -> None:
        """Show a message, unless the user has hidden it."""
        state = self._state(message.message_id)
        if is_set(state, "hidden"):
            return
        number = self._numbers.get(message.message_id) or len(self._shown) + 1
        if number <= MAX_SHOWN:
            self._shown[number] = message
            self._numbers[message.message_id] = number
        content = content_of(message, state)
        self._groups.note_sender(message)
        await self._names.read(users_in(message, content))
        name = await self._names.of(message.sender_id)
        if is_group(message.chat_id) and message.chat_id != self._chat_id and message.control.version != 1:
            name += f" in {await self._title(message.chat_id)}"
        if message.HasField("control"):
            text = f" {control_text(message, self._names.known)}"
        else:
            label = " (forwarded)" if message.forwarded and content else ""
            text = f"{label}: {_indented(text_of(message, state, self._names.known))}"
        self._screen.show(f"[{number}] {_clock(message.message_id)} {name}{text}")

    def _state(self, message_id: int) -> State:
        if message_id not in self._states and len(self._states) >= MAX_SHOWN:
            del self._states[next(iter(self._states))]
        return self._states.setdefault(message_id, {})

    def _number(self, words: Sequence[str]) -> int:
        """The number in an argument, or without one that of the newest shown message; 0 if there is none."""
        if words:
            return int(words[0])
        return self._numbers[max(self._numbers)] if self._numbers else 0

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
        return f"{_clock(message.message_id)} {line[:SNIPPET]}{'…' if len(line) > SNIPPET else ''}"

    async def _read_titles(self, chats: Sequence[Chat]) -> None:
        self._groups.note(chats)
        await self._names.read(self._other(chat.chat_id) for chat in chats if not is_group(chat.chat_id))

    async def _title(self, chat_id: str) -> str:
        """Return the name of a group, or of the other member of a direct chat."""
        if is_group(chat_id):
            return await self._groups.title(chat_id)
        return await self._names.of(self._other(chat_id))

    def _other(self, chat_id: str) -> int:
        """The other member of a direct chat; the user's own id if there is none."""
        me = self._client.me.user_id
        return next((member for member in direct_members(chat_id) or () if member != me), me)


def _indented(text: str) -> str:
    """Indent all lines but the first: a line of a text must not look like another message."""
    return text.replace("\n", "\n    ")


def _is_number(words: Sequence[str]) -> bool:
    """Whether the argument is empty or one number of at most 9 digits."""
    return all(word.isdecimal() and len(word) < 10 for word in words) and len(words) < 2


def _full_name(user: Profile | User) -> str:
    return user.name if user.display_name == user.name else f"{user.name} ({user.display_name})"


def _opening(chat_id: str) -> str:
    """The command that opens a chat by its name."""
    return "/open" if is_group(chat_id) else "/with"


def _count(unread: int) -> str:
    return f"{unread}+" if unread >= MAX_UNREAD else str(unread)


def _notes(chat: Chat) -> Iterable[str]:
    """The unread messages and mentions of a chat, and the user's own settings of it."""
    if chat.unread or _is_marked_unread(chat):
        yield f"{_count(chat.unread)} unread" if chat.unread else "unread"
    if mentions := chat.unread_mentions:
        yield f"{_count(mentions)} mention{'s' if mentions > 1 else ''}"
    is_muted = any(event.change.muted.until_ms > time.time() * 1000 for event in chat.changes)
    if is_muted:
        yield "muted"
    if any(event.change.chat_pinned.set for event in chat.changes):
        yield "pinned"
    newest_id = 0 if is_muted else chat.newest.message.message_id
    if any(event.change.archived.set and event.event_id > newest_id for event in chat.changes):
        yield "archived"
    if any(event.change.without_previews.set for event in chat.changes):
        yield "without previews"


def _is_marked_unread(chat: Chat) -> bool:
    return any(event.change.marked_unread.set for event in chat.changes)


def _clock(event_id: int) -> str:
    """The local time of a message or a change, with the date unless it is from today."""
    return _local_time(time_of(event_id))


def _local_time(at_ms: int) -> str:
    """The local time of a moment in milliseconds since 1970, with the date unless it is today."""
    at = time.localtime(at_ms / 1000)
    return time.strftime("%H:%M" if at[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M", at)
