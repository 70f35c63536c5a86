"""Files of reported messages: the openings by an admin, their end, and their entries in the audit log."""

import json
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
import structlog

from rookery.v1.archive_pb2 import FILE_STATE_COMPLETE, GetReportedFileRequest, StoredFile
from rookery.v1.files_pb2 import FileInfo, FileRef
from shared.accounts.people import Report, Resolution
from shared.contract.errors import Code, Refusal, Unavailable
from shared.files.keys import file_key
from tests.bff.conftest import Api, Reply
from tests.shared.files.content import content_of, store

REPORT, OTHER_REPORT, MESSAGE, FILE, OTHER_FILE = 5 << 22, 6 << 22, 2**61 + 1, 2**62 + 1, 2**62 + 2
CONTENT = content_of(1_000)
THUMBNAIL = b"RIFF of 320"
GONE = (404, "not_found", "")


@dataclass
class Desk:
    """An admin, and two reports of a message each, with one file each."""

    api: Api
    tokens: dict[str, Any]

    async def ask(self, report_id: int = REPORT, token: str = "", **wanted: Any) -> Reply:
        body = {"message_id": str(MESSAGE), "file_id": str(FILE), **wanted}
        path = f"/v1/admin/reports/{report_id}/links"
        return await self.api.call("POST", path, body, token=token or self.tokens["access_token"])

    async def url(self, **wanted: Any) -> str:
        reply = await self.ask(**wanted)
        assert reply.status == 200, reply.text
        return str(reply.body["url"])

    async def get(self, url: str) -> Reply:
        return await self.api.call("GET", url)

    async def acts(self) -> list[tuple[str, str, str]]:
        """Act, target and detail of each audit entry, oldest first."""
        entries = await self.api.accounts.audit_entries(limit=100)
        return [(entry.act, entry.target, entry.detail) for entry in reversed(entries)]


@pytest.fixture
async def desk(api: Api) -> Desk:
    for report_id, file_id in ((REPORT, FILE), (OTHER_REPORT, OTHER_FILE)):
        info = FileInfo(file_id=file_id, name="a.png", media_type="image/png", width=9, height=9, thumbnails=[320])
        api.archive.files[file_id] = StoredFile(file=info, state=FILE_STATE_COMPLETE, rendition="picture")
        await store(api.services.files, file_key(file_id, "picture"), [CONTENT])
        await api.services.files.put(file_key(file_id, "320"), THUMBNAIL)
        message = {"message_id": str(MESSAGE), "sender_id": "2", "files": [{"file_id": str(file_id), "name": "a.png"}]}
        await api.accounts.add_report(
            Report(report_id, 1, 2, "g-7", json.dumps([{"message": message}, {"message": {"message_id": "9"}}]), "Rude")
        )
    user = await api.register("admin")
    await api.accounts.make_admin(int(user["user_id"]))
    return Desk(api, await api.sign_in("admin"))


async def test_an_admin_opens_a_picture_and_saves_a_file_of_an_open_report(desk: Desk) -> None:
    shown = await desk.get(await desk.url(rendition="320"))
    assert (shown.status, shown.text, shown.headers["Content-Type"]) == (200, THUMBNAIL, "image/webp")
    saved = await desk.get(await desk.url(download=True))
    assert (saved.status, saved.text) == (200, CONTENT)
    assert saved.headers["Content-Disposition"] == 'attachment; filename="a.png"'
    assert shown.headers["Cache-Control"] == saved.headers["Cache-Control"] == "no-store"
    request = desk.api.archive.requests[-1]
    assert isinstance(request, GetReportedFileRequest)
    assert request.file == FileRef(file_id=FILE, chat_id="g-7", message_id=MESSAGE)


async def test_each_file_of_a_report_that_an_admin_opens_is_in_the_audit_log_and_in_the_log_once(desk: Desk) -> None:
    with structlog.testing.capture_logs() as lines:
        for wanted in ({"rendition": "320"}, {"download": True}, {}):
            await desk.url(**wanted)
        await desk.url(report_id=OTHER_REPORT, file_id=str(OTHER_FILE))
    opened = [
        ("open_reported_file", str(REPORT), f"file {FILE}"),
        ("open_reported_file", str(OTHER_REPORT), f"file {OTHER_FILE}"),
    ]
    assert await desk.acts() == opened
    acts = [line for line in lines if line["event"] == "admin_act"]
    assert [(line["act"], line["target"], line["detail"]) for line in acts] == opened
    second = await desk.api.register("second")
    await desk.api.accounts.make_admin(int(second["user_id"]))
    await desk.ask(token=(await desk.api.sign_in("second"))["access_token"])
    assert await desk.acts() == [*opened, opened[0]]


async def test_a_file_whose_opening_cannot_be_recorded_is_not_opened(desk: Desk) -> None:
    with patch.object(type(desk.api.accounts), "add_audit_entry", side_effect=Unavailable("away")):
        assert (await desk.ask()).refusal[:2] == (503, "unavailable")
    assert await desk.acts() == []
    await desk.url()
    assert len(await desk.acts()) == 1


async def test_other_users_open_no_file(desk: Desk) -> None:
    await desk.api.register("bob")
    bob = (await desk.api.sign_in("bob"))["access_token"]
    assert (await desk.ask(token=bob)).refusal == (403, "forbidden", "")
    assert await desk.acts() == []


@pytest.mark.parametrize(
    ("wanted", "status", "field"),
    [
        ({"file_id": str(OTHER_FILE)}, 404, "message_id"),
        ({"message_id": "9"}, 404, "message_id"),
        ({"report_id": 99}, 404, "report_id"),
        ({"rendition": "800"}, 404, "rendition"),
        ({"rendition": "picture"}, 404, "rendition"),
        ({"file_id": "0"}, 422, "file_id"),
    ],
)
async def test_a_file_that_the_report_does_not_have_is_not_opened(
    desk: Desk, wanted: dict[str, Any], status: int, field: str
) -> None:
    reply = await desk.ask(**wanted)
    assert (reply.status, reply.body["field"]) == (status, field)
    assert await desk.acts() == []


async def test_a_closed_report_opens_no_file_and_ends_the_links(desk: Desk) -> None:
    url = await desk.url()
    await desk.api.accounts.close_report(REPORT, resolution=Resolution.HANDLED, note="", closed_by=3, at_ms=5)
    assert (await desk.get(url)).refusal == GONE
    assert (await desk.ask()).refusal == (409, "out_of_order", "")


async def test_a_deleted_message_takes_its_files_from_the_admin_too(desk: Desk) -> None:
    url = await desk.url()
    del desk.api.archive.files[FILE]  # as the archive answers after the deletion
    assert (await desk.get(url)).refusal == GONE
    assert (await desk.ask()).refusal == (404, "not_found", "file_id")
    assert len(await desk.acts()) == 1


async def test_a_link_ends_with_its_time_with_the_role_and_with_the_sign_in(desk: Desk) -> None:
    api, url = desk.api, await desk.url()
    admin_id, family_id = int(desk.tokens["user"]["user_id"]), (await families(desk))[0]
    await api.accounts.revoke_admin(admin_id)
    assert (await desk.get(url)).refusal == GONE
    await api.accounts.make_admin(admin_id)
    assert (await desk.get(url)).status == 200
    api.clock.now_ms += 600_000
    assert (await desk.get(url)).refusal == GONE
    url = await desk.url()
    await api.accounts.end_family(family_id)
    assert (await desk.get(url)).refusal == GONE


async def families(desk: Desk) -> list[str]:
    user_id = int(desk.tokens["user"]["user_id"])
    return [each.family_id for each in await desk.api.accounts.families(user_id, now_ms=0, limit=9)]


async def test_what_a_link_of_a_report_states_can_not_be_changed(desk: Desk) -> None:
    """Its signature covers the report."""
    url = await desk.url()
    without = url.replace(f"&report={REPORT}", "")
    assert without != url
    assert (await desk.get(without)).refusal == GONE
    assert (await desk.get(url.replace(str(REPORT), str(OTHER_REPORT)))).refusal == GONE


async def test_an_archive_that_does_not_answer_is_unavailable(desk: Desk) -> None:
    url = await desk.url()
    desk.api.archive.response = Refusal(Code.UNAVAILABLE, "the archive is away")
    assert (await desk.ask()).refusal[:2] == (503, "unavailable")
    assert (await desk.get(url)).refusal[:2] == (503, "unavailable")


async def test_the_object_store_sends_no_file_of_a_report_by_its_own_link(desk: Desk) -> None:
    """The object store's own links are valid for a minute, even if the report is closed meanwhile."""
    with patch.object(type(desk.api.services.files), "signed_url", return_value="https://store.example/x"):
        assert (await desk.get(await desk.url())).status == 200
