"""The live configuration as a typed model: every key with its bounds, its default and its purpose."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.telemetry.logs import LEVELS, MAX_LEVELS, parse_levels

Value = int | float | str
"""The value of one key."""

LONGEST_TOKEN_SECONDS = 86_400
"""The upper bound of `access_token_seconds`: a token that is older has expired, whatever the value was."""


FILE_TYPE = re.compile(r"[a-z]+/(\*|[a-z0-9.+-]+)")
"""A media type, or all of one kind, as in `allowed_file_types`."""


@dataclass(frozen=True, slots=True)
class AllowedText:
    """Describes in words the permitted values of a text."""

    text: str


def _check_sign_up(sign_up: str) -> str:
    if sign_up not in ("open", "invite"):
        raise ValueError("not a way to sign up")
    return sign_up


def _check_level(level: str) -> str:
    if level and level not in LEVELS:
        raise ValueError("not a level")
    return level


def _check_levels(levels: str) -> str:
    parse_levels(levels)
    return levels


def _check_switch(value: str) -> str:
    if value not in ("on", "off"):
        raise ValueError("neither on nor off")
    return value


def _check_file_types(types: str) -> str:
    if types != "*" and not all(FILE_TYPE.fullmatch(each) for each in types.split(",")):
        raise ValueError("not a list of media types")
    return types


class LiveConfiguration(BaseModel):
    """One set of values. Frozen: a change makes a new one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_frame_bytes: int = Field(
        default=64 * 1024,
        ge=1024,
        le=1024 * 1024,
        description="Largest frame that a client may send, in bytes; at least twice max_text_bytes",
    )
    max_text_bytes: int = Field(
        default=16 * 1024,
        ge=1,
        le=512 * 1024,
        description="Longest text of a message, in bytes of UTF-8; at most half of max_frame_bytes",
    )
    edit_seconds: int = Field(
        default=0, ge=0, le=366 * 86_400, description="Seconds for which a message can be edited; 0: no limit"
    )
    frames_per_second: int = Field(default=500, ge=1, le=100_000, description="Average rate of frames of one session")
    frame_burst: int = Field(default=2_000, ge=1, le=1_000_000, description="Frames of one session in a burst")
    max_unanswered_sends: int = Field(default=64, ge=1, le=10_000, description="Unanswered sends of one session")
    max_sessions_per_user: int = Field(default=16, ge=1, le=1000, description="Sessions of one user on a gateway")
    session_queue_frames: int = Field(
        default=1_000, ge=10, le=100_000, description="Most frames queued for a slow client"
    )
    session_queue_bytes: int = Field(
        default=1024 * 1024, ge=64 * 1024, le=64 * 1024 * 1024, description="Most bytes queued for a slow client"
    )
    heartbeat_seconds: float = Field(
        default=30, ge=1, le=600, description="Seconds of silence until a ping over WebSocket, and then until the end"
    )
    max_file_bytes: int = Field(default=100_000_000, ge=1, le=50 * 1024**3, description="Largest file, in bytes")
    max_user_file_bytes: int = Field(
        default=5_000_000_000, ge=1, le=1024**5, description="Bytes of all files of one user, those in upload included"
    )
    max_open_uploads: int = Field(default=100, ge=1, le=10_000, description="Files of one user that are in upload")
    files_per_hour: int = Field(default=1_000, ge=1, le=100_000, description="New files of one user on each BFF")
    allowed_file_types: Annotated[
        str,
        Field(max_length=1_000),
        AfterValidator(_check_file_types),
        AllowedText("* for all, or media types that are found in the content, such as image/*,application/pdf"),
    ] = Field(default="*", description="Media types of files that users may send")
    link_previews: Annotated[str, AfterValidator(_check_switch), AllowedText("on or off")] = Field(
        default="on", description="Whether the gateways fetch the pages behind links, and show a preview of them"
    )
    tail_seconds: float = Field(
        default=300, ge=5, le=3600, description="Seconds for which a client can resume from the tail, without history"
    )
    tail_bytes: int = Field(
        default=16 * 1024 * 1024, ge=1024 * 1024, le=4 * 1024**3, description="Largest size of a partition's tail"
    )
    replay_seconds: float = Field(
        default=5, ge=0, le=60, description="Seconds of the tail that a new session receives first"
    )
    replay_events: int = Field(
        default=5_000, ge=1, le=100_000, description="Most events replayed to a session; beyond, it gets a gap"
    )
    chats_page_size: int = Field(default=50, ge=1, le=100, description="Default number of chats on a page")
    messages_page_size: int = Field(default=50, ge=1, le=100, description="Default number of messages on a page")
    profiles_page_size: int = Field(default=20, ge=1, le=100, description="Default number of profiles found")
    sign_ins_per_minute: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="Failed sign-ins per name and address; ten times as many per address, six times per name and hour",
    )
    sign_up: Annotated[str, AfterValidator(_check_sign_up), AllowedText("open or invite")] = Field(
        default="open", description="Whether an account can be created by everybody, or only with an invite of an admin"
    )
    registrations_per_minute: int = Field(default=60, ge=1, le=100_000, description="New accounts per address")
    groups_per_hour: int = Field(
        default=20, ge=1, le=100_000, description="New groups of one user on each gateway, all at once or not"
    )
    member_additions_per_minute: int = Field(
        default=60,
        ge=1,
        le=100_000,
        description="Requests of one user on each gateway that add members to groups, join one or create an invite "
        "link, together",
    )
    unknown_chats_per_minute: int = Field(
        default=60,
        ge=1,
        le=100_000,
        description="Requests of one user for chats that do not exist or are not theirs, or with invalid links to "
        "groups; further requests for any chat are refused. Ten times as many per address",
    )
    access_token_seconds: int = Field(
        default=900, ge=30, le=LONGEST_TOKEN_SECONDS, description="Life of an access token, in seconds"
    )
    refresh_token_days: int = Field(default=30, ge=1, le=365, description="Life of an unused refresh token, in days")
    trace_ratio: float = Field(
        default=0.01, ge=0, le=1, description="Share of messages and requests that are traced, with a collector"
    )
    log_level: Annotated[
        str, AfterValidator(_check_level), AllowedText(f"{', '.join(LEVELS)}, or empty for the level in the settings")
    ] = Field(default="", description="Lowest level of lines that are logged")
    log_levels: Annotated[
        str,
        Field(max_length=2_000),
        AfterValidator(_check_levels),
        AllowedText(
            f"loggers and their levels, such as bff=debug,messaging.gateway=info, {MAX_LEVELS} at most, or empty"
        ),
    ] = Field(default="", description="Levels of single loggers, and of the loggers below them")
