"""The read marks of `rookery chat`. A mark counts older messages as read too, so it waits until they are shown."""

from collections.abc import Callable


class ReadMarks:
    """Marks shown messages as read, unless older messages of their chat may be missing on the screen."""

    def __init__(self, mark: Callable[[str, int], None]) -> None:
        """`mark` marks a chat as read up to a message id."""
        self._mark = mark
        self._behind: dict[str, bool] = {}
        """Whether a chat has messages that only its history shows."""
        self._others_behind = False
        """Whether all other chats may have such messages."""
        self._waiting: dict[str, int] = {}
        """By chat: the newest message that was shown while older ones may be missing."""
        self._readings = 0
        """The readings of missed events that have not ended."""

    def is_behind(self, chat_id: str) -> bool:
        """Whether the chat is known to have messages that only its history shows."""
        return self._behind.get(chat_id, False)

    def fall_behind(self, chat_id: str) -> None:
        """Mark nothing in a chat until `catch_up`."""
        self._behind[chat_id] = True

    def all_fall_behind(self) -> None:
        """Mark nothing in a chat until its `catch_up`, or that of all chats."""
        self._behind = {chat_id: True for chat_id, is_behind in self._behind.items() if is_behind}
        self._others_behind = True

    def catch_up(self, chat_id: str) -> None:
        """Mark the messages of a chat again: none is missing any more."""
        self._behind[chat_id] = False
        self._mark_waiting(chat_id)

    def all_catch_up(self) -> None:
        """Mark the messages of all chats again."""
        self._behind, self._others_behind = {}, False
        self._mark_all_waiting()

    def begin_reading(self) -> None:
        """Mark nothing until the missed events are read. Several readings may run at once."""
        self._readings += 1

    def end_reading(self) -> None:
        """Mark the messages that waited for this reading, unless another one runs."""
        self._readings -= 1
        self._mark_all_waiting()

    def note_shown(self, chat_id: str, message_id: int) -> None:
        """Mark a message that was shown, now or once no older one is missing."""
        self._waiting[chat_id] = max(message_id, self._waiting.get(chat_id, 0))
        self._mark_waiting(chat_id)

    def _mark_all_waiting(self) -> None:
        for chat_id in list(self._waiting):
            self._mark_waiting(chat_id)

    def _mark_waiting(self, chat_id: str) -> None:
        if self._readings or self._behind.get(chat_id, self._others_behind):
            return
        if message_id := self._waiting.pop(chat_id, 0):
            self._mark(chat_id, message_id)
