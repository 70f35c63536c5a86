"""Pictures of each type, as cameras and programs make them."""

from base64 import b64decode
from io import BytesIO
from typing import Any

from PIL import Image, PngImagePlugin

SECRET = b"of the camera"
"""In every kind of metadata that a format has."""

FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/webp": "WEBP", "image/avif": "AVIF"}

HEIC = b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAb5tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAAAA"
    "AERAAAIAAQAAAAAB4gABAAAAAAAAACIAAgAAAAACBAABAAAAAAAAADIAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZl"
    "AgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH/"
    "/wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29s"
    "cm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAIAAAAAEAAAAAAAAAAv///+AAAAACAAAAEHBpeGkAAAAA"
    "AwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAABppcmVmAAAAAAAAAA5jZHNjAAIAAQABAAAAXG1kYXQAAAAeKAGvBBj4ynHX//Syn76gLtjj"
    "YH/dFaeMbP8F7u7/AAAABkV4aWYAAE1NACoAAAAIAAEBDwACAAAADgAAABoAAAAAb2YgdGhlIGNhbWVyYQA="
)
"""A picture of 64 x 32 pixels, red and blue, with SECRET: pi-heif can't encode."""


def picture(width: int = 1000, height: int = 500) -> Image.Image:
    """A picture that is red in its left half, and blue in the right one."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return image


def encoded(image: Image.Image, media_type: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, FORMATS[media_type], **options)
    return file.getvalue()


def with_metadata(media_type: str, image: Image.Image | None = None, orientation: int = 1, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = SECRET.decode()
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", SECRET.decode())
    known = {"JPEG": ("exif", "xmp", "comment"), "PNG": ("exif", "pnginfo"), "GIF": ("comment",)}
    values = {"exif": exif, "xmp": b"<x:xmpmeta>" + SECRET, "comment": SECRET, "pnginfo": texts}
    named = known.get(FORMATS[media_type], ("exif", "xmp"))
    content = encoded(image or picture(), media_type, **{name: values[name] for name in named}, **options)
    assert SECRET in content
    return content


def opened(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content))
    image.load()
    return image


def document(*pages: Image.Image) -> bytes:
    file = BytesIO()
    pages[0].save(file, "PDF", save_all=True, append_images=pages[1:])
    return file.getvalue()
