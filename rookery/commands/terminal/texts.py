"""The texts that `rookery chat` shows of messages and of their changes: none for a kind that it does not know."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rookery.client import (
    ROLE_ADMIN,
    ROLE_GUEST,
    ROLE_MEMBER,
    ROLE_OWNER,
    Change,
    Control,
    FileInfo,
    GroupSettings,
    Member,
    Mention,
    Message,
    State,
    Text,
)
from shared.contract.changes import LISTED
from shared.contract.ids import time_of

Names = Mapping[int, str]
"""The names of users by their ids. A mention of another user is shown as its sender wrote it."""

ROLE_NAMES = {ROLE_GUEST: "guest", ROLE_MEMBER: "member", ROLE_ADMIN: "admin", ROLE_OWNER: "owner"}
"""The words for roles, in rising order of power."""

EVERYONE = "everyone"
"""After `@`, all members of a group."""

MAX_NAMED = 5
"""Members that the text of a control change names; the others are counted."""


def text_of(message: Message, state: State, names: Names) -> str:
    """Return the text of a message as its state has changed it, with the mentioned users' names of today, and a line
    about each of its files."""
    content = content_of(message, state)
    if content is None:
        return "(deleted)"
    is_edited = any(event.change.HasField("edited") for event in state.values())
    text = with_names(content, names) + (" (edited)" if is_edited else "")
    return "\n".join([*([text] if text else []), *map(file_text, message.files)])


def file_text(file: FileInfo) -> str:
    """Return a line about a file."""
    edges = f", {file.width}\N{MULTIPLICATION SIGN}{file.height}" if file.width else ""
    return f"[{file.name}: {file.media_type}, {size_text(file.size)}{edges}]"


def size_text(size: int) -> str:
    """Return a number of bytes for people, such as `3.4 MB`."""
    thousands = min((len(str(size)) - 1) // 3, 3)
    number = size / 1_000**thousands
    return f"{number:.{1 if thousands and number < 10 else 0}f} {('bytes', 'kB', 'MB', 'GB')[thousands]}"


def content_of(message: Message, state: State) -> Text | None:
    """Return the content of a message as its state has changed it; None if it was deleted."""
    content = message.text if message.HasField("text") or message.files else None
    for event in state.values():
        match event.change.WhichOneof("body"):
            case "deleted":
                return None
            case "edited":
                content = event.change.edited.text
    return content


def is_set(state: State, name: str) -> bool:
    """Return whether a change of this kind, such as `hidden`, is in the state and set."""
    changes = [event.change for event in state.values()]
    return any(getattr(change, name).set for change in changes if change.WhichOneof("body") == name)


def listed_in(state: State) -> list[str]:
    """Return the listed kinds, such as `pinned`, that are in the state and set."""
    return [kind for kind in LISTED if is_set(state, kind)]


def with_names(text: Text, names: Names) -> str:
    """Return the text with the mentioned users' names of today."""
    named = (mention for mention in reversed(text.mentions) if mention.name)  # the first of a name counts
    written = {mention.name: names.get(mention.user_id, mention.name) for mention in named}
    return _at(written).sub(lambda match: f"@{written[match[1]]}", text.body) if written else text.body


def mentions_in(text: str, names: Names) -> Iterable[Mention]:
    """Return the mentions of these users in a text, each once."""
    user_ids = {name: user_id for user_id, name in names.items()}
    found = dict.fromkeys(_at(user_ids).findall(text)) if user_ids else ()
    return [Mention(user_id=user_ids[name], name=name) for name in found]


def has_everyone(text: str, names: Names) -> bool:
    """Return whether a text mentions everyone; not if `everyone` is the name of one of the users."""
    return EVERYONE not in names.values() and _at([EVERYONE]).search(text) is not None


def _at(names: Iterable[str]) -> re.Pattern[str]:
    """The pattern of `@` and one of the names, not within an address: of several that fit, the longest."""
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?<!\w)@({'|'.join(map(re.escape, longest_first))})(?!\w)", re.ASCII)


def reactions_of(state: State) -> Mapping[str, int]:
    """Return the number of users by emoji, in the order of the first reactions."""
    reacted = (event.change.reacted for event in state.values() if event.change.HasField("reacted"))
    return Counter(each.emoji for each in reacted if each.set)


def change_text(change: Change, target: str, names: Names) -> str:
    """Return the predicate of a sentence about a change of the target; empty for a change that is not shown."""
    match change.WhichOneof("body"):
        case "reacted" if change.reacted.set:
            return f"reacted with {change.reacted.emoji} to {target}"
        case "reacted":
            return f"removed {change.reacted.emoji} from {target}"
        case "edited":
            return f"edited {target}: {with_names(change.edited.text, names)}"
        case "deleted":
            return f"deleted {target}"
        case "previewed" if change.previewed.HasField("preview"):
            preview = change.previewed.preview
            return f"linked in {target} to {preview.title or preview.site_name or preview.url}"
        case "previewed":
            return f"took the preview away from {target}"
        case "hidden" if change.hidden.set:
            return f"deleted {target} for themselves"
        case str(kind) if kind in LISTED:
            return f"{'' if getattr(change, kind).set else 'un'}{kind} {target}"
        case _:
            return ""


def users_in(message: Message, content: Text | None) -> Sequence[int]:
    """Return the users whose names the text of a message with this content needs."""
    mentioned = [mention.user_id for mention in content.mentions] if content else []
    return [message.sender_id, *mentioned, *(member.user_id for member in message.control.members[: MAX_NAMED + 1])]


def control_text(message: Message, names: Names) -> str:
    """Return the predicate of a sentence about a control change of a group, such as `added grace`."""
    control = message.control
    if control.version == 1:
        others = [member.user_id for member in control.members if member.user_id != message.sender_id]
        kind = "channel" if control.settings.is_channel else "group"
        return f"created the {kind} {control.settings.name}{f' with {_listed(others, names)}' if others else ''}"
    affected = defaultdict[str, list[int]](list)
    asking = [member for member in control.members if member.asked_at_ms and not member.role]
    # A request to join may end the one of a deleted account, to make room: no member has declined that.
    for member in asking or control.members:
        affected[_member_change(member, message.sender_id)].append(member.user_id)
    if (handed_over := "made {} the owner") in affected:
        affected = defaultdict(list, {handed_over: affected[handed_over]})  # the former owner became an admin by it
    parts = [*_changed(control), *(text.replace("{}", _listed(ids, names)) for text, ids in affected.items())]
    if any(invite.invite_id == message.message_id for invite in control.invites):
        parts.append("created an invite link")
    elif any(invite.is_revoked for invite in control.invites):
        parts.append("revoked an invite link")
    return ", ".join(parts) or "changed the group"


def _changed(control: Control) -> Iterator[str]:
    settings: GroupSettings = control.settings
    for field in control.changed:
        match field:
            case "name":
                yield f"renamed the group to {settings.name}"
            case "topic":
                yield f"changed the topic to {settings.topic}" if settings.topic else "removed the topic"
            case "avatar":
                yield "changed the picture" if settings.avatar else "removed the picture"
            case "permissions":
                yield "changed the permissions of members"
            case "shows_history":
                is_shown = settings.shows_history
                yield "let new members read older messages" if is_shown else "hid older messages from new members"
            case "is_public":
                yield "opened the group to everyone" if settings.is_public else "closed the group to others"
            case "asks_to_join":
                yield "let members decide who joins" if settings.asks_to_join else "let users join at once"
            case "is_channel":
                yield "made the group a channel"
            case "without_previews":
                yield "turned previews of links off" if settings.without_previews else "turned previews of links on"
            case _:
                pass  # of a newer version


def _member_change(member: Member, sender_id: int) -> str:
    """Return what happened to a member, with `{}` for the names."""
    role = ROLE_NAMES.get(member.role, "member")
    if not member.former_role and not member.role:
        if member.user_id != sender_id:
            return "declined {}"
        return "asked to join" if member.asked_at_ms else "took the request to join back"
    if not member.former_role and member.user_id == sender_id:
        return "joined by an invite link" if member.invite_id else "joined"
    if not member.former_role:
        return "added {} as a guest" if member.role == ROLE_GUEST else "added {}"
    if not member.role:
        return "left" if member.user_id == sender_id else "removed {}"
    if member.role == member.former_role:
        return "changed the permissions of {}"
    return "made {} the owner" if member.role == ROLE_OWNER else f"made {{}} {'an' if role == 'admin' else 'a'} {role}"


def _listed(user_ids: Sequence[int], names: Names) -> str:
    """Return the names in a list, the first ones if there are many."""
    known = [names.get(user_id, f"user {user_id}") for user_id in user_ids[:MAX_NAMED]]
    if len(user_ids) > MAX_NAMED:
        known.append(f"{len(user_ids) - MAX_NAMED} others")
    return known[0] if len(known) == 1 else f"{', '.join(known[:-1])} and {known[-1]}"


def indented(text: str) -> str:
    """Indent all lines but the first: a line of a text must not look like another message."""
    return text.replace("\n", "\n    ")


def clock(event_id: int) -> str:
    """Return the local time of a message or a change, with the date unless it is from today."""
    return local_time(time_of(event_id))


def local_time(at_ms: int) -> str:
    """Return the local time of a moment in milliseconds since 1970, with the date unless it is today."""
    at = time.localtime(at_ms / 1000)
    return time.strftime("%H:%M" if at[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M", at)
