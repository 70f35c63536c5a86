"""The time, the CPU and the memory that the renditions of a picture take, from the store of files and back:

    python -m benchmarks.pictures [--megapixels 12] [--times 5]

Each type runs in a process of its own, so that the peak of memory is that of its workers. The picture is soft noise,
which compresses like a photograph. The time is that of one picture, with nothing else to do; its budget is 1.5 s.
"""

import argparse
import resource
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
from PIL import Image

from shared.files.folder import open_folder_files
from shared.files.keys import file_key
from shared.pictures.renditions import Pictures

FORMATS: dict[str, dict[str, Any]] = {
    "image/jpeg": {"format": "JPEG", "quality": 92},
    "image/png": {"format": "PNG", "compress_level": 6},
    "image/webp": {"format": "WEBP", "quality": 85},
    "image/avif": {"format": "AVIF", "quality": 70, "speed": 9},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=int, default=12)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--type", choices=FORMATS, help="only this one, with a picture on stdin")
    options = parser.parse_args()
    if options.type:
        trio.run(measure, options.type, sys.stdin.buffer.read(), options.times)
        return
    for media_type in FORMATS:
        command = [sys.executable, "-m", "benchmarks.pictures", *sys.argv[1:], "--type", media_type]
        subprocess.run(command, input=photograph(media_type, options.megapixels), check=True)


async def measure(media_type: str, content: bytes, times: int) -> None:
    with TemporaryDirectory() as folder:
        async with open_folder_files(Path(folder)) as files:
            taken, made = [], None
            for file_id in range(1, times + 1):
                await files.put(file_key(file_id), content)
                start = time.perf_counter()
                made = await Pictures().make_renditions(files, file_id, "photograph", media_type, len(content))
                taken.append(time.perf_counter() - start)
    assert made is not None
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{media_type}: {len(content) / 1e6:.1f} MB become {made.size / 1e6:.1f}, "
        f"{min(taken):.2f} to {max(taken):.2f} s, CPU {(workers.ru_utime + workers.ru_stime) / times:.2f} s, "
        f"memory {workers.ru_maxrss >> 10} MiB"
    )


def photograph(media_type: str, megapixels: int) -> bytes:
    height = round((megapixels * 1e6 / 12) ** 0.5) * 3
    size = height * 4 // 3, height
    colours = [Image.effect_noise((size[0] // 40, height // 40), 90).resize(size) for _ in range(3)]
    grain = Image.effect_noise(size, 12).convert("RGB")
    file = BytesIO()
    Image.blend(Image.merge("RGB", colours), grain, 0.25).save(file, **FORMATS[media_type])
    return file.getvalue()


if __name__ == "__main__":
    main()
