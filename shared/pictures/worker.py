"""The process that renders one picture, or one PDF: `python -I -m shared.pictures.worker MEDIA_TYPE PURPOSE`.

It writes the line `ready`, reads the picture from its standard input up to the end, and writes one line of JSON, which
is a `Response` of `processes.py`, then the bytes that the line counts: the picture, then its thumbnails.

Before it reads, it drops its privileges, since a picture may take the process over: it can open no file or socket,
start no process, and has limits on memory and CPU. Its environment is empty. It ends after one picture, so it
never has the bytes of two users.
"""

import os
import sys
from base64 import b64encode
from collections.abc import Callable
from json import dumps

from shared.pictures.purposes import Purpose
from shared.pictures.rendering import Rendered, render
from shared.sandbox import drop_privileges

MEMORY_BYTES = 5 << 28
"""Most memory, as addresses. JPEG, PNG and WebP of 50 megapixels need up to 1 GB, a progressive JPEG of 200 megapixels
0.64 GiB, or 1.2 in full colour, and AVIF 35 MB for each megapixel. Only on Linux."""

SMALL_MEMORY_BYTES = 1 << 29
"""The same for avatars and previews, of which 12 megapixels are enough. Gateways have less memory than BFFs."""

CPU_SECONDS = 15
"""Most CPU. A picture of 12 megapixels takes up to 1.5 s, of 50 megapixels up to 6, and a JPEG of 200 up to 5."""


def main() -> None:
    media_type, purpose = sys.argv[1], Purpose(sys.argv[2])
    renderer = _renderer(media_type, purpose)
    memory_bytes = SMALL_MEMORY_BYTES if purpose in (Purpose.AVATAR, Purpose.PREVIEW) else MEMORY_BYTES
    _drop_privileges(memory_bytes, needs_threads=media_type == "image/heic")
    output = sys.stdout.buffer
    output.write(b"ready\n")
    output.flush()
    content = sys.stdin.buffer.read()
    try:
        rendered = renderer(content)
    except Exception as error:  # Pillow raises anything for bytes that are no picture
        output.write(_line({"refused": f"{type(error).__name__}: {error}"[:200]}))
    else:
        _write(rendered)
    output.flush()
    os._exit(0)  # nothing is left to be closed, and the picture's memory need not be freed piece by piece


def _renderer(media_type: str, purpose: Purpose) -> Callable[[bytes], Rendered]:
    if media_type == "application/pdf":
        from shared.pictures.documents import render_first_page  # its library is large, and few files need it

        return render_first_page
    return lambda content: render(content, media_type, purpose)


def _drop_privileges(memory_bytes: int, *, needs_threads: bool = False) -> None:
    """Set the limits. A decoder that needs threads, as libde265 does, can start processes, too: with these limits."""
    drop_privileges(memory_bytes, CPU_SECONDS, may_start=needs_threads)


def _write(rendered: Rendered) -> None:
    output = sys.stdout.buffer
    content = rendered.content or b""
    answer = {
        "width": rendered.width,
        "height": rendered.height,
        "media_type": rendered.media_type,
        "thumbhash": b64encode(rendered.thumbhash).decode(),
        "size": len(content),
        "thumbnails": [[edge, len(thumbnail)] for edge, thumbnail in rendered.thumbnails.items()],
    }
    output.write(_line(answer))
    output.write(content)
    for thumbnail in rendered.thumbnails.values():
        output.write(thumbnail)


def _line(answer: dict[str, object]) -> bytes:
    return dumps(answer).encode() + b"\n"


if __name__ == "__main__":
    main()
