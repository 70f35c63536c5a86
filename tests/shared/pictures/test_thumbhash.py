"""Placeholders are those of the reference encoder."""

import pytest

from shared.pictures.thumbhash import thumbhash

REFERENCE = {
    (8, 6, True): "15d90d1d9a71877790888887887888877c0a27f887",
    (8, 6, False): "d808860c8a26956aa0698778a8f671955f08d0828778887807",
    (6, 8, True): "15c90d1d1a71779088888878888878888d0928f778",
    (6, 8, False): "db18860c0a35b5077c888787a8f580b44f0777878778887808",
    (7, 1, True): "47a90e59aa8487878888087b8488408808",
    (7, 1, False): "caf99679bc778787888880878870880874778888b078f8",
}
"""Width, height and whether it is opaque, with the hash that version 0.1.1 of the npm package thumbhash makes."""


@pytest.mark.parametrize("case", REFERENCE)
def test_a_placeholder_is_that_of_the_reference_encoder(case: tuple[int, int, bool]) -> None:
    width, height, is_opaque = case
    rgba = bytes(
        value
        for y in range(height)
        for x in range(width)
        for value in (x * 200 // width, y * 255 // height, x * y * 7 % 256, 255 if is_opaque else x * 37 % 256)
    )
    digits = zip(thumbhash(width, height, rgba).hex(), REFERENCE[case], strict=True)
    assert all(abs(int(ours, 16) - int(theirs, 16)) <= 1 for ours, theirs in digits), "halves may be rounded otherwise"


@pytest.mark.parametrize("rgba", [bytes(4), b"\xff\xff\xff\xff", b"\0\0\0\xff"])
def test_a_picture_of_one_pixel_has_one(rgba: bytes) -> None:
    assert 17 <= len(thumbhash(1, 1, rgba)) <= 25
