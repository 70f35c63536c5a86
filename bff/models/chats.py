"""Queries of chats, their history and their changes."""

from typing import Annotated

from pydantic import Field

from bff.models.fields import Cursor, Digits, Input, Limit, one_of
from shared.contract.changes import LISTED, VERSIONED

ListedKind = Annotated[str, *one_of(LISTED)]
VersionedKind = Annotated[str, *one_of(VERSIONED)]


class ChatsQuery(Input):
    """A page of the list of chats."""

    changed_since_ms: Digits = Field(0, description="Only chats changed at or after this time, milliseconds since 1970")
    limit: Limit | None = None
    cursor: Cursor = ""


class MessagesQuery(Input):
    """A page of the history at one anchor, a message id or a time (milliseconds since 1970); by default the newest."""

    before_id: Digits | None = None
    after_id: Digits | None = None
    around_id: Digits | None = None
    before_ms: Digits | None = None
    after_ms: Digits | None = None
    around_ms: Digits | None = None
    limit: Limit | None = None
    having: ListedKind | None = Field(
        None, description="Only messages with this change. Not with an anchor other than `before_id`"
    )


class ChangesQuery(Input):
    """The events of a chat after an id, the `complete_up_to` of an earlier response about this chat."""

    after: Digits


class VersionsQuery(Input):
    """The former and the current changes of one kind and message."""

    kind: VersionedKind
