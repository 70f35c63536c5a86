"""The texts that `rookery chat` shows of messages and of their changes: none for a kind that it does not know."""

from collections import Counter
from collections.abc import Mapping

from rookery.client import Change, Message, State


def text_of(message: Message, state: State) -> str:
    """Return the text of a message as its state has changed it."""
    if message.WhichOneof("content") is None:
        return "(deleted)"
    text = message.text.body
    for event in state.values():
        match event.change.WhichOneof("body"):
            case "deleted":
                return "(deleted)"
            case "edited":
                text = f"{event.change.edited.text.body} (edited)"
    return text


def reactions_of(state: State) -> Mapping[str, int]:
    """Return the number of users by emoji, in the order of the first reactions."""
    reacted = (event.change.reacted for event in state.values() if event.change.HasField("reacted"))
    return Counter(each.emoji for each in reacted if each.set)


def change_text(change: Change, target: str) -> str:
    """Return the predicate of a sentence about a change of the target; empty for a change that is not shown."""
    match change.WhichOneof("body"):
        case "reacted" if change.reacted.set:
            return f"reacted with {change.reacted.emoji} to {target}"
        case "reacted":
            return f"removed {change.reacted.emoji} from {target}"
        case "edited":
            return f"edited {target}: {change.edited.text.body}"
        case "deleted":
            return f"deleted {target}"
        case _:
            return ""
