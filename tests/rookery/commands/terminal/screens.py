"""A screen that records lines, and responses of the BFF about grace and the group Engines."""

from typing import Any

from rookery.commands.terminal.screen import Screen

GRACE = {"user_id": "9", "name": "grace", "display_name": "Grace"}

FIND_GRACE = "GET /v1/profiles?name_contains=grace&limit=1"

MESSAGES = "GET /v1/chats/d-7-9/messages?"


def page(*texts: str, **fields: object) -> tuple[int, dict[str, Any]]:
    """A page of messages from grace, with the ids 1, 2, and so on."""
    wires = [
        {"message_id": str(number), "chat_id": "d-7-9", "sender_id": "9", "text": {"body": text}}
        for number, text in enumerate(texts, 1)
    ]
    return 200, {"messages": [{"message": wire} for wire in wires], **fields}


class FakeScreen(Screen):
    """Records the shown lines."""

    def __init__(self) -> None:
        super().__init__(interactive=False)
        self.shown: list[str] = []

    def show(self, text: str) -> None:
        self.shown.append(text)


SETTINGS = {"name": "Engines", "topic": "Steam"}

OWNER = [{"user_id": "7", "role": "ROLE_OWNER", "version": "1"}]

ADDED = {"version": "2", "members": [{"user_id": "9", "role": "ROLE_MEMBER", "version": "2"}]}


def control(event_id: int, **fields: Any) -> dict[str, Any]:
    message = {"message_id": str(event_id), "chat_id": "g-1", "sender_id": "7", "control": fields}
    return {"event_id": str(event_id), "message": message}
