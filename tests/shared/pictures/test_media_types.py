"""Pictures are recognised by their first bytes, whatever they are named."""

import pytest

from shared.pictures.media_types import picture_type
from tests.shared.pictures.conftest import FORMATS, HEIC, document, encoded, picture

CONTENTS: dict[str | None, bytes] = {media_type: encoded(picture(), media_type) for media_type in FORMATS}
CONTENTS |= {"image/heic": HEIC, None: document(picture())}


@pytest.mark.parametrize("media_type", CONTENTS)
def test_a_picture_is_recognised(media_type: str | None) -> None:
    assert picture_type(CONTENTS[media_type]) == media_type
    assert picture_type(CONTENTS[media_type][:3]) in (None, "image/jpeg")


def test_a_picture_whose_major_brand_names_no_codec_is_what_its_compatible_brands_say() -> None:
    avif = bytearray(CONTENTS["image/avif"])
    assert avif[8:12] == b"avif"
    avif[8:12] = b"mif1"
    assert picture_type(bytes(avif)) == "image/avif"
    assert picture_type(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic") == "image/heic"
    assert picture_type(b"\0\0\0\x14ftypisom\0\0\0\0mif1") is None
