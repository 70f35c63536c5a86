"""Announces changes of relationships to the gateways, which obey them at once, and to sessions that may see them."""

from collections.abc import Collection

import structlog

from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import Event, PeopleChanged
from shared.accounts.people import Relationship, State
from shared.accounts.sign_outs import publish_announcement
from shared.backplane import Backplane, Record
from shared.contract.errors import Unavailable
from shared.contract.partitions import partition_of

_log = structlog.get_logger(__name__)


async def announce_change(
    publisher: Backplane, before: Relationship, after: Relationship, notified_ids: Collection[int] = ()
) -> None:
    """Announce a change to the gateways of both users; log it if the backplane rejects it.

    A gateway that misses it accepts messages between the two for some minutes more: see `messaging.gateway.lookups`. A
    session gets an event only if its user sees a difference, so that no user learns that another one blocks them; the
    sessions of the users of `notified_ids` in any case.
    """
    records = []
    for old, new in ((before, after), (before.reversed, after.reversed)):
        event = Event(people_changed=PeopleChanged(user_id=new.other_id))
        recipient_ids = [new.user_id] if _seen(old) != _seen(new) or new.user_id in notified_ids else []
        envelope = Envelope(event=event, sender_id=new.user_id, recipient_ids=recipient_ids)
        records.append(Record(partition_of(new.user_id, publisher.partitions), envelope.SerializeToString()))
    try:
        await publish_announcement(publisher, records)
    except Unavailable as error:
        _log.warning("people_change_not_announced", reason=str(error), user_id=after.user_id)


def _seen(relationship: Relationship) -> tuple[State, bool]:
    """Return the part of a relationship that its user sees."""
    return relationship.state, bool(relationship.blocks_ms)
