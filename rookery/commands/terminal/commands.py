"""The commands of `rookery chat`: how a line is split into a command and its arguments, and the help."""

from collections.abc import Sequence

PAGE = 20
"""Messages that /history and /older show by default, and people that /find lists."""

MAX_PAGE = 100
"""Messages and chats that a command shows at most."""

LISTED = {"pin": "pinned", "star": "starred"}
"""The kinds that are set by a command (/pin), removed by another (/unpin), and listed by a third (/pins)."""

SPLITS = {
    **{"/channel": 1, "/edit": 2, "/group": 1, "/join": 1, "/open": 1, "/rename": 1},
    **{"/reply": 2, "/report": 2, "/save": 2, "/send": 1, "/topic": 1},
}
"""The commands whose last argument is a whole text, and the number of their arguments."""

TOGGLES = {f"/{prefix}{verb}": (kind, not prefix) for verb, kind in LISTED.items() for prefix in ("", "un")}
"""The commands that set (true) or remove a kind."""

LISTS = {f"/{verb}s": kind for verb, kind in LISTED.items()}
"""The commands that list the messages with a kind."""

OWN: dict[tuple[str, ...], tuple[str, bool, str]] = {
    ("/archive",): ("archived", True, "moved to the archive"),
    ("/unarchive",): ("archived", False, "moved out of the archive"),
    ("/unread",): ("marked_unread", True, "marked as unread"),
    ("/pin", "chat"): ("chat_pinned", True, "pinned to the top of the list"),
    ("/unpin", "chat"): ("chat_pinned", False, "unpinned from the top of the list"),
    ("/previews", "off"): ("without_previews", True, "without previews of your links"),
    ("/previews", "on"): ("without_previews", False, "with previews of your links"),
}
"""The commands that set (true) or remove one of the user's own settings of the open chat, and the confirmation."""

HELP = f"""\
/chats                  list your chats and their unread messages
/find TEXT              find people by parts of their names
/with NAME              write to NAME, and show the unread messages
/history [COUNT]        show the newest messages: {PAGE}, or 1 to {MAX_PAGE}
/older [COUNT]          show the messages before these
/reply NUMBER TEXT      reply to a message
/react [NUMBER] E       react with the emoji E to a message, by default the newest; /unreact removes it
/edit NUMBER TEXT       replace the text of your message
/edits [NUMBER]         show the texts that a message has had
/seen [NUMBER]          show the other members who have seen a message
/delete NUMBER          delete your message for everyone
/hide NUMBER            delete a message for you alone
/pin [NUMBER]           pin a message for all members; /unpin removes the pin, /pins shows the pinned messages
/star [NUMBER]          star a message for you alone; /unstar removes the star, /stars shows the starred messages
/mute [HOURS], /unmute  mute the chat for you alone; /mute mentions [HOURS] lets your devices notify of mentions of you
/archive, /unarchive    move the chat to your archive until a message arrives, or out of it
/unread                 mark the chat as unread for you alone, until you open it; /read all marks all chats as read
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
/settings               list the settings of the group, and the permissions of its members
/set NAME on            switch a setting on, such as history, public, approval or post; /set NAME off switches it off
/role NAME ROLE         make NAME a guest, member or admin; or the owner, in your place
/invite [DAYS [USES]]   create an invite link to the group: 7 days, any number of uses, 0 DAYS for ever
/invites, /revoke NUMBER  list the invite links of the group, and end one of them
/join TOKEN, /join NAME  join the group of an invite link, or a public one; /public [TEXT] lists these
/requests, /accept NAME..., /decline NAME  list the users who asked to join the group, add or decline them
/connect NAME           invite NAME to be a connection, or accept; /disconnect ends it, /connections lists all
/block NAME             end messages between you and NAME, without a notice to NAME; /unblock ends it, /blocks lists all
/report NUMBER REASON, /report NAME REASON  report a message or a user to the admins
/help, /quit
Any other line is sent as a message; @NAME in it mentions a member of the chat, and @everyone all members of a group.
To send a line that begins with /, type // for its first /."""


class InvalidCommand(Exception):
    """A command that can't be carried out. The message is for the user."""


def split_command(line: str) -> tuple[str, Sequence[str]]:
    """Split a line into the command, such as `/react`, and its arguments; the command is empty for a message."""
    if not line.startswith("/") or line.startswith("//"):
        return "", [line.removeprefix("/")] if line.startswith("//") else [line]
    command, *arguments = line.split(maxsplit=SPLITS.get(line.split(maxsplit=1)[0], -1))
    return command, arguments


def is_number(words: Sequence[str]) -> bool:
    """Whether the argument is empty or one number of at most 9 digits."""
    return all(word.isdecimal() and len(word) < 10 for word in words) and len(words) < 2
