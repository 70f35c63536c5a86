"""Bodies and queries of the routes of files."""

import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from bff.models.fields import Digits, Flag, Input, Limit, UserId, digits, utf8_bytes, visible
from rookery.v1.archive_pb2 import FILE_STATE_BLOCKED, FILE_STATE_COMPLETE, FILE_STATE_UPLOADING, FileState, StoredFile
from shared.contract.chats import MAX_CLIENT_ID
from shared.files.keys import AVATARS
from shared.files.protocol import MAX_NAME_BYTES, PART_BYTES, Part

MAX_LINKS = 100
"""Links in one request."""

MAX_VOICE_MS = 24 * 3600 * 1000

MAX_WAVEFORM_BYTES = 64

BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder others: with them, `photo.exe` may look like a picture."""

STATES: dict[FileState, Literal["uploading", "complete", "blocked"]] = {
    FILE_STATE_UPLOADING: "uploading",
    FILE_STATE_COMPLETE: "complete",
    FILE_STATE_BLOCKED: "blocked",
}


def _file_name(name: str) -> str:
    if name in (".", ".."):
        raise PydanticCustomError("path", "Must not be a folder")
    if any(each in "/\\" or each in _REORDERING or unicodedata.category(each) in ("Cc", "Zl", "Zp") for each in name):
        raise PydanticCustomError(
            "path", "Must not have slashes, backslashes, control characters or marks of direction"
        )
    return name


FileName = Annotated[
    str,
    *utf8_bytes(1, MAX_NAME_BYTES),
    AfterValidator(_file_name),
    AfterValidator(visible),
    Field(description="1 to 255 bytes of UTF-8, without slashes, backslashes, control and direction characters"),
]


def _waveform(text: str) -> str:
    if len(b64decode(text)) > MAX_WAVEFORM_BYTES:
        raise PydanticCustomError("bytes", "Must have at most {most} bytes", {"most": MAX_WAVEFORM_BYTES})
    return text


Waveform = Annotated[
    str, StringConstraints(max_length=88, pattern=BASE64), AfterValidator(_waveform), Field(description="In base64")
]


class Voice(Input):
    """The length of a voice message, and its loudness over time, in at most 64 values from 0 to 255."""

    duration_ms: Annotated[int, Field(ge=1, le=MAX_VOICE_MS), BeforeValidator(digits)]
    waveform: Waveform = ""


class NewFile(Input):
    """A file that shall be uploaded. `sha256` is the checksum of its content, which is compared in the end."""

    client_file_id: Annotated[
        str,
        *utf8_bytes(1, MAX_CLIENT_ID),
        Field(
            description="Chosen by the client, unique among the user's: a retry with the same id makes no second file"
        ),
    ]
    name: FileName
    size: Annotated[
        Digits,
        Field(description="In bytes, at most max_file_bytes of the session's limits; of a voice message at least 1"),
    ]
    sha256: Annotated[str, StringConstraints(pattern="^([0-9a-fA-F]{64})?$")] = ""
    keep_original: Flag = Field(
        False, description="Whether a picture keeps its bytes, those of the camera's data included"
    )
    voice: Voice | None = None


class FilePart(BaseModel):
    """A part that is stored. `size` is in bytes."""

    number: int
    size: int


class File(BaseModel):
    """A file of the user. While it is uploaded, `parts` lists the stored parts. Each has `part_bytes`, and the
    last one the rest. The server finds the media type, the measures and the previews in the content."""

    file_id: str
    name: str
    size: str
    state: Literal["uploading", "complete", "blocked"]
    part_bytes: int
    parts: list[FilePart]
    media_type: str
    width: int
    height: int
    thumbhash: str
    thumbnails: list[int]
    duration_ms: int
    waveform: str

    @classmethod
    def of(cls, stored: StoredFile, parts: Sequence[Part] = ()) -> "File":
        file = stored.file
        return cls(
            file_id=str(file.file_id),
            name=file.name,
            size=str(file.size),
            state=STATES[stored.state],
            part_bytes=PART_BYTES,
            parts=[FilePart(number=part.number, size=part.size) for part in parts],
            media_type=file.media_type,
            width=file.width,
            height=file.height,
            thumbhash=b64encode(file.thumbhash).decode(),
            thumbnails=list(file.thumbnails),
            duration_ms=file.duration_ms,
            waveform=b64encode(file.waveform).decode(),
        )


Rendition = Annotated[
    str,
    StringConstraints(max_length=16),
    Field(description="One of the file's `thumbnails`, such as 320; empty for the file itself"),
]

IsDownload = Annotated[Flag, Field(description="Whether browsers save it, and never show it")]


class WantedFile(Input):
    """A file, and the message in which the user reads it; without a message it is one of the user's own."""

    file_id: UserId
    chat_id: Annotated[str, StringConstraints(max_length=64)] = ""
    message_id: Digits = 0
    rendition: Rendition = ""
    download: IsDownload = False


class WantedFiles(Input):
    """The files that links are wanted for, each in at most 10 messages."""

    files: Annotated[tuple[WantedFile, ...], Field(min_length=1, max_length=MAX_LINKS)]


class WantedReportedFile(Input):
    """A file of a reported message."""

    message_id: UserId
    file_id: UserId
    rendition: Rendition = ""
    download: IsDownload = False


class Link(BaseModel):
    """A link of a file: a path of this server, which needs no access token. Its URL stays the same for 5 minutes, and
    is valid for 5 to 10. It ends with the sign-in, and once the user may no longer read the file."""

    file_id: str
    rendition: str
    url: str
    expires_at_ms: str


class Links(BaseModel):
    """Links in the order of the request; null for a file that the user may not read, or that has no such rendition.
    `not_recorded` has the places, from 0, of links that are null while the message may not be recorded yet: request
    them again in a few seconds."""

    links: list[Link | None]
    not_recorded: list[int]


class AvatarQuery(Input):
    """The group whose picture it is; without one it is the user's."""

    chat_id: Annotated[str, StringConstraints(pattern="^(g-[1-9][0-9]{0,18})?$")] = ""


class AvatarSize(BaseModel):
    """The edge of the square that is wanted, in pixels: one of AVATARS, by default the largest."""

    size: str = str(AVATARS[-1])


class MadeAvatar(BaseModel):
    """The token of a picture that this user's profile, or this group, may have as its `avatar`. The picture is at
    `/avatars/TOKEN`, with `?size=96` a small one, for everybody who has the token."""

    avatar: str


class ChatFilesQuery(Input):
    """A page of messages with pictures and videos, with other files, or with links."""

    file_class: Literal["media", "other", "links"] = Field(alias="class")
    before: Digits = Field(0, description="Only messages below this id; 0 for the newest")
    limit: Limit | None = None
