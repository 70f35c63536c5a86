"""Uploads: reserved, sent in parts, completed."""

import hashlib
import io
from functools import partial
from typing import Any

import pytest
import trio
from PIL import Image

from bff.files import completion, uploads
from bff.http.bodies import TooSlow
from rookery.v1.archive_pb2 import (
    FILE_STATE_COMPLETE,
    CompleteFileRequest,
    CompleteFileResponse,
    GetFilesRequest,
    GetFilesResponse,
    ReserveFileRequest,
    StoredFile,
)
from shared.configuration.model import LiveConfiguration
from shared.configuration.protocol import StoredValue
from shared.contract.errors import Code, Refusal, Unavailable
from shared.files.keys import file_key, keys_of
from shared.files.protocol import PART_BYTES, Full
from shared.settings import FilesSettings
from tests.bff.conftest import Api, Reply
from tests.shared.pictures.conftest import HEIC
from tests.waiting import until

CONTENT = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 33_000  # two parts
PARTS = [CONTENT[:PART_BYTES], CONTENT[PART_BYTES:]]
FILE: dict[str, Any] = {"client_file_id": "c1", "name": "a.png", "size": len(CONTENT)}


@pytest.fixture
def configuration() -> LiveConfiguration:
    return LiveConfiguration(max_file_bytes=10_000_000, allowed_file_types="image/*,text/plain", files_per_hour=10)


class Client:
    """A user who uploads."""

    def __init__(self, api: Api, token: str) -> None:
        self.api = api
        self.token = token

    async def call(self, method: str, path: str, body: Any = None, **request: Any) -> Reply:
        return await self.api.call(method, f"/v1/files{path}", body, token=self.token, **request)

    async def reserve(self, **changes: Any) -> str:
        reply = await self.call("POST", "", FILE | changes)
        assert reply.status == 201, reply.text
        return str(reply.body["file_id"])

    async def send(self, file_id: str, number: int, content: bytes) -> Reply:
        return await self.call("PUT", f"/{file_id}/parts/{number}", raw=content)

    async def upload(self, content: bytes, **changes: Any) -> str:
        """Reserve a file of one part, and send it."""
        file_id = await self.reserve(size=len(content), **changes)
        assert (await self.send(file_id, 1, content)).status == 204
        return file_id

    async def complete(self, file_id: str) -> Reply:
        return await self.call("POST", f"/{file_id}/complete")

    async def stored(self, file_id: str) -> bytes:
        async with self.api.services.files.read(file_key(int(file_id))) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def has_bytes(self, file_id: str) -> bool:
        return any([await self.api.services.files.size(key) is not None for key in keys_of(int(file_id))])


@pytest.fixture
def client(api: Api, token: str) -> Client:
    return Client(api, token)


async def test_a_file_is_uploaded_in_parts_in_any_order_each_perhaps_twice(client: Client) -> None:
    file_id = await client.reserve(sha256=hashlib.sha256(CONTENT).hexdigest())
    for number in (2, 1, 2):
        assert (await client.send(file_id, number, PARTS[number - 1])).status == 204
    described = (await client.call("GET", f"/{file_id}")).body
    assert (described["state"], described["part_bytes"]) == ("uploading", PART_BYTES)
    assert described["parts"] == [{"number": n, "size": len(PARTS[n - 1])} for n in (1, 2)]
    completed = await client.complete(file_id)
    assert completed.body == described | {"state": "complete", "parts": [], "media_type": "image/png"}
    assert await client.stored(file_id) == CONTENT
    assert (await client.complete(file_id)).body == completed.body
    assert client.api.archive.files[int(file_id)].sha256 == hashlib.sha256(CONTENT).digest()
    late = await client.send(file_id, 1, PARTS[0])
    assert late.refusal == (409, "out_of_order", "file_id")
    assert (await client.call("DELETE", f"/{file_id}")).refusal == (409, "out_of_order", "file_id")


async def test_a_voice_message_keeps_its_length_and_waveform(client: Client) -> None:
    voice = {"duration_ms": 1_200, "waveform": "AP8="}
    content = b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm"
    refused = await client.complete(await client.upload(content, voice=voice, client_file_id="c2"))
    assert refused.refusal == (403, "forbidden", "media_type")
    assert refused.body["detail"] == "Files of the type audio/webm can't be sent here."
    file_id = await client.upload(b"text", voice=voice)
    completed = (await client.complete(file_id)).body
    assert {name: completed[name] for name in voice} == voice


async def test_an_empty_file_needs_no_part(client: Client) -> None:
    file_id = await client.reserve(size=0)
    assert (await client.complete(file_id)).body["state"] == "complete"
    assert await client.stored(file_id) == b""


async def test_a_retried_reservation_returns_the_first_file_and_leaves_no_upload(client: Client) -> None:
    file_id = await client.reserve()
    again = await client.call("POST", "", FILE)
    assert (again.status, again.body["file_id"]) == (200, file_id)
    assert len(await client.api.services.files.uploads(before_ms=2**62)) == 1
    for change in ({"name": "b.png"}, {"size": 1}):
        other = await client.call("POST", "", FILE | change)
        assert other.refusal == (409, "version_conflict", "client_file_id")
    await client.upload(b"x", client_file_id="c2", sha256="00" * 32)
    other = await client.call("POST", "", FILE | {"client_file_id": "c2", "size": 1, "sha256": "11" * 32})
    assert other.refusal == (409, "version_conflict", "client_file_id")


async def test_a_file_whose_upload_the_store_has_lost_is_reserved_again_with_the_same_id(client: Client) -> None:
    file_id = await client.upload(b"text")
    await client.api.services.files.cancel(
        file_key(int(file_id)), client.api.archive.files[int(file_id)].upload_id
    )  # as after a restore of a backup
    ended = await client.send(file_id, 1, b"text")
    assert ended.body["detail"] == "This upload has ended: reserve the file again."
    again = await client.upload(b"text")
    assert again != file_id
    assert (await client.complete(again)).body["state"] == "complete"
    assert len(await client.api.services.files.uploads(before_ms=2**62)) == 0


async def test_a_user_reserves_a_limited_number_of_files_in_an_hour(client: Client) -> None:
    for number in range(10):
        await client.reserve(client_file_id=f"c{number}", size=0)
    refused = await client.call("POST", "", FILE | {"client_file_id": "c10"})
    assert refused.refusal == (429, "rate_limited", "")
    assert await client.api.services.files.uploads(before_ms=2**62) == []


@pytest.mark.parametrize(("code", "kept"), [(Code.RATE_LIMITED, 0), (Code.TIMED_OUT, 1)])
async def test_a_refused_reservation_leaves_its_upload_only_if_it_may_exist(
    client: Client, code: Code, kept: int
) -> None:
    client.api.archive.response = Refusal(code, "refused")
    assert (await client.call("POST", "", FILE)).body["code"] == code
    assert len(await client.api.services.files.uploads(before_ms=2**62)) == kept
    request = client.api.archive.requests[-1]
    assert isinstance(request, ReserveFileRequest)
    assert (request.quota_bytes, request.max_uploads) == (5_000_000_000, 100)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"size": 10_000_001}, (413, "too_large", "size")),
        ({"size": -1}, (422, "invalid", "size")),
        ({"size": False}, (400, "malformed", "size")),
        ({"client_file_id": "x" * 65}, (422, "invalid", "client_file_id")),
        ({"sha256": "0g" * 32}, (422, "invalid", "sha256")),
        ({"voice": {"duration_ms": 0}}, (422, "invalid", "voice.duration_ms")),
        ({"voice": {"duration_ms": 1}, "size": 0}, (422, "invalid", "size")),
        ({"voice": {"duration_ms": 1, "waveform": "A" * 88}}, (422, "invalid", "voice.waveform")),
        *(
            ({"name": name}, (422, "invalid", "name"))
            for name in ("", " ", "..", "/etc/passwd", "a\\b", "a\nb", "photo\u202egpj.exe", "x" * 256, "ü" * 2_000)
        ),
    ],
)
async def test_bad_reservations_are_refused(
    client: Client, change: dict[str, Any], refusal: tuple[int, str, str]
) -> None:
    assert (await client.call("POST", "", FILE | change)).refusal == refusal


async def test_the_sentence_of_a_refusal_names_the_innermost_field(client: Client) -> None:
    reply = await client.call("POST", "", FILE | {"voice": {"duration_ms": 0}})
    assert reply.body["detail"] == "The duration ms must be at least 1."


async def test_wrong_parts_are_refused(client: Client) -> None:
    file_id = await client.reserve()
    for number, content, field in [(3, b"x", "number"), (1, PARTS[1], "body"), (2, PARTS[1] + b"x", "body")]:
        assert (await client.send(file_id, number, content)).refusal == (422, "invalid", field)
    headers = {"Content-Length": str(len(PARTS[1]))}
    short = await client.call("PUT", f"/{file_id}/parts/2", raw=PARTS[1][:-1], headers=headers)
    assert short.refusal == (400, "malformed", "body")
    huge = await client.call("PUT", f"/{file_id}/parts/2", raw=b"", headers={"Content-Length": str(2**40)})
    assert huge.refusal == (413, "too_large", "body")
    missing = await client.complete(file_id)
    assert missing.refusal == (409, "out_of_order", "parts")
    assert missing.body["detail"] == "2 parts are missing: 1, 2."


@pytest.mark.parametrize(
    ("error", "refusal", "detail"),
    [
        (Full("no space left"), (503, "unavailable", ""), "There is no room for more files: try again later."),
        (Unavailable("away"), (503, "unavailable", ""), "The store does not answer: try again soon."),
        (TooSlow(), (408, "incomplete", "body"), "Too little was received for too long."),
    ],
)
async def test_a_part_that_can_not_be_stored_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, refusal: tuple[int, str, str], detail: str
) -> None:
    async def fail(*_: Any) -> None:
        raise error

    file_id = await client.reserve(size=1)
    monkeypatch.setattr(client.api.services.files, "write_part", fail)
    reply = await client.send(file_id, 1, b"x")
    assert (reply.refusal, reply.body["detail"]) == (refusal, detail)


async def test_parts_of_a_user_are_limited_at_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert FilesSettings().connections >= 2 * uploads.MAX_PARTS, "slow uploads leave connections to others"
    stalled, full = [], trio.Event()

    async def stall(*_: Any) -> None:
        stalled.append(1)
        if len(stalled) == uploads.MAX_PARTS_OF_USER:
            full.set()
        await trio.sleep_forever()

    file_id = await client.reserve(size=1)
    monkeypatch.setattr(client.api.services.files, "write_part", stall)
    async with trio.open_nursery() as nursery:
        for _ in range(uploads.MAX_PARTS_OF_USER):
            nursery.start_soon(client.send, file_id, 1, b"x")
        await full.wait()
        assert (await client.send(file_id, 1, b"x")).refusal == (429, "rate_limited", "")
        nursery.cancel_scope.cancel()
    monkeypatch.undo()
    assert (await client.send(file_id, 1, b"x")).status == 204


async def test_a_part_of_the_user_who_sends_most_makes_room_for_others(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_PARTS", 3)
    stalled: list[int] = []
    ended: list[tuple[int, Any]] = []
    file_id, write_part = await client.reserve(size=1), client.api.services.files.write_part
    await client.api.register("bob")
    bob = Client(client.api, str((await client.api.sign_in("bob"))["access_token"]))
    other_id = await bob.reserve(size=1)

    async def stall(*_: Any) -> None:
        stalled.append(1)
        await trio.sleep_forever()

    async def send(number: int, by: Client, file_id: str) -> None:
        ended.append((number, (await by.send(file_id, 1, b"x")).refusal))

    monkeypatch.setattr(client.api.services.files, "write_part", stall)
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(send, number, client, file_id)
            await until(partial(lambda most: len(stalled) == most, number + 1))
        monkeypatch.setattr(client.api.services.files, "write_part", write_part)
        assert (await bob.send(other_id, 1, b"x")).status == 204
        await until(lambda: ended == [(0, (503, "unavailable", ""))])
        monkeypatch.setattr(client.api.services.files, "write_part", stall)
        nursery.start_soon(send, 3, bob, other_id)
        await until(lambda: len(stalled) == 4)
        assert (await bob.send(other_id, 1, b"x")).refusal == (503, "unavailable", ""), "both would have as many"
        monkeypatch.setattr(uploads, "SLOW_SECONDS", 0.0)
        monkeypatch.setattr(client.api.services.files, "write_part", write_part)
        assert (await bob.send(other_id, 1, b"x")).status == 204
        await until(lambda: len(ended) == 2)
        assert ended[1][1] == (503, "unavailable", ""), "slow ones of users with more make room all the same"
        nursery.cancel_scope.cancel()


async def test_nobody_else_reaches_an_upload(client: Client) -> None:
    file_id = await client.upload(b"text")
    await client.api.register("bob")
    bob = Client(client.api, str((await client.api.sign_in("bob"))["access_token"]))
    for reply in (
        await bob.send(file_id, 1, b"evil"),
        await bob.complete(file_id),
        await bob.call("GET", f"/{file_id}"),
    ):
        assert reply.refusal == (404, "not_found", "file_id")
    assert (await bob.call("DELETE", f"/{file_id}")).status == 204
    assert (await client.complete(file_id)).body["media_type"] == "text/plain"


@pytest.mark.parametrize(
    ("content", "sha256", "refusal"),
    [
        (b"text", "00" * 32, (422, "invalid", "sha256")),
        (b"%PDF-1.7\n", "", (403, "forbidden", "media_type")),
    ],
)
async def test_a_file_that_can_not_be_completed_is_forgotten(
    client: Client, content: bytes, sha256: str, refusal: tuple[int, str, str]
) -> None:
    file_id = await client.upload(content, sha256=sha256)
    assert (await client.complete(file_id)).refusal == refusal
    assert (await client.call("GET", f"/{file_id}")).status == 404
    assert not await client.has_bytes(file_id)


async def test_a_cancelled_upload_is_gone_in_either_state_of_its_parts(client: Client) -> None:
    for number in (1, 2):
        file_id = await client.upload(b"text", client_file_id=f"c{number}")
        if number == 2:  # a process was killed after it had joined the parts
            stored = client.api.archive.files[int(file_id)]
            parts = await client.api.services.files.parts(file_key(int(file_id)), stored.upload_id)
            await client.api.services.files.finish(file_key(int(file_id)), stored.upload_id, parts)
            assert [part["size"] for part in (await client.call("GET", f"/{file_id}")).body["parts"]] == [4]
        assert (await client.call("DELETE", f"/{file_id}")).status == 204
        assert not await client.has_bytes(file_id)
        assert not await client.api.services.files.uploads(before_ms=2**62)
        assert (await client.send(file_id, 1, b"text")).status == 404


@pytest.mark.parametrize("keep_original", [True, False])
async def test_a_picture_loses_its_uploaded_bytes_unless_they_are_wanted(client: Client, keep_original: bool) -> None:
    image = io.BytesIO()
    Image.effect_noise((400, 300), 50).save(image, "PNG")
    sent = image.getvalue()
    file_id = await client.upload(sent, keep_original=keep_original)
    file, files = (await client.complete(file_id)).body, client.api.services.files
    assert (file["media_type"], file["width"], file["height"], file["thumbnails"]) == ("image/png", 400, 300, [320])
    kept = await files.size(file_key(int(file_id))), await files.size(file_key(int(file_id), "picture"))
    assert kept == ((len(sent), None) if keep_original else (None, int(file["size"])))
    await files.put(file_key(int(file_id)), sent)  # as if a process had been killed before it deleted them
    assert (await client.complete(file_id)).body == file
    assert (await files.size(file_key(int(file_id))) is not None) == keep_original
    again = await client.call("POST", "", FILE | {"size": len(sent)})
    assert again.body["file_id"] == file_id
    other = await client.call("POST", "", FILE | {"name": "b.png", "size": len(sent)})
    assert other.refusal == (409, "version_conflict", "client_file_id")


async def test_a_retry_for_the_picture_of_a_phone_returns_it_under_the_name_of_a_jpeg(client: Client) -> None:
    file_id = await client.upload(HEIC, name="IMG_1.HEIC")
    assert (await client.complete(file_id)).body["name"] == "IMG_1.jpg"
    for name, status in (("IMG_1.HEIC", 200), ("IMG_2.HEIC", 409)):
        assert (await client.call("POST", "", FILE | {"name": name, "size": len(HEIC)})).status == status


async def test_a_picture_does_not_become_larger_than_a_file_may_be(client: Client) -> None:
    image = io.BytesIO()
    gradient = Image.linear_gradient("L").resize((900, 900)).convert("RGB")
    gradient.save(image, "WEBP", lossless=True, quality=100, method=6)
    file_id = await client.upload(image.getvalue(), name="a.webp")
    limit = StoredValue("max_file_bytes", str(len(image.getvalue())), 0)
    client.api.services.live.apply({"max_file_bytes": limit, "allowed_file_types": StoredValue("", '"*"', 0)})
    file = (await client.complete(file_id)).body
    assert (file["media_type"], file.get("width", 0)) == ("image/webp", 0)
    assert 0 < int(file["size"]) <= len(image.getvalue())


async def test_completions_of_one_file_at_once_have_one_result(client: Client) -> None:
    file_id = await client.upload(b"text")
    replies: list[Reply] = []

    async def complete() -> None:
        replies.append(await client.complete(file_id))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(complete)
    assert [reply.body["state"] for reply in replies] == ["complete"] * 5
    assert [type(request) for request in client.api.archive.requests].count(CompleteFileRequest) == 1


async def test_few_files_of_a_user_are_completed_at_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    replies: list[Reply] = []
    refused, get_files = trio.Event(), client.api.archive.get_files

    async def slow(request: GetFilesRequest) -> GetFilesResponse | Refusal:
        await refused.wait()
        return await get_files(request)

    async def complete(file_id: int) -> None:
        replies.append(await client.complete(str(file_id)))
        refused.set()

    monkeypatch.setattr(client.api.archive, "get_files", slow)
    async with trio.open_nursery() as nursery:
        for file_id in range(1, completion.MAX_OF_USER + 2):
            nursery.start_soon(complete, file_id)
    assert [reply.status for reply in replies] == [429] + [404] * completion.MAX_OF_USER


async def test_an_upload_that_is_cancelled_while_it_is_completed_leaves_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = await client.upload(b"text")
    archive, complete = client.api.archive, client.api.archive.complete_file

    async def cancelled(request: CompleteFileRequest) -> CompleteFileResponse | Refusal:
        del archive.files[int(file_id)]
        return await complete(request)

    monkeypatch.setattr(archive, "complete_file", cancelled)
    assert (await client.complete(file_id)).refusal == (404, "not_found", "file_id")
    assert not await client.has_bytes(file_id)


@pytest.mark.parametrize(("method", "path"), [("POST", "/complete"), ("GET", "")])
async def test_a_picture_that_another_process_completes_at_the_same_moment_has_not_ended(
    client: Client, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    image = io.BytesIO()
    Image.new("RGB", (40, 30)).save(image, "PNG")
    file_id = await client.upload(image.getvalue())
    archive, get_files = client.api.archive, client.api.archive.get_files
    before = StoredFile.FromString(archive.files[int(file_id)].SerializeToString())
    file = (await client.complete(file_id)).body  # the other one, which has deleted the uploaded bytes
    answers = iter([GetFilesResponse(files=[before])])

    async def get_files_before(request: GetFilesRequest) -> GetFilesResponse | Refusal:
        return next(answers, None) or await get_files(request)

    monkeypatch.setattr(archive, "get_files", get_files_before)
    reply = await client.call(method, f"/{file_id}{path}")
    assert (reply.status, reply.body) == (200, file)


async def test_a_completion_goes_on_without_its_caller(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id = await client.upload(b"text")
    archive, get_files, began, goes_on = client.api.archive, client.api.archive.get_files, trio.Event(), trio.Event()

    async def slow(request: GetFilesRequest) -> GetFilesResponse | Refusal:
        began.set()
        await goes_on.wait()
        return await get_files(request)

    monkeypatch.setattr(archive, "get_files", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.complete, file_id)
        await began.wait()
        nursery.cancel_scope.cancel()
    goes_on.set()
    with trio.fail_after(20):
        while archive.files[int(file_id)].state != FILE_STATE_COMPLETE:
            await trio.sleep(0.005)
    assert (await client.complete(file_id)).body["state"] == "complete"
