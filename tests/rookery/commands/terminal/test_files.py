"""Files in `rookery chat`."""

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from rookery.client import FileRef, Unreachable, http
from rookery.client.files import Files
from rookery.commands.terminal.chat import TerminalChat
from tests.rookery.commands.terminal.screens import (
    MESSAGES,
    FakeScreen,
    page,
)

FILES: list[dict[str, object]] = [
    {"file_id": "5", "name": "../.photo.png", "media_type": "image/png", "size": "3400000", "width": 40, "height": 30},
    {"file_id": "6", "name": "notes", "media_type": "text/plain", "size": "7"},
]


@pytest.fixture
def with_files(bff: Any) -> None:
    """The files of the first message of the chat's history, each of which has 7 bytes."""
    listed = page("look")
    listed[1]["messages"][0]["message"]["files"] = FILES
    bff.answers[f"{MESSAGES}limit=20"] = listed
    bff.answers["POST /v1/files/links"] = 200, {"links": [{"url": "/files/5?s=1", "expires_at_ms": "1"}]}
    bff.answers["GET /files/5?s=1"] = 200, "bytes"


async def test_a_file_is_sent_with_its_caption(
    chat: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery, tmp_path: Path
) -> None:
    path = tmp_path / "my photo.png"
    path.write_bytes(b"\0" * 3_400_000)
    bff.answers["POST /v1/files"] = 200, FILES[0] | {"state": "complete"}
    nursery.start_soon(connection.accept_next)
    await chat.execute(f"/send '{path}' for  @grace")
    assert bff.bodies[-1]["name"] == path.name
    send = connection.received[-1].send
    assert (send.text.body, [file.file_id for file in send.files]) == ("for  @grace", [5])
    assert send.text.mentions[0].user_id == 9
    assert screen.shown[-2] == "uploading my photo.png (3.4 MB)"
    assert screen.shown[-1].endswith(
        " ada: for  @grace\n    [../.photo.png: image/png, 3.4 MB, 40\N{MULTIPLICATION SIGN}30]"
    )
    nursery.start_soon(connection.accept_next, 101)
    await chat.execute(f"/send {str(path).replace(' ', chr(92) + ' ')}")
    assert screen.shown[-1].endswith(" ada: [../.photo.png: image/png, 3.4 MB, 40\N{MULTIPLICATION SIGN}30]")
    await chat.execute(f"/send {tmp_path}/missing")
    await chat.execute("/send 'open")
    assert screen.shown[-2:] == [
        f"{tmp_path}/missing can't be read: No such file or directory",
        "a quote is not closed",
    ]


async def test_a_file_whose_upload_failed_is_not_uploaded_anew(
    chat: TerminalChat,
    connection: Any,
    bff: Any,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(http, "REPEAT_SECONDS", 0.0)
    monkeypatch.setattr(http, "LEAST_ATTEMPTS", 1)
    (tmp_path / "notes").touch()
    bff.answers["POST /v1/files"] = 201, FILES[1] | {"size": "0", "state": "uploading", "part_bytes": 8}
    nursery.start_soon(connection.accept_next)
    for status, code in (503, "unavailable"), (403, "forbidden"), (503, "unavailable"), (200, ""), (503, "unavailable"):
        bff.answers["POST /v1/files/6/complete"] = status, FILES[1] | {"state": "complete", "code": code}
        await chat.execute(f"/send {tmp_path}/notes")
    ids = [body["client_file_id"] for body in bff.bodies if "client_file_id" in body]
    assert (ids[0], ids[2], len(set(ids))) == (ids[1], ids[3], 3)
    (tmp_path / "notes").write_text("changed")
    bff.answers["POST /v1/files"] = 409, {"code": "version_conflict"}
    await chat.execute(f"/send {tmp_path}/notes")
    assert bff.bodies[-1]["client_file_id"] not in ids


@pytest.mark.usefixtures("with_files")
async def test_the_files_of_a_message_are_saved_under_safe_new_names_and_forwarded(
    chat: TerminalChat, screen: FakeScreen, connection: Any, nursery: trio.Nursery, tmp_path: Path
) -> None:
    await chat.execute("/history")
    for _ in range(2):
        await chat.execute(f"/save 1 {tmp_path}")
    names = "_.photo (2).png", "_.photo.png", "notes", "notes (2)"
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == dict.fromkeys(names, b'"bytes"')
    assert screen.shown[-1] == f"saved {tmp_path}/notes (2) (7 bytes)"
    await chat.execute(f"/save 1 {tmp_path}/notes")
    assert screen.shown[-1] == f"{tmp_path}/notes is no folder"
    nursery.start_soon(connection.accept_next)
    await chat.execute("/forward grace")
    assert [(file.file_id, file.chat_id, file.message_id) for file in connection.received[-1].send.files] == [
        (5, "d-7-9", 1), (6, "d-7-9", 1)
    ]  # fmt: skip


@pytest.mark.usefixtures("with_files")
@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (Unreachable("no response"), "failed: no response (1 of 2 saved)"),
        (OSError(28, "No space left on device"), "{folder} can't be written: No space left on device (1 of 2 saved)"),
    ],
)
async def test_the_files_that_were_saved_before_a_failure_are_named_and_counted(
    chat: TerminalChat,
    screen: FakeScreen,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: Exception,
    failure: str,
) -> None:
    save = Files.save

    async def save_first(self: Files, ref: FileRef, path: Path, **options: Any) -> None:
        if ref.file_id == 6:
            raise error
        await save(self, ref, path, **options)

    monkeypatch.setattr(Files, "save", save_first)
    await chat.execute("/history")
    screen.shown.clear()
    await chat.execute(f"/save 1 {tmp_path}")
    assert screen.shown == [f"saved {tmp_path}/_.photo.png (3.4 MB)", failure.format(folder=tmp_path)]
    assert chat.failed


@pytest.mark.usefixtures("with_files")
@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("/send ~$report.docx", "~$report.docx can't be read: No such file or directory"),
        ("/send a\0b", "a\0b can't be read: embedded null byte"),
        ("/save 1 ~$reports", "~$reports is no folder"),
        (f"/save 1 {'x' * 300}", f"{'x' * 300} can't be written: File name too long"),
    ],
)
async def test_a_path_that_can_not_be_used_is_named_in_one_line(
    chat: TerminalChat, screen: FakeScreen, line: str, shown: str
) -> None:
    await chat.execute("/history")
    screen.shown.clear()
    await chat.execute(line)
    assert screen.shown == [shown]


async def test_a_file_whose_name_is_too_long_for_the_folder_is_refused_in_one_line(
    chat: TerminalChat, screen: FakeScreen, bff: Any, tmp_path: Path
) -> None:
    listed = page("look")
    listed[1]["messages"][0]["message"]["files"] = [FILES[1] | {"name": "x" * 300}]
    bff.answers[f"{MESSAGES}limit=20"] = listed
    await chat.execute("/history")
    screen.shown.clear()
    await chat.execute(f"/save 1 {tmp_path}")
    assert screen.shown == [f"{tmp_path} can't be written: File name too long"]
