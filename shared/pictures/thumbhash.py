"""ThumbHash: a placeholder of some 25 bytes for a picture, in the format of https://evanw.github.io/thumbhash.

The picture's channels are luminance, two differences of colours, and opacity if the picture is not opaque. Each
becomes the lowest frequencies of its cosine transform: the average, a scale, and four bits for each other frequency.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi


@dataclass(frozen=True, slots=True)
class _Frequencies:
    """The frequencies of a channel: its average, and `others`, in which 0 and 1 stand for -`scale` and `scale`."""

    average: float
    scale: float
    others: Sequence[float]


def thumbhash(width: int, height: int, rgba: bytes) -> bytes:
    """Return the hash of a picture, given as four bytes for each pixel. It takes 100 ns of CPU for each pixel and
    frequency, so pictures should be small; 32 pixels are enough for their longer edge."""
    pixels = [rgba[i : i + 4] for i in range(0, len(rgba), 4)]
    opacity = [pixel[3] / 255 for pixel in pixels]
    whole = sum(opacity)
    is_opaque = whole >= len(pixels)
    red, green, blue = (_on_average([pixel[i] / 255 for pixel in pixels], opacity, whole) for i in range(3))

    longer = max(width, height)
    limit = 7 if is_opaque else 5
    columns, rows = (max(1, round(limit * edge / longer)) for edge in (width, height))
    colours = list(zip(red, green, blue, strict=True))
    light = _frequencies([(r + g + b) / 3 for r, g, b in colours], width, height, max(3, columns), max(3, rows))
    yellow = _frequencies([(r + g) / 2 - b for r, g, b in colours], width, height, 3, 3)
    ruddy = _frequencies([r - g for r, g, _ in colours], width, height, 3, 3)
    channels = [light, yellow, ruddy]

    head = (
        round(63 * light.average)
        | round(31.5 + 31.5 * yellow.average) << 6
        | round(31.5 + 31.5 * ruddy.average) << 12
        | round(31 * light.scale) << 18
        | (not is_opaque) << 23
        | (rows if width > height else columns) << 24
        | round(63 * yellow.scale) << 27
        | round(63 * ruddy.scale) << 33
        | (width > height) << 39
    ).to_bytes(5, "little")
    if not is_opaque:
        opaque = _frequencies(opacity, width, height, 5, 5)
        head += bytes([round(15 * opaque.average) | round(15 * opaque.scale) << 4])
        channels.append(opaque)

    nibbles = [round(15 * value) for channel in channels for value in channel.others]
    nibbles += [0] * (len(nibbles) % 2)
    return head + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _on_average(values: Sequence[float], opacity: Sequence[float], whole: float) -> list[float]:
    """Return the values of a colour after each pixel is drawn, with its opacity, on the average of that colour."""
    average = sum(value * share for value, share in zip(values, opacity, strict=True)) / whole if whole else 0.0
    return [average + (value - average) * share for value, share in zip(values, opacity, strict=True)]


def _frequencies(channel: Sequence[float], width: int, height: int, columns: int, rows: int) -> _Frequencies:
    """Return the frequencies in the triangle of the lowest ones, with this many of them along each edge."""
    waves_x = [[cos(pi / width * i * (x + 0.5)) for x in range(width)] for i in range(columns)]
    waves_y = [[cos(pi / height * i * (y + 0.5)) for y in range(height)] for i in range(rows)]
    lines = [channel[y * width : (y + 1) * width] for y in range(height)]
    along_x = [[sum(map(float.__mul__, line, wave)) for line in lines] for wave in waves_x]
    amounts = [
        sum(map(float.__mul__, along_x[i], waves_y[j])) / (width * height)
        for j in range(rows)
        for i in range(columns)
        if i * rows < columns * (rows - j)
    ]
    average, *others = amounts
    scale = max(map(abs, others), default=0.0)
    return _Frequencies(average, scale, [0.5 + 0.5 * amount / scale if scale else 0.0 for amount in others])
