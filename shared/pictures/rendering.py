"""Decodes a picture, and encodes it again without its metadata, and its thumbnails.

This runs in the worker's process only: the codecs are in C, and the pictures are anybody's. All that is loaded later by
Pillow is imported here, since the worker can't open a file any more.
"""

from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import pi_heif
from PIL import (
    AvifImagePlugin,
    Image,
    ImageCms,
    ImageSequence,
    JpegImagePlugin,
    MpoImagePlugin,  # noqa: F401 - a JPEG of several pictures loads it
    WebPImagePlugin,  # noqa: F401
)

from shared.files.keys import THUMBNAILS
from shared.pictures.animations import Malformed, clean_gif, clean_webp, is_lossless_webp
from shared.pictures.cleaning import clean
from shared.pictures.purposes import PREVIEW_BYTES, PREVIEW_EDGE, SQUARES, Purpose
from shared.pictures.thumbhash import thumbhash

MAX_PIXELS = 50_000_000
"""Pixels of a picture that are decoded, and of all frames of an animated PNG or AVIF."""

MAX_JPEG_PIXELS = 250_000_000
"""Pixels of a JPEG. With more than MAX_PIXELS it is decoded at a half, a quarter or an eighth of its size, for
thumbnails only. A progressive one still needs 3 bytes for each of its pixels, or 6 in full colour."""

FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
    "image/heic": "HEIF",
}
"""Pillow's name of each media type. No other decoder is ever reached."""

_HASHED_EDGE = 32
"""Pixels along the longer edge of the picture of which the placeholder is made."""

_REDUCING_GAP = 1.25
"""A picture is reduced by averages first, to this many times the size of its largest thumbnail or more: in half the
time. The result differs from that of Lanczos alone by less than one level of 256 in a photograph, and by 2 to 4 in a
text."""

_ORIENTATION = 0x0112
"""The EXIF tag that says how the picture has to be turned."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_KEPT_INFO = ("transparency", "background", "loop", "duration", "default_image")
"""The data that Pillow may take from the decoded picture when it encodes it. The rest is metadata."""

_FAST_PNG_PIXELS = 4_000_000
"""From this size on, a PNG is compressed by its runs only: in 1 s instead of 5 for 12 megapixels. A photograph gets
smaller than by the fastest search for matches, and a screenshot 5 % larger."""

_GROWTH_BYTES = 1 << 20
"""A PNG or WebP of more than this, and twice the bytes of the original, keeps the compression of the original, which
has been made with more effort: a file of 0.7 MB could become one of 13 MB."""

_RUNS = 3
"""Z_RLE, a strategy of zlib."""

_AVIF_EFFORT: dict[str, Any] = {"quality": 80, "speed": 9, "max_threads": 1, "advanced": {"tune": "psnr"}}
"""The encoder's default, a tuning for the eye, takes a third more CPU and 15 % more bytes, and is as close to the
original."""

Image.preinit()
Image.MAX_IMAGE_PIXELS = None  # render() compares with MAX_PIXELS
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
pi_heif.register_heif_opener(thumbnails=False)
pi_heif.options.DECODE_THREADS = 1
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


class TooLarge(ValueError):
    """The picture has too many pixels, or its preview more than PREVIEW_BYTES."""


_PREVIEWS = ((PREVIEW_EDGE, 75), (PREVIEW_EDGE, 40), (PREVIEW_EDGE * 2 // 3, 40), (PREVIEW_EDGE // 3, 40))
"""Edges and qualities that are tried until a preview has no more than PREVIEW_BYTES."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture as it is shown; a document, and a picture that was not decoded, have no size. `content` is None if the
    original bytes stay. Thumbnails are WebP, by their longer edge."""

    media_type: str
    width: int
    height: int
    thumbhash: bytes
    thumbnails: dict[int, bytes]
    content: bytes | None


def render(content: bytes, media_type: str, purpose: Purpose) -> Rendered:
    """Render a picture of one of the types in FORMATS. Any exception means that it can't be shown."""
    if purpose is Purpose.CLEANED:
        return Rendered(media_type, 0, 0, b"", {}, clean(content, media_type))
    image = Image.open(BytesIO(content), formats=[FORMATS[media_type]])
    size = image.size
    _reduce(image)
    decoded = 1 if image.format == "WEBP" else _frames(image)
    if image.width * image.height * decoded > MAX_PIXELS:
        raise TooLarge(f"{image.width} x {image.height} pixels: {MAX_PIXELS} are allowed")
    image.load()
    orientation = _orientation(image) if _frames(image) == 1 else 1  # viewers do not turn animations
    profile = image.info.get("icc_profile")
    if purpose is Purpose.AVATAR:
        return _avatar(image, orientation, profile)
    reduced = _upright(within(_plain(image), max(THUMBNAILS), _REDUCING_GAP), orientation)
    shown = _in_srgb(reduced, profile)
    if shown is None:
        shown, profile = _without_profile(reduced), None
    if purpose is Purpose.PREVIEW:
        return _preview(shown)
    width, height = size if orientation < 5 else size[::-1]
    encoded = None
    if purpose is Purpose.FILE:
        is_whole = image.size == size
        encoded = _encoded(image, content, media_type, orientation, profile) if is_whole else clean(content, media_type)
        if len(encoded) > 2 * len(content) + _GROWTH_BYTES:
            encoded = _cleaned(content, media_type, orientation) or encoded
    shown_type = "image/jpeg" if media_type == "image/heic" and encoded else media_type
    needs_thumbnail = shown_type == "image/heic"  # few browsers show the file itself
    return Rendered(
        shown_type,
        width,
        height,
        thumbhash(*(small := within(shown, _HASHED_EDGE).convert("RGBA")).size, small.tobytes()),
        {
            edge: saved(within(shown, edge), "WEBP", quality=80, method=2)
            for edge in THUMBNAILS
            if edge < max(width, height) or (needs_thumbnail and edge == min(THUMBNAILS))
        },
        encoded,
    )


def _reduce(image: Image.Image) -> None:
    """Let a JPEG of more than MAX_PIXELS be decoded at a smaller size, which is enough for the largest thumbnail."""
    pixels = image.width * image.height
    if pixels <= MAX_PIXELS or not isinstance(image, JpegImagePlugin.JpegImageFile):
        return
    if pixels > MAX_JPEG_PIXELS:
        raise TooLarge(f"{image.width} x {image.height} pixels: {MAX_JPEG_PIXELS} are allowed")
    scale = max(THUMBNAILS) / max(image.size)
    image.draft(None, (max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _avatar(image: Image.Image, orientation: int, profile: bytes | None) -> Rendered:
    """Return squares of the centre, enlarged if it is small."""
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    centre = within(_plain(image).crop((left, top, left + edge, top + edge)), max(SQUARES))
    upright = _upright(centre, orientation)
    shown = _in_srgb(upright, profile) or _without_profile(upright)
    squares = {edge: shown.resize((edge, edge), Image.Resampling.LANCZOS) for edge in SQUARES}
    thumbnails = {edge: saved(square, "WEBP", quality=85) for edge, square in squares.items()}
    return Rendered("image/webp", max(SQUARES), max(SQUARES), b"", thumbnails, None)


def _preview(shown: Image.Image) -> Rendered:
    for edge, quality in _PREVIEWS:
        small = within(shown, edge)
        content = saved(small, "WEBP", quality=quality)
        if len(content) <= PREVIEW_BYTES:
            return Rendered("image/webp", *small.size, b"", {PREVIEW_EDGE: content}, None)
    raise TooLarge(f"its preview has more than {PREVIEW_BYTES} bytes")


def _frames(image: Image.Image) -> int:
    """Return how many frames the picture has; 1 for a GIF, of which only the first is decoded."""
    return getattr(image, "n_frames", 1) if image.format in ("PNG", "AVIF", "WEBP") else 1


def _orientation(image: Image.Image) -> int:
    """Return how the picture has to be turned: a key of _TURNS, or 1."""
    orientation = 1
    with suppress(Exception):  # broken metadata of a good picture
        orientation = image.getexif().get(_ORIENTATION, 1)
    return orientation if orientation in _TURNS else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def within(image: Image.Image, edge: int, reducing_gap: float | None = None) -> Image.Image:
    """Return the picture, reduced if an edge is longer than this. Pillow's `reducing_gap` trades quality for time."""
    scale = edge / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=reducing_gap)


def _plain(image: Image.Image) -> Image.Image:
    """Return the picture in a mode that can be reduced: L, RGB, RGBA or CMYK."""
    if image.mode.startswith("I"):  # 16 bits of grey
        return image.convert("I").point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    """Return the picture with the colours of the web, as RGB or RGBA. None if it has no profile that can be used."""
    if profile is None:
        return None
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        return ImageCms.profileToProfile(image, source, _SRGB, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _without_profile(image: Image.Image) -> Image.Image:
    return image.convert("RGBA" if image.mode == "RGBA" else "RGB")


def _encoded(image: Image.Image, content: bytes, media_type: str, orientation: int, profile: bytes | None) -> bytes:
    """Return the picture without its metadata: HEIC, which few browsers show, as a JPEG, and others in their format."""
    if media_type == "image/gif":
        return clean_gif(content).content
    if media_type == "image/webp":
        animation = clean_webp(content)
        if animation.frames > 1:
            return animation.content
        content = animation.content
    image.info = {key: value for key, value in image.info.items() if key in _KEPT_INFO}
    colours = {} if profile is None else {"icc_profile": profile}
    turned = _upright(image, orientation)
    match media_type:
        case "image/jpeg":
            return _encoded_jpeg(image, turned, profile)
        case "image/heic":
            return saved(_on_white(turned), "JPEG", quality=90, icc_profile=profile)
        case "image/png":
            is_large = image.width * image.height > _FAST_PNG_PIXELS
            effort = {"compress_level": 1, "compress_type": _RUNS} if is_large else {"compress_level": 4}
            return saved(turned, "PNG", **effort, save_all=_frames(image) > 1, **colours)
        case "image/webp":
            if is_lossless_webp(content):
                return saved(turned, "WEBP", lossless=True, quality=0, method=0, **colours)
            return saved(turned, "WEBP", quality=85, method=2, **colours)
        case "image/avif":
            return _encoded_avif(image, turned, **colours)
        case _:
            raise AssertionError(f"no encoder of {media_type}")


def _cleaned(content: bytes, media_type: str, orientation: int) -> bytes | None:
    """Return a PNG or WebP whose pixels are not encoded again; None if it can't be parsed, or would not be upright."""
    if media_type == "image/png" or (media_type == "image/webp" and orientation == 1):
        with suppress(Malformed):
            return clean(content, media_type)
    return None


def _on_white(image: Image.Image) -> Image.Image:
    """Return the picture without transparent pixels."""
    if not image.has_transparency_data:
        return image
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")


def _encoded_jpeg(image: Image.Image, turned: Image.Image, profile: bytes | None) -> bytes:
    """Return the picture as a JPEG with the quality that it had: the same quantization and sampling of colours."""
    if turned.mode == "CMYK":
        return saved(_in_srgb(turned, profile) or turned.convert("RGB"), "JPEG", quality=90)
    original = cast(JpegImagePlugin.JpegImageFile, image)
    sampling = JpegImagePlugin.get_sampling(original)
    return saved(turned, "JPEG", qtables=original.quantization, subsampling=sampling, icc_profile=profile)


def _encoded_avif(image: Image.Image, turned: Image.Image, **colours: Any) -> bytes:
    if _frames(image) == 1:
        return saved(turned, "AVIF", **_AVIF_EFFORT, **colours)
    durations = []
    for frame in ImageSequence.Iterator(image):
        frame.load()
        durations.append(frame.info["duration"])
    image.seek(0)
    return saved(image, "AVIF", save_all=True, duration=durations, **_AVIF_EFFORT, **colours)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """Return the picture in one of Pillow's formats."""
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()
