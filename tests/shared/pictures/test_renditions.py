"""Pictures become their renditions in the store; whatever is no picture, or a hostile one, stays a file."""

import hashlib
import struct
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from PIL import Image
from trio.testing import MockClock

from shared.contract.errors import Unavailable
from shared.files.folder import FolderFiles, open_folder_files
from shared.files.keys import PICTURE, file_key, keys_of
from shared.files.protocol import MIN_PART_BYTES, FileStore
from shared.pictures import processes, renditions
from shared.pictures.renditions import Pictures, Renditions
from shared.telemetry.metrics.catalogue import PICTURES
from tests.shared.pictures.conftest import HEIC, SECRET, document, encoded, opened, picture, with_metadata
from tests.waiting import PATIENCE

FILE_ID = 7
"""The file of each test."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker has a low priority: beside four busy processes on two cores it gets a twentieth of one."""
    monkeypatch.setattr(processes, "RENDER_SECONDS", 2 * PATIENCE)


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[FolderFiles]:
    async with open_folder_files(tmp_path) as files:
        yield files


async def content_of(files: FileStore, rendition: str) -> bytes:
    async with files.read(file_key(FILE_ID, rendition)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def made(
    files: FileStore, content: bytes, media_type: str, *, keep_original: bool = False, pictures: Pictures | None = None
) -> Renditions | None:
    await files.delete(keys_of(FILE_ID))
    await files.put(file_key(FILE_ID), content)
    return await (pictures or Pictures()).make_renditions(
        files, FILE_ID, "a.jpg", media_type, len(content), keep_original=keep_original
    )


async def test_a_picture_and_its_thumbnails_are_stored_without_the_cameras_data(files: FolderFiles) -> None:
    rendered = PICTURES.count("rendered")
    for number in range(2):
        answer = await made(files, with_metadata("image/jpeg"), "image/jpeg")
        assert answer is not None
        assert PICTURES.count("rendered") == rendered + number + 1
        stored = await content_of(files, PICTURE)
        assert SECRET not in stored
        assert (answer.rendition, answer.size, answer.sha256) == (PICTURE, len(stored), hashlib.sha256(stored).digest())
        assert (answer.width, answer.height, answer.thumbnails) == (1000, 500, (320, 800))
        assert (await content_of(files, "320"))[8:12] == b"WEBP"


async def test_an_original_stays_and_has_thumbnails(files: FolderFiles) -> None:
    content = with_metadata("image/webp")
    answer = await made(files, content, "image/webp", keep_original=True)

    assert answer is not None
    assert (answer.rendition, answer.size, answer.sha256) == ("", len(content), hashlib.sha256(content).digest())
    assert answer.thumbnails == (320, 800)
    assert await files.size(file_key(FILE_ID, PICTURE)) is None
    assert await files.size(file_key(FILE_ID, "800"))


async def test_a_large_picture_is_stored_in_parts(files: FolderFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renditions, "PART_BYTES", MIN_PART_BYTES)
    noise = Image.merge("RGB", [Image.effect_noise((1800, 1600), 200) for _ in range(3)])
    answer = await made(files, encoded(noise, "image/png", compress_level=1), "image/png")

    assert answer is not None
    assert answer.size > MIN_PART_BYTES
    assert answer.sha256 == hashlib.sha256(await content_of(files, PICTURE)).digest()


async def test_a_picture_that_would_be_larger_than_a_file_may_be_is_only_cleaned(files: FolderFiles) -> None:
    content = with_metadata("image/png", compress_level=9)
    await files.put(file_key(FILE_ID), content)
    limit = len(content) - 1
    answer = await Pictures().make_renditions(files, FILE_ID, "a.png", "image/png", len(content), max_bytes=limit)

    assert answer is not None
    assert (answer.size <= limit, answer.width, answer.thumbnails) == (True, 0, ())
    assert SECRET not in await content_of(files, PICTURE)


async def test_the_picture_that_is_stored_already_counts(files: FolderFiles) -> None:
    earlier = encoded(picture(), "image/jpeg", quality=1)
    await files.put(file_key(FILE_ID), content := encoded(picture(), "image/jpeg"))
    await files.put(file_key(FILE_ID, PICTURE), earlier)
    answer = await Pictures().make_renditions(files, FILE_ID, "a.jpg", "image/jpeg", len(content))

    assert answer is not None
    assert (answer.size, answer.sha256) == (len(earlier), hashlib.sha256(earlier).digest())


async def test_a_document_stays_and_has_thumbnails_of_its_first_page(files: FolderFiles) -> None:
    content = document(picture(210, 297), picture())
    answer = await made(files, content, "application/pdf")

    assert answer is not None
    assert (answer.rendition, answer.size, answer.sha256) == ("", len(content), hashlib.sha256(content).digest())
    assert (answer.media_type, answer.width, answer.thumbnails) == ("application/pdf", 0, (320, 800))
    assert opened(await content_of(files, "320")).size == (226, 320)


@pytest.mark.parametrize(
    ("name", "renamed"), [("a.b.HEIC", "a.b.jpg"), ("a", "a.jpg"), (".heic", ".heic.jpg"), ("a" * 253, "a" * 253)]
)
async def test_a_picture_of_another_type_has_the_name_of_one(files: FolderFiles, name: str, renamed: str) -> None:
    await files.put(file_key(FILE_ID), HEIC)
    answer = await Pictures().make_renditions(files, FILE_ID, name, "image/heic", len(HEIC))
    assert answer is not None
    assert (answer.name, answer.media_type) == (renamed, "image/jpeg")


def png(width: int, height: int, pixels: bytes, *more: tuple[bytes, bytes]) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", head), *more, (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    )


def gif_of(width: int, height: int, frames: int) -> bytes:
    size = struct.pack("<HH", width, height)
    frame = b"\x2c\0\0\0\0" + size + b"\0\x02\x02\x44\x01\0"
    return b"GIF89a" + size + b"\x80\0\0" + bytes(6) + frame * frames + b"\x3b"


def inflating(mebibytes: int) -> bytes:
    """Zeros, compressed by a thousand: a full flush ends blocks that do not depend on those before."""
    packer = zlib.compressobj()
    first, further = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + further * (mebibytes - 1) + packer.flush()


def page_of(width: int, height: int, mebibytes: int) -> bytes:
    """A PDF with one empty page, whose content is zeros that are compressed twice."""
    content = zlib.compress(inflating(mebibytes))
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents 4 0 R>>" % (width, height),
        b"<</Length %d/Filter[/FlateDecode/FlateDecode]>>stream\n%s\nendstream" % (len(content), content),
    )
    listed = b"".join(b"%d 0 obj%s endobj\n" % (number, each) for number, each in enumerate(objects, 1))
    return b"%PDF-1.4\n" + listed + b"trailer<</Root 1 0 R>>\n%%EOF"


JPEG = encoded(picture(), "image/jpeg")

BOMB = zlib.compress(bytes(20_000_000))

HOSTILE = {
    "a bomb of 10 gigapixels, PNG": ("image/png", png(100_000, 100_000, bytes(1_000_000))),
    "a bomb of 49 megapixels that is not there, PNG": ("image/png", png(7_000, 7_000, bytes(100))),
    "a bomb in a text, PNG": ("image/png", png(1, 1, bytes(4), (b"zTXt", b"a\0\0" + BOMB))),
    "a bomb in a colour profile, PNG": ("image/png", png(1, 1, bytes(4), (b"iCCP", b"a\0\0" + BOMB))),
    "a bomb of 4 gigapixels, GIF": ("image/gif", gif_of(65_535, 65_535, 1)),
    "a bomb of 10,000 frames, GIF": ("image/gif", gif_of(4, 4, 10_000)),
    "a bomb of 268 megapixels, WebP": (
        "image/webp",
        b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f\x07\x10\x11\x11\x88\x88\xfe\x07\0",
    ),
    "half a picture": ("image/jpeg", JPEG[: len(JPEG) // 2]),
    "a page that begins like a picture": ("image/gif", b"GIF89a/*<svg/onload=alert(1)>*/=1;" + bytes(100)),
    "a picture of another type": ("image/png", JPEG),
    "random bytes": ("image/avif", b"\0\0\0\x1cftypavif" + bytes(range(256)) * 10),
    "a bomb of 1 GiB in 3 kB, PDF": ("application/pdf", page_of(210, 297, 1024)),
    "half a document": ("application/pdf", document(picture())[:500]),
    "nothing": ("image/jpeg", b""),
    "a drawing with a script": ("image/svg+xml", b"<svg onload='alert(1)'/>"),
}


CLEANED = (
    "a bomb of 10 gigapixels, PNG",
    "a bomb of 49 megapixels that is not there, PNG",
    "a bomb in a text, PNG",
    "a bomb in a colour profile, PNG",
    "a bomb of 268 megapixels, WebP",
    "half a picture",
)
"""Hostile pictures whose format can be parsed."""


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_hostile_picture_is_not_shown(files: FolderFiles, case: str) -> None:
    media_type, content = HOSTILE[case]
    refused = PICTURES.count("refused")
    answer = await made(files, content, media_type)
    assert await content_of(files, "") == content
    if case in CLEANED:
        assert answer is not None
        assert (answer.rendition, answer.width, answer.thumbhash, answer.thumbnails) == (PICTURE, 0, b"", ())
        assert PICTURES.count("refused") == refused + 1
    else:
        assert answer is None
        assert (PICTURES.count("refused") > refused) == (case not in ("nothing", "a drawing with a script"))


@pytest.mark.parametrize("size", [(1, 1_000_000_000), (1_000_000_000, 1)])
async def test_a_page_of_any_shape_has_small_thumbnails(files: FolderFiles, size: tuple[int, int]) -> None:
    answer = await made(files, page_of(*size, mebibytes=1), "application/pdf")
    assert answer is not None
    assert answer.thumbnails == (320, 800)
    assert sorted(opened(await content_of(files, "800")).size) == [1, 800]


def broken(media_type: str) -> bytes:
    """A picture with metadata that can't be decoded."""
    content = with_metadata(media_type, Image.effect_noise((150, 100), 90).convert("RGB"))
    middle = len(content) // 2
    return content[:middle] + (b"" if media_type == "image/jpeg" else bytes(100) + content[middle + 100 :])


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png"])
async def test_a_picture_that_cant_be_decoded_loses_its_metadata(files: FolderFiles, media_type: str) -> None:
    content = broken(media_type)
    answer = await made(files, content, media_type)

    assert answer is not None
    stored = await content_of(files, PICTURE)
    assert (answer.name, answer.media_type) == ("a.jpg", media_type)
    assert (answer.rendition, answer.size, answer.sha256) == (PICTURE, len(stored), hashlib.sha256(stored).digest())
    assert (SECRET in content, SECRET in stored) == (True, False)
    assert await made(files, content, media_type, keep_original=True) is None


async def test_a_picture_that_kills_its_decoder_loses_its_metadata(
    files: FolderFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "worker"
    dying = "PATH=/bin:/usr/bin; echo ready; cat > /dev/null; kill -SEGV $$"
    program.write_text(f'#!/bin/sh\nif [ "$5" = file ]; then {dying}; fi\nexec {sys.executable} "$@"\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    assert await made(files, with_metadata("image/jpeg"), "image/jpeg")
    assert SECRET not in await content_of(files, PICTURE)


async def test_a_jpeg_of_more_pixels_than_are_decoded_has_thumbnails_and_no_metadata(files: FolderFiles) -> None:
    content = with_metadata("image/jpeg", Image.new("L", (8_000, 6_500)), progressive=True)
    answer = await made(files, content, "image/jpeg")

    assert answer is not None
    assert (answer.width, answer.height, answer.thumbnails) == (8_000, 6_500, (320, 800, 1600))
    assert SECRET not in await content_of(files, PICTURE)
    assert opened(await content_of(files, "1600")).size == (1600, 1300)


async def test_avatars_and_previews_need_no_store() -> None:
    pictures = Pictures()
    squares = await pictures.make_squares(with_metadata("image/png"))
    assert squares is not None
    assert {edge: opened(content).size for edge, content in squares.items()} == {96: (96, 96), 512: (512, 512)}
    preview = await pictures.make_preview(HEIC)
    assert preview is not None
    assert opened(preview.content).size == (preview.width, preview.height) == (64, 32)
    for content in (b"<svg/>", JPEG[:1000], document(picture())):
        assert await pictures.make_squares(content) is None
        assert await pictures.make_preview(content) is None


async def test_what_is_hidden_behind_a_picture_is_not_in_its_rendition(files: FolderFiles) -> None:
    assert await made(files, JPEG + b"PK\3\4<script>", "image/jpeg")
    assert b"<script>" not in await content_of(files, PICTURE)


async def test_a_cancelled_rendering_leaves_no_process_and_its_turn(
    files: FolderFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renditions, "MAX_AT_ONCE", 1)
    pictures = Pictures()
    with trio.move_on_after(0.05):
        await made(files, JPEG, "image/jpeg", pictures=pictures)
    assert await made(files, JPEG, "image/jpeg", pictures=pictures) is not None


async def test_pictures_that_would_wait_too_long_are_refused(
    files: FolderFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renditions, "MAX_WAITING", 0)
    with pytest.raises(Unavailable, match="wait"):
        await made(files, JPEG, "image/jpeg")


async def test_a_picture_whose_bytes_are_gone_is_unavailable(files: FolderFiles) -> None:
    with pytest.raises(Unavailable, match="gone"):
        await Pictures().make_renditions(files, FILE_ID, "a.jpg", "image/jpeg", 10)


class Hanging:
    """A file store in which a part never ends, and that is away when the upload is to be cancelled."""

    async def begin(self, key: str) -> str:
        await trio.lowlevel.checkpoint()
        return "upload"

    async def write_part(self, *_: object) -> None:
        await trio.sleep_forever()

    async def cancel(self, key: str, upload_id: str) -> None:
        raise Unavailable("the store is away")


async def test_a_cancelled_rendering_ends_although_the_store_is_away(autojump_clock: MockClock) -> None:
    files: Any = Hanging()
    worker: Any = None
    with trio.move_on_after(1) as scope:
        await renditions._upload(files, "key", worker, 1, hashlib.sha256())
    assert scope.cancelled_caught
