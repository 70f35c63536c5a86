"""Of a JPEG and a PNG only the blocks stay that make the picture; content of another format is refused."""

from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image, ImageCms

from shared.pictures.animations import Malformed
from shared.pictures.cleaning import clean, clean_jpeg, clean_png, turn_of
from tests.shared.pictures.conftest import SECRET, encoded, opened, picture, with_metadata

CLEANED = {"image/jpeg": clean_jpeg, "image/png": clean_png}

ORIENTATION = 0x0112

Clean = Callable[[bytes], bytes]


@pytest.fixture(params=CLEANED)
def media_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clean_it(media_type: str) -> Clean:
    return CLEANED[media_type]


def noise() -> Image.Image:
    """A picture whose data have every byte."""
    return Image.merge("RGB", [Image.effect_noise((200, 100), 90) for _ in range(3)])


def test_no_pixel_changes_and_colours_stay(media_type: str, clean_it: Clean) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    original = with_metadata(media_type, noise(), icc_profile=profile)

    cleaned = clean_it(original + b"<script>" + SECRET)

    assert SECRET not in cleaned
    assert clean_it(cleaned) == cleaned
    before, after = opened(original), opened(cleaned)
    assert (after.tobytes(), after.info["icc_profile"]) == (before.tobytes(), profile)
    assert ORIENTATION not in after.getexif()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_how_a_picture_is_turned_stays(media_type: str, clean_it: Clean, orientation: int) -> None:
    cleaned = clean_it(with_metadata(media_type, orientation=orientation))

    assert SECRET not in cleaned
    assert dict(opened(cleaned).getexif()) == ({ORIENTATION: orientation} if orientation > 1 else {})


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 1}, {"subsampling": 0}])
def test_a_jpeg_of_any_coding_stays_as_it_is(options: dict[str, int]) -> None:
    original = with_metadata("image/jpeg", noise(), **options)
    assert opened(clean_jpeg(original)).tobytes() == opened(original).tobytes()


def test_a_jpeg_for_printers_keeps_the_kind_of_its_colours() -> None:
    original = with_metadata("image/jpeg", picture().convert("CMYK"))
    assert opened(clean_jpeg(original)).tobytes() == opened(original).tobytes()


def test_the_small_picture_within_a_jpeg_and_those_after_it_are_dropped() -> None:
    file = BytesIO()
    picture().save(file, "MPO", save_all=True, append_images=[noise()])
    whole = encoded(picture(), "image/jpeg")
    small = b"\xff\xe0\0\x13JFIF\0\1\2\0\0\1\0\1\1\1" + b"rgb"
    assert whole[2:4] == small[:2], "the block that is replaced"

    for content in (file.getvalue(), whole[:2] + small + whole[20:]):
        cleaned = clean_jpeg(content)
        assert opened(cleaned).format == "JPEG"
        assert b"rgb" not in cleaned
        assert cleaned.count(b"\xff\xd8") == cleaned.count(b"\xff\xd9") == 1


def test_an_animated_png_stays_one() -> None:
    frames = [picture(), picture().rotate(180)]
    cleaned = clean_png(with_metadata("image/png", frames[0], save_all=True, append_images=frames[1:], duration=70))

    shown = opened(cleaned)
    assert SECRET not in cleaned
    assert (shown.n_frames, shown.info["duration"]) == (2, 70)  # type: ignore[attr-defined]


def test_the_beginning_of_a_picture_loses_its_metadata_too(media_type: str, clean_it: Clean) -> None:
    original = with_metadata(media_type, noise())
    picture_at = original.rindex(SECRET) + len(SECRET) + 2_000
    for size in range(picture_at, len(original), len(original) // 20):
        cleaned = clean_it(original[:size])
        assert SECRET not in cleaned
        assert original[size - 100 : size] in cleaned


def test_bytes_without_a_picture_are_refused(media_type: str, clean_it: Clean) -> None:
    original = with_metadata(media_type)
    for content in (b"", original[:2], original[:20], original[1:], original[:8] + SECRET * 100):
        with pytest.raises(Malformed):
            clean_it(content)


def test_a_type_that_is_not_parsed_is_refused() -> None:
    for kind in ("image/gif", "image/webp"):
        assert SECRET not in clean(with_metadata(kind), kind)
    with pytest.raises(Malformed, match="avif"):
        clean(with_metadata("image/avif"), "image/avif")


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_turn_is_read_in_both_orders_of_bytes(order: str) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F], exif[ORIENTATION] = "maker", 6
    turn = turn_of(exif.tobytes()[6:])
    assert turn_of(turn) == turn != b""
    for broken in (b"", b"II", turn[:9], turn[:-8].replace(b"\6", b"\x09"), b"II*\0\xff\xff\xff\xff"):
        assert turn_of(broken) == b""
