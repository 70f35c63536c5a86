"""The file table of a chat store: the metadata of files, and the messages that use them.

A file that no message uses is removed in two steps, since a message that has it may be under way to the log. First it
is condemned: from then on it is not found, so no further message gets it. Once every message that had got it before is
recorded, it is forgotten, unless one of them uses it: recording a use revives a condemned file.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from enum import Enum, auto
from typing import NamedTuple, Protocol

from messaging.text_links import first_link
from rookery.v1.archive_pb2 import FILE_CLASS_LINKS, FILE_CLASS_MEDIA, FILE_CLASS_OTHER, FileClass, StoredFile
from rookery.v1.files_pb2 import FileInfo
from rookery.v1.session_pb2 import Message

FIRST_CURSOR = -(2**63)
"""Before all rows."""


class Exceeded(Enum):
    """Why a file can't be reserved."""

    QUOTA = auto()
    UPLOADS = auto()


class FileRow(NamedTuple):
    """A row of the file table."""

    file: StoredFile
    client_file_id: str
    changed_ms: int
    """When it was reserved, completed or blocked, in milliseconds since 1970."""
    condemned_ms: int = 0
    """When it was condemned; 0 if it is not."""


class FileTable(Protocol):
    """Every method raises Unavailable if the engine does not answer. Repeating one changes nothing."""

    async def reserve(
        self, client_file_id: str, file: StoredFile, *, quota_bytes: int, max_uploads: int
    ) -> StoredFile | Exceeded:
        """Add a file that is being uploaded, and return it; or return the one that its owner has reserved with this
        client_file_id. No file is added if its owner's files would have more than `quota_bytes`, or if more than
        `max_uploads` would be uploading; if two are reserved at the same moment, neither may be where there is room for
        one. Condemned files count neither as bytes nor as uploads, and their client_file_id is free. A blocked file has
        no bytes."""
        ...

    async def complete(self, file: StoredFile, at_ms: int) -> StoredFile | None:
        """Store the final metadata of a file of its owner, with the state complete or blocked, and return it. Of one
        that is complete or blocked already, return the stored file. None if the owner has no such file."""
        ...

    async def cancel(self, owner_id: int, file_id: int, at_ms: int) -> bool:
        """Condemn a file that is being uploaded. False if it is complete or blocked; True if the owner has no such
        file."""
        ...

    async def rows(self, file_ids: Collection[int]) -> Mapping[int, FileRow]:
        """The rows of these files, condemned ones included, by file_id. Unknown ids are left out."""
        ...

    async def page(self, cursor: int, limit: int) -> tuple[Sequence[FileRow], int | None]:
        """Up to `limit` rows after a cursor, in the order of the engine, and the cursor of the next page; None at the
        end. A row that is neither added nor removed meanwhile is on one page, if each begins at the cursor that the
        last returned."""
        ...

    async def used(self, file_ids: Collection[int]) -> Set[int]:
        """The files that are used by a recorded message which is not deleted."""
        ...

    async def held_by(self, messages: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], Set[int]]:
        """The ids of the files of messages, which are given as chat_id and message_id. A deleted message has none,
        and one that is not recorded is left out."""
        ...

    async def condemn(self, rows: Collection[FileRow], at_ms: int) -> None:
        """Condemn the files that still have the state of the row, and are not condemned."""
        ...

    async def revive(self, file_ids: Collection[int]) -> None:
        """Undo that complete files are condemned. Unknown ids are ignored."""
        ...

    async def forget(self, rows: Collection[FileRow]) -> Collection[FileRow]:
        """Remove the rows of files that have been condemned since then, without a pause, and return them."""
        ...


def class_of(file: FileInfo) -> FileClass:
    """Whether a file is listed among pictures and videos, or among other files."""
    is_media = bool(file.width) and file.media_type.startswith("image/")
    return FILE_CLASS_MEDIA if is_media or file.media_type.startswith("video/") else FILE_CLASS_OTHER


def classes_of(message: Message) -> Set[FileClass]:
    """The classes of the files of a message, and that of links if its text has one."""
    classes = {class_of(file) for file in message.files}
    return classes | {FILE_CLASS_LINKS} if first_link(message.text.body) else classes


def completed(reserved: StoredFile, file: StoredFile) -> StoredFile:
    """The file as it is stored when it is complete or blocked: without the upload, and with the time of its
    reservation."""
    stored = StoredFile()
    stored.CopyFrom(file)
    stored.upload_id, stored.reserved_at_ms = "", reserved.reserved_at_ms
    return stored
