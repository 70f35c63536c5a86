"""`rookery chat`: a chat in the terminal over gRPC, line by line, so that it also works in a pipe.

Shown messages are numbered, so that a command can refer to one.
"""

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
    Client,
    Connected,
    Disconnected,
    Event,
    Gap,
    Message,
    PeopleChanged,
    Presence,
    Profile,
    Refused,
    RookeryError,
    TooOld,
    Typing,
    Unreachable,
    User,
    open_api,
    open_client,
)
from rookery.commands.terminal.chat_list import ChatList, is_marked_unread, opening
from rookery.commands.terminal.commands import (
    HELP,
    LISTS,
    MAX_PAGE,
    OWN,
    PAGE,
    TOGGLES,
    InvalidCommand,
    is_number,
    split_command,
)
from rookery.commands.terminal.composer import TerminalComposer
from rookery.commands.terminal.device import device_file
from rookery.commands.terminal.files import TerminalFiles
from rookery.commands.terminal.groups import COMMANDS, LISTINGS, TerminalGroups
from rookery.commands.terminal.history import TerminalHistory
from rookery.commands.terminal.messages import ShownMessages
from rookery.commands.terminal.names import UserNames
from rookery.commands.terminal.people import COMMANDS as PEOPLE_COMMANDS
from rookery.commands.terminal.people import TerminalPeople
from rookery.commands.terminal.read_marks import ReadMarks
from rookery.commands.terminal.screen import Screen, open_screen
from rookery.commands.terminal.texts import local_time
from shared.background import open_background
from shared.contract.chats import direct_chat_id, is_group

KEEP_UP_SECONDS = 3600.0
"""Seconds between two readings without a Gap, so that the next Gap has fewer events."""

TYPING_SECONDS = 10.0
"""Seconds after which a user who is still typing is shown again. Clients repeat the signal every 4 seconds."""

HOUR_MS = 60 * 60 * 1000

NO_CHAT = "no chat is open: choose a user with /with NAME, or a group with /open NAME"


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
    device = device_file(url, name)
    with open_screen() as screen:
        async with (
            open_client(url, name, password, client_name="rookery-chat", device_file=device, ca_file=ca_file) as client,
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


class TerminalChat:
    """Executes typed lines and shows events."""

    def __init__(self, client: Client, screen: "Screen") -> None:
        self.failed = False
        """Whether any line failed."""
        self._was_connected = False
        self._client = client
        self._screen = screen
        self._chat_id = ""
        self._opening = trio.Lock()
        """Held while a chat opens: events are shown while a line is executed, and either may open one."""
        self._typing: dict[int, float] = {}
        """When each user was last reported to be typing in the open chat, in seconds of `trio.current_time`."""
        self._marks = ReadMarks(lambda chat_id, message_id: client.mark(chat_id, read_up_to=message_id))
        self._names = UserNames(client.api, {client.me.user_id: client.me.name})
        self._groups = TerminalGroups(client, self._names)
        self._people = TerminalPeople(client, self._names)
        self._files = TerminalFiles(client, screen.show)
        self._messages = ShownMessages(screen.show, self._names, self._groups)
        self._composer = TerminalComposer(client, self._names, self._groups, self._messages)
        self._history = TerminalHistory(client, screen.show, self._names, self._groups, self._messages)
        self._chats = ChatList(client, self._names, self._groups)

    async def greet(self) -> None:
        """Show the signed-in user, the number of unread messages of each chat, and the invitations of other users."""
        me = self._client.me
        self._screen.show(f"signed in as {_full_name(me)}: /help lists the commands")
        try:
            page = await self._client.api.chats(limit=MAX_PAGE)
        except RookeryError as error:
            self._marks.all_fall_behind()
            self._screen.show(f"the chats can't be read: {error}")
            return
        if page.next_cursor:
            self._marks.all_fall_behind()
        for chat in page.chats:
            if chat.unread:
                self._marks.fall_behind(chat.chat_id)
            else:
                self._marks.catch_up(chat.chat_id)
        self._screen.show(await self._chats.unread_line(page.chats))
        if page.next_cursor:
            self._screen.show(f"only the newest {MAX_PAGE} chats were looked at")
        self._show_lines(await self._people.invitations(again=True))

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
                    self._show_lines(await self._chats.lines())
                case "/find", *words if words:
                    await self._find(" ".join(words))
                case "/history" | "/older", *count if is_number(count):
                    older = command == "/older"
                    await self._history.show(self._open_chat_id(), int(count[0]) if count else PAGE, older=older)
                case "/reply", number, text if is_number([number]):
                    await self._show_sent(await self._composer.reply(int(number), text))
                case "/react" | "/unreact", *number, emoji if is_number(number):
                    act = self._client.react if command == "/react" else self._client.unreact
                    await self._change(act, self._messages.number(number), emoji)
                case "/edit", number, text if is_number([number]):
                    await self._messages.show_change(await self._composer.edit(int(number), text))
                case "/edits", *number if is_number(number):
                    self._show_lines(await self._history.edits(self._messages.number(number)))
                case "/seen", *number if is_number(number):
                    self._screen.show(await self._history.readers(self._messages.number(number)))
                case "/delete", number if is_number([number]):
                    await self._change(self._client.delete, int(number))
                case "/hide", number if is_number([number]):
                    await self._change(self._client.toggle, int(number), "hidden")
                case "/read", "all":
                    await self._read_all()
                case "/mute", "mentions", *hours if is_number(hours):
                    await self._mute(hours, except_mentions=True)
                case "/mute", *hours if is_number(hours):
                    await self._mute(hours)
                case ("/unmute",):
                    await self._set_own(partial(self._client.mute, until_ms=0), "no longer muted")
                case _ if setting := OWN.get((command, *arguments)):
                    kind, is_set, done = setting
                    await self._set_own(partial(self._client.toggle, message_id=0, kind=kind, is_set=is_set), done)
                case _, *number if command in TOGGLES and is_number(number):
                    kind, is_set = TOGGLES[command]
                    await self._change(partial(self._client.toggle, is_set=is_set), self._messages.number(number), kind)
                case (_,) if command in LISTS:
                    await self._history.show_having(self._open_chat_id(), LISTS[command])
                case "/forward", *number, name if is_number(number):
                    self._screen.show(await self._composer.forward(self._messages.number(number), name))
                case "/send", text:
                    await self._send_file(text)
                case "/save", number, *place if is_number([number]):
                    await self._files.save(self._messages.get(int(number)), " ".join(place))
                case "/open", name:
                    await self._open_group(name)
                case "/report", number, reason if is_number([number]):
                    self._screen.show(await self._people.report(self._messages.get(int(number)), reason))
                case "/report", name, reason:
                    self._screen.show(await self._people.report_user(name, reason))
                case _ if command in PEOPLE_COMMANDS:
                    self._show_lines(await self._people.execute(command, arguments))
                case _ if command in LISTINGS:
                    self._show_lines(await self._groups.lines(command, arguments))
                case _ if command in COMMANDS:
                    message = await self._groups.execute(command, arguments)
                    await self._show_event(message)
                    if message.control.version == 1:
                        await self._open_created(message)
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
        """Show events, and, in tasks of the nursery, missed ones and invitations from the time without a connection;
        cancel the nursery when the sign-in ends."""
        try:
            async for event in self._client.events():
                if isinstance(event, Gap):
                    self._screen.show("some events were missed: reading them")
                    self._marks.begin_reading()
                    nursery.start_soon(self._show_missed, event)
                else:
                    await self._show_event(event)
                if isinstance(event, Connected):
                    if self._was_connected:
                        nursery.start_soon(self._show_invitations)
                    self._was_connected = True
                if isinstance(event, Message) and "is_channel" in event.control.changed:
                    nursery.start_soon(self._follow_converted)
        except RookeryError as error:
            self._screen.show(f"signed out: {error}")
            nursery.cancel_scope.cancel()

    async def _show_invitations(self) -> None:
        self._show_lines(await self._people.invitations())

    async def _follow_converted(self) -> None:
        try:
            await self._follow_open()
        except RookeryError as error:
            self._screen.show(f"the channel can't be opened: {error}")

    async def keep_up(self) -> None:
        """Read once an hour the events that the session may lack, until cancelled."""
        while True:
            await trio.sleep(KEEP_UP_SECONDS)
            self._marks.begin_reading()
            await self._show_missed()

    async def _show_missed(self, gap: Gap | None = None) -> None:
        """Show the events of a reading that has begun for the read marks, and end it."""
        try:
            async with aclosing(self._client.catch_up.events(gap)) as events:
                async for event in events:
                    await self._show_event(event)
        except RookeryError as error:
            self._marks.all_fall_behind()
            self._screen.show(f"the missed events can't be read: {error}")
        self._marks.end_reading()

    async def _send(self, text: str) -> None:
        sent = await self._composer.send(self._open_chat_id(), text)
        self._screen.erase_typed(text)
        await self._show_sent(sent)

    async def _send_file(self, text: str) -> None:
        chat_id = self._open_chat_id()  # the first message of another chat may open it while the file is uploaded
        file, caption = await self._files.upload(text)
        await self._show_sent(await self._composer.send(chat_id, caption, files=[file]))

    async def _show_sent(self, sent: Message) -> None:
        """Show an own message, unless its event came before the answer, as it does after a reconnect."""
        if not self._messages.has(sent.message_id):
            await self._messages.show(sent)

    def _open_chat_id(self) -> str:
        """The chat that is open. Raises InvalidCommand without one."""
        if not self._chat_id:
            raise InvalidCommand(NO_CHAT)
        return self._chat_id

    async def _find(self, text: str) -> None:
        found = await self._client.api.find_users(text, limit=PAGE + 1)
        for user in found[:PAGE]:
            self._screen.show(_full_name(user))
        if not found:
            self._screen.show("nobody is found")
        elif len(found) > PAGE:
            self._screen.show("there are more: add a word")

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

    async def _open_created(self, creation: Message) -> None:
        """Open a group that was created now. Raises RookeryError."""
        async with self._opening:
            await self._groups.open_created(creation)
            await self._write_to(creation.chat_id)

    async def _enter(self, chat_id: str, *, unless_open: bool = False) -> None:
        """Let the following lines be sent to a chat; with `unless_open`, only if none is open. Raises RookeryError."""
        async with self._opening:
            if unless_open and self._chat_id:
                return
            about: Sequence[str] = ()
            if is_group(chat_id):
                about = await self._groups.load(chat_id)
            else:
                self._groups.close()
            await self._write_to(chat_id, about)

    async def _write_to(self, chat_id: str, about: Sequence[str] = ()) -> None:
        """Open a chat that is loaded, show its title and the lines about it, and follow it. Raises RookeryError."""
        self._set_open(chat_id)
        self._screen.show(f"writing to {await self._chats.title(chat_id)}")
        self._show_lines(about)
        await self._follow_open()

    def _set_open(self, chat_id: str) -> None:
        """Write to a chat, and watch its members."""
        if chat_id != self._chat_id:
            self._client.channels.close(self._chat_id)
        self._chat_id = self._messages.open_chat_id = chat_id
        self._history.restart()
        self._typing.clear()
        self._watch_members()

    def _watch_members(self) -> None:
        """Watch the other member of the open chat, or up to MAX_WATCHED known members of an open group."""
        members = self._groups.members if is_group(self._chat_id) else [self._chats.other(self._chat_id)]
        watched = tuple(islice(members, MAX_WATCHED))
        self._client.watch(watched)
        self._groups.note_watched(watched)

    async def _follow_open(self) -> None:
        """Get all events of the chat that is written to, if it is a channel of the user. Raises RookeryError."""
        if is_group(self._chat_id) and self._groups.has_open_channel:
            chat_id = self._chat_id
            try:
                await self._client.channels.open(chat_id)
            except RookeryError:
                self._marks.fall_behind(chat_id)  # heads of it were ignored meanwhile
                raise

    async def _show_unread(self, chat_id: str) -> None:
        """Show the oldest page of unread messages, and mark it as read."""
        try:
            chat = await self._client.api.chat(chat_id)
        except Refused as refused:
            if refused.code != "not_found":  # a chat exists from its first message on
                raise
            self._marks.catch_up(chat_id)
            return
        if is_marked_unread(chat):
            await self._client.mark_unread(chat_id, is_unread=False)
        if not chat.unread:
            self._marks.catch_up(chat_id)
            return
        me = self._client.me.user_id
        read_up_to = next((mark.read_up_to for mark in chat.marks if mark.user_id == me), 0)
        if chat.own.spans:  # messages from before the user joined are not unread
            read_up_to = max(read_up_to, chat.own.spans[-1].first - 1)
        page = await self._client.api.history(chat_id, limit=MAX_PAGE, after_id=read_up_to)
        for item in page.messages:
            await self._messages.show_item(item)
        if page.messages:
            self._client.mark(chat_id, read_up_to=page.messages[-1].message.message_id)
        if page.has_newer:
            self._screen.show(f"there are more unread messages: repeat {opening(chat_id)} NAME")
        else:
            self._marks.catch_up(chat_id)

    async def _change(self, change: Callable[..., Awaitable[Event]], number: int, *arguments: str) -> None:
        """Call a method of the client that changes a message, and show the change."""
        message = self._messages.get(number)
        await self._messages.show_change(await change(message.chat_id, message.message_id, *arguments))

    async def _read_all(self) -> None:
        """Mark all chats as read."""
        count = len(await self._client.mark_all_read())
        self._marks.all_catch_up()
        self._screen.show(f"marked {count} chat{'s' if count > 1 else ''} as read" if count else "no chat is unread")

    async def _mute(self, hours: Sequence[str], *, except_mentions: bool = False) -> None:
        """Mute the open chat for a number of hours, or without one for ever."""
        until_ms = self._client.server_ms() + int(hours[0]) * HOUR_MS if hours else FOR_EVER
        mute = partial(self._client.mute, until_ms=until_ms, except_mentions=except_mentions)
        await self._set_own(mute, "muted, except for mentions of you" if except_mentions else "muted")

    async def _set_own(self, change: Callable[[str], Awaitable[Event]], done: str) -> None:
        """Change one of the user's own settings of the open chat."""
        await change(self._open_chat_id())
        self._screen.show(f"the chat is {done}")

    def _show_lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._screen.show(line)

    async def _show_event(self, event: object) -> None:
        match event:
            case Message():
                await self._show_message(event)
            case Event():
                await self._messages.show_change(event)
            case ChannelHead() if self._client.channels.is_open(event.chat_id):
                pass  # it was on its way when the channel was opened, which shows all messages
            case ChannelHead() if not self._marks.is_behind(event.chat_id):
                self._marks.fall_behind(event.chat_id)
                title = await self._chats.title(event.chat_id)
                self._screen.show(f"there are new messages in {title}: /open {title} shows them")
            case TooOld():
                self._marks.fall_behind(event.chat_id)
                self._messages.forget(event.chat_id)
                title = await self._chats.title(event.chat_id)
                chat = title if is_group(event.chat_id) else f"the chat with {title}"
                command = f"{opening(event.chat_id)} {title}"
                self._screen.show(f"too much of {chat} was missed: {command} shows the unread messages")
            case PeopleChanged():
                self._show_lines(await self._people.invitations(event.user_id))
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

    async def _show_message(self, message: Message) -> None:
        """Show a message that is not shown yet, apply it if it is a control change, and mark it as read."""
        if message.HasField("control"):
            await self._groups.apply(message)
            if message.chat_id == self._chat_id and message.control.members:
                self._watch_members()
        if not self._messages.has(message.message_id):  # else it was read from history, or is an own control change
            await self._messages.show(message)
        if self._groups.is_channel(message.chat_id) and message.chat_id != self._chat_id:
            self._marks.fall_behind(message.chat_id)  # not all of its messages are received
        elif not self._chat_id and not message.HasField("control"):
            with suppress(RookeryError):
                await self._enter(message.chat_id, unless_open=True)
        self._marks.note_shown(message.chat_id, message.message_id)

    async def _show_presence(self, presence: Presence) -> None:
        """Note who is online for /members; show it of the other member of an open direct chat."""
        user_id = presence.user_id
        self._groups.set_online(user_id, is_online=presence.is_online)
        if is_group(self._chat_id) or user_id != self._chats.other(self._chat_id):
            return
        if presence.is_online:
            self._screen.show(f"{await self._names.of(user_id)} is online")
        elif presence.last_seen_ms:
            self._screen.show(f"{await self._names.of(user_id)} was online {local_time(presence.last_seen_ms)}")


def _full_name(user: Profile | User) -> str:
    return user.name if user.display_name == user.name else f"{user.name} ({user.display_name})"
