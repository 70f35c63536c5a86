"""Of a GIF and a WebP only the blocks stay that make the picture; content of another format is refused."""

from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image

from shared.pictures import animations
from shared.pictures.animations import Animation, Malformed, clean_gif, clean_webp
from tests.shared.pictures.conftest import SECRET, picture, with_metadata

CLEANED = {"image/gif": clean_gif, "image/webp": clean_webp}

Clean = Callable[[bytes], Animation]


@pytest.fixture(params=CLEANED)
def media_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clean(media_type: str) -> Clean:
    return CLEANED[media_type]


@pytest.fixture
def animated(media_type: str) -> bytes:
    frames = [picture(), picture().rotate(180), picture()]
    return with_metadata(media_type, frames[0], save_all=True, append_images=frames[1:], duration=70, loop=3)


def test_each_frame_stays_with_its_pixels_and_its_time(clean: Clean, animated: bytes) -> None:
    cleaned = clean(animated + b"<script>" + SECRET)

    assert cleaned.frames == 3
    assert SECRET not in cleaned.content
    before, after = (Image.open(BytesIO(content)) for content in (animated, cleaned.content))
    assert after.info["loop"] == 3
    for frame in range(3):
        for image in (before, after):
            image.seek(frame)
            image.load()
        assert (before.info["duration"], before.tobytes()) == (after.info["duration"], after.tobytes())


def test_bytes_that_end_early_are_refused(clean: Clean, animated: bytes) -> None:
    for size in range(0, len(animated) - 10, len(animated) // 50):
        with pytest.raises(Malformed):
            clean(animated[:size])


@pytest.mark.parametrize(
    ("clean", "content"),
    [
        (clean_gif, b"GIF89a\2\0\2\0\0\0\0;"),
        (clean_webp, b"RIFF\x04\0\0\0WEBP"),
        (clean_webp, b"RIFF\x10\0\0\0WEBPEXIF\x04\0\0\0MM\0*"),
    ],
)
def test_bytes_without_a_picture_are_refused(clean: Clean, content: bytes) -> None:
    with pytest.raises(Malformed, match="picture"):
        clean(content)


def test_too_many_frames_are_refused(clean: Clean, animated: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animations, "MAX_FRAMES", 2)
    with pytest.raises(Malformed, match="frames"):
        clean(animated)
