"""The chat store on SQLite beyond the contract: deleted text is not in the file."""

from pathlib import Path

import pytest
import trio

from messaging.archive.store.sqlite.store import open_sqlite_chats
from tests.messaging.archive.store.chats import Conversation, logged


@pytest.mark.parametrize("size", [20, 20_000])
async def test_the_text_of_a_deleted_message_is_not_in_the_file(tmp_path: Path, size: int) -> None:
    talk = Conversation()
    message = talk.message(body="a secret " * size)
    edit = talk.edit(message.event_id, "another one " * size)
    for some in ([message], [edit, *talk.messages(20)], [talk.deletion(message.event_id)]):
        async with open_sqlite_chats(tmp_path / "chats.db") as chats:
            await chats.record(logged(*some), {})
    data = await trio.Path(tmp_path / "chats.db").read_bytes()
    assert [text in data for text in (b"hello", b"secret", b"another one")] == [True, False, False]
