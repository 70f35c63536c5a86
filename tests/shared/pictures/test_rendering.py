"""Pictures are shown as they were, upright, in the colours of the web, and without what their camera added."""

import random
import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageCms, ImageOps

from shared.pictures import rendering
from shared.pictures.media_types import picture_type
from shared.pictures.purposes import PREVIEW_BYTES, Purpose
from shared.pictures.rendering import MAX_PIXELS, TooLarge, render
from tests.shared.pictures.conftest import FORMATS, HEIC, SECRET, encoded, opened, picture, with_metadata

RED, BLUE = (254, 0, 0), (0, 0, 254)


def is_like(colour: object, expected: tuple[int, ...]) -> bool:
    assert isinstance(colour, tuple)
    return all(abs(ours - theirs) < 40 for ours, theirs in zip(colour, expected, strict=False))


@pytest.mark.parametrize("media_type", FORMATS)
def test_a_picture_loses_its_metadata_and_nothing_else(media_type: str) -> None:
    rendered = render(with_metadata(media_type), media_type, Purpose.FILE)

    assert rendered.content is not None
    assert SECRET not in rendered.content
    shown = opened(rendered.content)
    assert (shown.format, shown.size) == (FORMATS[media_type], (1000, 500))
    assert is_like(shown.convert("RGB").getpixel((10, 10)), RED)
    assert is_like(shown.convert("RGB").getpixel((990, 490)), BLUE)
    assert (rendered.media_type, rendered.width, rendered.height) == (media_type, 1000, 500)
    assert {edge: opened(thumbnail).size for edge, thumbnail in rendered.thumbnails.items()} == {
        320: (320, 160),
        800: (800, 400),
    }
    assert 17 <= len(rendered.thumbhash) <= 25


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/webp", "image/avif"])
def test_a_picture_is_turned_upright(media_type: str) -> None:
    rendered = render(with_metadata(media_type, orientation=6), media_type, Purpose.FILE)

    assert (rendered.width, rendered.height) == (500, 1000)
    for content in (rendered.content, rendered.thumbnails[320]):
        assert content is not None
        turned = opened(content).convert("RGB")
        assert turned.height == 2 * turned.width
        assert is_like(turned.getpixel((10, 10)), RED)
        assert is_like(turned.getpixel((10, turned.height - 10)), BLUE)


@pytest.mark.parametrize("media_type", ["image/gif", "image/webp", "image/png", "image/avif"])
def test_an_animation_stays_one(media_type: str) -> None:
    frames = [picture(), picture().rotate(180)]
    animated = with_metadata(media_type, frames[0], save_all=True, append_images=frames[1:], duration=[100, 200])

    rendered = render(animated, media_type, Purpose.FILE)

    assert rendered.content is not None
    assert SECRET not in rendered.content
    shown = opened(rendered.content)
    assert shown.n_frames == 2  # type: ignore[attr-defined]
    shown.seek(1)
    shown.load()
    assert (shown.info["duration"], is_like(shown.convert("RGB").getpixel((10, 10)), BLUE)) == (200, True)


def test_a_jpeg_keeps_its_quality() -> None:
    noise = Image.effect_noise((400, 300), 60).convert("RGB")
    for quality in (30, 95):
        original = encoded(noise, "image/jpeg", quality=quality)
        rendered = render(original, "image/jpeg", Purpose.FILE)
        assert rendered.content is not None
        assert abs(len(rendered.content) - len(original)) < len(original) / 100  # a step of quality is 2 %


def test_a_webp_without_loss_stays_so() -> None:
    noise = Image.effect_noise((400, 300), 60).convert("RGB")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rendered = render(encoded(noise, "image/webp", lossless=True, icc_profile=profile), "image/webp", Purpose.FILE)
    assert rendered.content is not None
    assert opened(rendered.content).tobytes() == noise.tobytes()


def woven(edge: int) -> Image.Image:
    """A square of one row of noise, which begins elsewhere in each line: runs find nothing in it, and matches all."""
    noise = random.Random(1).randbytes(307) * (3 * edge // 307 + 3)
    rows = (noise[(shift := y * y * 37 % 307) : shift + 3 * edge] for y in range(edge))
    return Image.frombytes("RGB", (edge, edge), b"".join(rows))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_png_that_was_compressed_with_effort_does_not_become_far_larger(
    orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "_FAST_PNG_PIXELS", 1_000_000)
    original = with_metadata("image/png", woven(1001), orientation, compress_level=9)

    assert_kept(original, "image/png")


def test_a_webp_that_was_compressed_with_effort_does_not_become_far_larger() -> None:
    gradient = Image.linear_gradient("L").resize((1500, 1500)).convert("RGB")
    original = with_metadata("image/webp", gradient, lossless=True, quality=100, method=6)

    assert_kept(original, "image/webp")


def assert_kept(original: bytes, media_type: str) -> None:
    """The pixels stay, in about as many bytes."""
    rendered = render(original, media_type, Purpose.FILE)

    assert rendered.content is not None
    assert len(rendered.content) <= 2 * len(original) + (1 << 20)
    assert SECRET not in rendered.content
    upright = ImageOps.exif_transpose(opened(rendered.content))
    assert upright.size == (rendered.width, rendered.height)
    assert upright.tobytes() == ImageOps.exif_transpose(opened(original)).tobytes()


def test_bytes_behind_the_end_of_a_webp_are_dropped() -> None:
    rendered = render(encoded(picture(), "image/webp") + b"PK\3\4<script>", "image/webp", Purpose.FILE)
    assert rendered.content is not None
    assert (b"<script>" in rendered.content, rendered.width) == (False, 1000)


def test_of_a_jpeg_with_several_pictures_the_first_is_shown() -> None:
    file = BytesIO()
    picture().save(file, "MPO", save_all=True, append_images=[picture(20, 20)])
    rendered = render(file.getvalue(), "image/jpeg", Purpose.FILE)
    assert rendered.content is not None
    assert (opened(rendered.content).format, rendered.width) == ("JPEG", 1000)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "RGBA"])
def test_a_png_of_any_kind_of_pixels_is_shown(mode: str) -> None:
    image = picture().convert("L").convert(mode) if mode == "I;16" else picture().convert(mode)
    rendered = render(encoded(image, "image/png"), "image/png", Purpose.FILE)

    assert rendered.content is not None
    assert opened(rendered.content).mode == mode
    assert opened(rendered.thumbnails[320]).size == (320, 160)


def test_transparent_pixels_stay_so() -> None:
    image = picture().convert("RGBA")
    image.putalpha(0)
    rendered = render(encoded(image, "image/png"), "image/png", Purpose.FILE)

    assert opened(rendered.thumbnails[320]).getpixel((5, 5))[3] == 0  # type: ignore[index]
    assert rendered.thumbhash[2] & 0x80


def test_a_colour_profile_stays_and_is_applied_to_thumbnails() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    broken = render(encoded(picture(), "image/jpeg", icc_profile=profile), "image/jpeg", Purpose.FILE)
    assert broken.content is not None
    assert "icc_profile" not in opened(broken.content).info, "one of another kind of colours is dropped"

    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    rendered = render(encoded(picture(), "image/png", icc_profile=bytes(swapped)), "image/png", Purpose.FILE)
    assert rendered.content is not None
    assert opened(rendered.content).info["icc_profile"] == swapped
    assert is_like(opened(rendered.thumbnails[320]).getpixel((5, 5)), BLUE)


def test_the_picture_of_a_phone_becomes_a_jpeg() -> None:
    rendered = render(HEIC, "image/heic", Purpose.FILE)
    assert rendered.content is not None
    shown = opened(rendered.content)
    assert (rendered.media_type, shown.format, shown.size) == ("image/jpeg", "JPEG", (64, 32))
    assert is_like(shown.getpixel((5, 5)), RED)
    assert SECRET not in rendered.content


def test_a_small_picture_of_a_phone_that_stays_as_it_is_has_a_thumbnail() -> None:
    rendered = render(HEIC, "image/heic", Purpose.ORIGINAL)
    assert (rendered.media_type, rendered.content, list(rendered.thumbnails)) == ("image/heic", None, [320])
    assert opened(rendered.thumbnails[320]).size == (64, 32)


def test_an_avif_that_states_its_codec_among_its_compatible_brands_only_loses_its_metadata() -> None:
    avif = with_metadata("image/avif").replace(b"ftypavif", b"ftypmif1", 1)
    media_type = picture_type(avif)
    assert media_type is not None

    rendered = render(avif, media_type, Purpose.FILE)

    assert rendered.content is not None
    assert SECRET not in rendered.content
    assert (opened(rendered.content).format, rendered.media_type) == ("AVIF", "image/avif")


def test_a_picture_for_printers_gets_the_colours_of_the_web() -> None:
    rendered = render(encoded(picture().convert("CMYK"), "image/jpeg"), "image/jpeg", Purpose.FILE)
    assert rendered.content is not None
    assert is_like(opened(rendered.content).getpixel((10, 10)), RED)


def test_a_small_picture_has_no_thumbnails_and_an_original_stays() -> None:
    rendered = render(encoded(picture(4, 2), "image/png"), "image/png", Purpose.ORIGINAL)
    assert (rendered.thumbnails, rendered.content, rendered.width) == ({}, None, 4)


@pytest.mark.parametrize("size", [(4_000, 2_000), (6_500, 100)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_reduced_for_thumbnails_and_its_pixels_stay(
    size: tuple[int, int], orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = with_metadata("image/jpeg", picture(*size), orientation)
    monkeypatch.setattr(rendering, "MAX_PIXELS", size[0] * size[1] - 1)
    rendered = render(content, "image/jpeg", Purpose.FILE)

    assert rendered.content is not None
    assert SECRET not in rendered.content
    assert opened(rendered.content).tobytes() == opened(content).tobytes()
    assert opened(rendered.content).getexif().get(0x0112, 1) == orientation
    shown = size if orientation == 1 else size[::-1]
    assert (rendered.width, rendered.height) == shown
    for edge in (320, 800, 1600):
        thumbnail = opened(rendered.thumbnails[edge])
        assert (max(thumbnail.size), thumbnail.width > thumbnail.height) == (edge, orientation == 1)
        assert is_like(thumbnail.getpixel((1, 1)), RED)
    original = render(content, "image/jpeg", Purpose.ORIGINAL)
    assert (original.content, original.width, original.thumbhash) == (None, shown[0], rendered.thumbhash)


def test_a_jpeg_of_too_many_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = with_metadata("image/jpeg", picture(4_000, 2_000))
    for pixels, jpeg_pixels in ((7_999_999, 7_999_999), (124_999, 8_000_000)):
        monkeypatch.setattr(rendering, "MAX_PIXELS", pixels)
        monkeypatch.setattr(rendering, "MAX_JPEG_PIXELS", jpeg_pixels)
        with pytest.raises(TooLarge):
            render(content, "image/jpeg", Purpose.FILE)
    cleaned = render(content, "image/jpeg", Purpose.CLEANED)
    assert cleaned.content is not None
    assert SECRET not in cleaned.content
    assert (cleaned.width, cleaned.thumbhash, cleaned.thumbnails) == (0, b"", {})


def test_a_picture_of_too_many_pixels_is_not_decoded() -> None:
    head = struct.pack(">IIBBBBB", MAX_PIXELS // 1000 + 1, 1000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1_000_000))), (b"IEND", b""))
    )
    with pytest.raises(TooLarge):
        render(bomb, "image/png", Purpose.FILE)


@pytest.mark.parametrize("size", [(1000, 500), (300, 900), (60, 40), (1, 1)])
def test_an_avatar_is_squares_of_the_centre(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "red")
    width, height = size
    image.paste("blue", (width // 4, height // 4, width * 3 // 4 + 1, height * 3 // 4 + 1))
    rendered = render(with_metadata("image/jpeg", image), "image/jpeg", Purpose.AVATAR)

    assert rendered.content is None
    for edge, content in rendered.thumbnails.items():
        assert SECRET not in content
        assert (opened(content).format, opened(content).size) == ("WEBP", (edge, edge))
        assert is_like(opened(content).getpixel((edge // 2, edge // 2)), BLUE)
    assert set(rendered.thumbnails) == {96, 512}


@pytest.mark.parametrize("colours", [2, 200])
def test_a_preview_is_small(colours: int) -> None:
    noise = Image.merge("RGB", [Image.effect_noise((1000, 500), colours) for _ in range(3)])
    rendered = render(encoded(noise, "image/png"), "image/png", Purpose.PREVIEW)
    content = rendered.thumbnails[240]

    assert len(content) <= PREVIEW_BYTES
    assert opened(content).size == (rendered.width, rendered.height)
    assert rendered.width == 2 * rendered.height
