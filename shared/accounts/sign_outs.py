"""Announces the end of sign-ins to the gateways, which end their sessions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
import trio

from rookery.v1.backplane_pb2 import Envelope, SignOut
from shared.backplane import Backplane, Record
from shared.backplane.publishing import publish_and_wait
from shared.contract.errors import Unavailable
from shared.contract.partitions import partition_of

ALL_SIGN_INS = ("",)
"""Stands for every sign-in of a user, in place of their ids."""

ANNOUNCE_DEADLINE = 5.0
"""Seconds for an announcement. It is shielded that long, since the client that asked for it may have gone."""

WRITE_DEADLINE = 10.0
"""Seconds for writes and their announcement, after which an engine counts as away."""

_log = structlog.get_logger(__name__)


@contextmanager
def completed() -> Iterator[None]:
    """Complete the writes of the block and their announcement, also if the caller is cancelled: a client that closes
    its connection in between would leave sessions that nobody ends. Raises Unavailable after WRITE_DEADLINE."""
    with trio.move_on_after(WRITE_DEADLINE, shield=True) as scope:
        yield
    if scope.cancelled_caught:
        raise Unavailable("the store does not answer")


async def announce_or_log(
    publisher: Backplane, user_id: int, family_ids: Sequence[str], *, is_deleted: bool = False
) -> None:
    """Announce the end of these sign-ins, or of all (`ALL_SIGN_INS`); log it if the backplane rejects it.

    The sessions then end with their access tokens, which can't be renewed any more. A deleted account is announced to
    all gateways: one that misses it may accept messages to the account for 5 minutes.
    """
    try:
        await announce_ends(publisher, user_id, family_ids, is_deleted=is_deleted)
    except Unavailable as error:
        _log.warning("sign_out_not_announced", reason=str(error), user_id=user_id)


async def announce_ends(
    publisher: Backplane, user_id: int, family_ids: Sequence[str], *, is_deleted: bool = False
) -> None:
    """Announce as `announce_or_log` does. Raises Unavailable if the backplane rejects it."""
    partitions = range(publisher.partitions) if is_deleted else [partition_of(user_id, publisher.partitions)]
    values = [end_of_sign_in(user_id, family_id, is_deleted=is_deleted) for family_id in family_ids]
    await publish_announcement(publisher, [Record(partition, value) for partition in partitions for value in values])


async def publish_announcement(publisher: Backplane, records: Sequence[Record]) -> None:
    """Publish within ANNOUNCE_DEADLINE, also if the caller is cancelled. Raises Unavailable."""
    with trio.move_on_after(ANNOUNCE_DEADLINE, shield=True) as scope:
        await publish_and_wait(publisher, records)
    if scope.cancelled_caught:
        raise Unavailable("the log does not answer")


def end_of_sign_in(user_id: int, family_id: str, *, is_deleted: bool = False) -> bytes:
    """Return the record that ends the sessions of a sign-in, for the user's partition; for all partitions if the
    account was deleted."""
    sign_out = SignOut(family_id=family_id, is_deleted=is_deleted)
    return Envelope(sign_out=sign_out, recipient_ids=[user_id]).SerializeToString()
