"""The violations of the promises about channels that a client follows and has not open. Pure: records in, violations
out."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from rookery.verify.membership import Membership, concerns
from rookery.verify.records import Copy, Delivery, Head, Made, Records, Sent
from rookery.verify.violations import Kind, Violation

HEAD_SECONDS = 5.0
"""The least time between two heads of a channel in a session, after the one that answers a Follow."""

STALL_SECONDS = 10.0
"""Heads that were sent within this time may arrive at once: a client that lacks CPU time, or a network that holds bytes
back, delays the first ones and not the last one."""

Event = Sent | Made


def check_heads(records: Records, membership: Membership) -> Iterator[Violation]:
    """Check that clients which follow a channel, and have it not open, know its newest event, and get no other events
    than those that concern their users."""
    events = {each.message_id: each for each in records.sent.values() if each.is_accepted} | {
        each.event.event_id: each for each in records.made if each.event is not None
    }
    for user_id, heads in records.heads.items():
        for head in heads:
            yield from _outside(events.get(head.newest_id), head, membership, user_id)
        yield from _too_often(heads, user_id)
    for user_id in records.heads:
        live = [each for each in records.deliveries.get(user_id, ()) if each.is_live]
        yield from _not_open(records, live, membership, user_id)
    for user_id, chat_id, newest_id in newest_due(records, membership):
        if _known(records, chat_id, user_id) < newest_id:
            text = f"id {newest_id} is the newest event of {chat_id}, and the client of {user_id} does not know it"
            yield Violation(Kind.NOT_SHOWN, text)


def newest_due(records: Records, membership: Membership) -> Iterator[tuple[int, str, int]]:
    """Yield each user and channel which the user's client follows and has not open, and the id of the newest event that
    others have made, after the client's last Gap: the client must know it at the end."""
    due = _due(records)
    for group in records.groups:
        for user_id, member in membership.members(group.chat_id).items():
            if member.role and not membership.has_open(group.chat_id, user_id):
                ids = (
                    event_id
                    for event_id, actor_id, event in due[group.chat_id]
                    if actor_id != user_id
                    and membership.allows(group.chat_id, user_id, event_id)
                    and not membership.may_miss(event, user_id)
                )
                yield user_id, group.chat_id, max(ids, default=0)


def _due(records: Records) -> Mapping[str, Sequence[tuple[int, int, Event]]]:
    """By chat, the id and the actor of each event that its members may read, with the event. Not the changes that a
    deletion may have removed."""
    due = defaultdict[str, list[tuple[int, int, Event]]](list)
    for sent in records.sent.values():
        if sent.is_accepted:
            due[sent.chat_id].append((sent.message_id, sent.key[0], sent))
    for made in records.made:
        if made.event is not None and not made.is_private and not made.target.may_be_deleted:
            due[made.change.chat_id].append((made.event.event_id, made.change.actor_id, made))
    return due


def _known(records: Records, chat_id: str, user_id: int) -> int:
    """The id of the newest event of a chat that a client knew before the end: from a session, a head, a list of the
    chat's changes or one of all changed chats."""
    made = {each.key: each for each in records.made if each.change.chat_id == chat_id}
    changes = (event_id for key, event_id in records.received_changes.get(user_id, ()) if key in made)
    copies = (each.copy for each in records.deliveries.get(user_id, ()) if each.copy.chat_id == chat_id)
    heads = (each.newest_id for each in records.heads.get(user_id, ()) if each.chat_id == chat_id)
    lists = (each for each in records.answers.get(user_id, ()) if each.chat_id in (chat_id, "") and not each.is_last)
    answers = (each.complete_up_to for each in lists)
    return max(itertools.chain(changes, (copy.message_id for copy in copies), heads, answers), default=0)


def _outside(event: Event | None, head: Head, membership: Membership, user_id: int) -> Iterator[Violation]:
    """Find a head that shows a user an event that they may not read."""
    if event is not None:
        where = f"the head of {head.chat_id} at the client of {user_id}"
        copy = Copy(event.key, head.newest_id, head.chat_id, "")
        yield from membership.outside(event, copy, user_id, where, seconds=0.0)


def _too_often(heads: Sequence[Head], user_id: int) -> Iterator[Violation]:
    """Find successive heads after one Follow that are more than twice as many as can have been sent between
    STALL_SECONDS before the first of them arrived and the arrival of the last one: while CPU time lacks, they arrive
    faster than they were sent."""
    by_follow = defaultdict[tuple[str, int], list[float]](list)
    for head in heads:
        by_follow[head.chat_id, head.follows].append(head.at)
    for (chat_id, _), moments in by_follow.items():
        begin = 0  # the place from which on the heads exceed twice the promised rate most
        for place, at in enumerate(moments):
            if place - begin <= 2 * (at - moments[begin]) / HEAD_SECONDS:
                begin = place
            count, seconds = place - begin + 1, at - moments[begin]
            if count > 2 * (1 + (seconds + STALL_SECONDS) / HEAD_SECONDS):
                text = f"{count} heads of {chat_id} arrived within {seconds:.1f} s at the client of {user_id}"
                yield Violation(Kind.TOO_OFTEN, text)
                break


def _not_open(records: Records, live: Sequence[Delivery], membership: Membership, user_id: int) -> Iterator[Violation]:
    """Find the events in a session that has the channel not open, and that do not concern its user."""
    made = {each.key: each for each in records.made}
    changes = (made[key] for key, _ in records.received_changes.get(user_id, ()) if key in made)
    messages = (records.sent[each.copy.key] for each in live if each.copy.key in records.sent)
    for event in itertools.chain[Event](messages, changes):
        chat_id = event.change.chat_id if isinstance(event, Made) else event.chat_id
        if not membership.has_open(chat_id, user_id) and not concerns(event, user_id):
            text = f"{event.key[1]} of {event.key[0]} arrived at the client of {user_id}, which has {chat_id} not open"
            yield Violation(Kind.NOT_OPEN, text)
