"""The parts of an upload: all have PART_BYTES, but the last one may have fewer. An empty file has none."""

from collections.abc import Sequence

from rookery.v1.archive_pb2 import StoredFile
from shared.files.keys import file_key
from shared.files.protocol import MAX_PARTS, PART_BYTES, FileStore, NotFound, Part

MAX_FILE_BYTES = PART_BYTES * MAX_PARTS


def parts_of(size: int) -> int:
    """Return the number of parts of a file of this size."""
    return -(-size // PART_BYTES)


def bytes_of(size: int, number: int) -> int:
    """Return the size of a part of a file of this size, by its number, from 1."""
    return min(size - (number - 1) * PART_BYTES, PART_BYTES)


async def stored_parts(files: FileStore, stored: StoredFile) -> Sequence[Part] | None:
    """Return the parts of an upload that are stored; all of them once they are joined. None if the upload has ended
    without being joined. Raises Unavailable."""
    file = stored.file
    if not file.size:
        return []
    key = file_key(file.file_id)
    try:
        return await files.parts(key, stored.upload_id)
    except NotFound:
        if await files.size(key) != file.size:
            return None
        return [Part(number, bytes_of(file.size, number), "") for number in range(1, parts_of(file.size) + 1)]
