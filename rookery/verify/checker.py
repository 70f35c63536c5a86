"""Finds the broken promises in the records of a run. Pure: records in, violations out.

Times are only used for order: a message that was accepted before another was sent precedes it.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rookery.verify.records import Copy, Delivery, Key, Records, Sent


class Kind(StrEnum):
    """The kinds of violations, one for each promise."""

    NOT_ACCEPTED = "not accepted"
    """Neither at first nor on a retry."""
    LOST = "lost"
    """Accepted, and not in history."""
    NOT_DELIVERED = "not delivered"
    """Accepted, and neither delivered to the recipient's session nor read after a Gap."""
    TWICE_IN_HISTORY = "twice in history"
    DELIVERED_TWICE = "delivered twice"
    """To one client, after it has dropped repetitions by id and by sender and client_message_id."""
    OUT_OF_ORDER = "out of order"
    OTHER_ID = "other id"
    """Delivered or stored under another id than it was accepted with."""
    ID_TWICE = "id assigned twice"
    """To two messages, even of different chats: clients would drop one of them."""
    NEVER_SENT = "never sent"
    """At all, or in message chat, or to message user."""
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def check_records(records: Records) -> list[Violation]:
    """Return every violation; an empty list if all promises were kept."""
    sent = records.sent
    by_chat, by_recipient = defaultdict[str, list[Sent]](list), defaultdict[int, list[Sent]](list)
    for each in sent.values():
        by_chat[each.chat_id].append(each)
        by_recipient[each.recipient_id].append(each)
    violations = [*_not_accepted(sent.values()), *_ids_assigned_twice(sent.values())]
    for (reader, chat_id), copies in records.histories.items():
        violations += _check_history(sent, by_chat[chat_id], reader, chat_id, copies)
    for user_id, deliveries in records.deliveries.items():
        violations += _check_deliveries(sent, by_recipient[user_id], user_id, deliveries)
    return violations


def _not_accepted(sent: Iterable[Sent]) -> Iterator[Violation]:
    for each in sent:
        if each.retried and not each.is_accepted:
            yield Violation(Kind.NOT_ACCEPTED, f"{_name(each.key)} was refused or not answered, and every retry too")


def _ids_assigned_twice(sent: Iterable[Sent]) -> Iterator[Violation]:
    first: dict[int, Sent] = {}
    for each in sent:
        if each.is_accepted and (other := first.setdefault(each.message_id, each)) is not each:
            text = f"{_name(other.key)} and {_name(each.key)} were both accepted as {each.message_id}"
            yield Violation(Kind.ID_TWICE, text)


# ---- history


def _check_history(
    sent: Mapping[Key, Sent], due: Iterable[Sent], reader: int, chat_id: str, copies: Sequence[Copy]
) -> Iterator[Violation]:
    where = f"in the history of {chat_id} as {reader} reads it"
    found = {copy.key for copy in copies}
    for each in due:
        if each.is_accepted and each.key not in found:
            yield Violation(Kind.LOST, f"{_name(each.key)} was accepted, and is not {where}")
    yield from _repeated(Kind.TWICE_IN_HISTORY, copies, where)
    for copy in copies:
        yield from _compare(sent.get(copy.key), copy, is_due=copy.chat_id == chat_id, where=where)
    for before, after in itertools.pairwise(copies):
        if after.message_id < before.message_id:
            yield Violation(Kind.OUT_OF_ORDER, f"{after.message_id} comes after {before.message_id} {where}")
    yield from _out_of_order(sent, sorted(copies, key=lambda copy: copy.message_id), where)


# ---- deliveries


def _check_deliveries(
    sent: Mapping[Key, Sent], due: Iterable[Sent], user_id: int, deliveries: Sequence[Delivery]
) -> Iterator[Violation]:
    where = f"at the client of {user_id}"
    found = {delivery.copy.key for delivery in deliveries}
    for each in due:
        if each.is_accepted and each.key not in found:
            yield Violation(Kind.NOT_DELIVERED, f"{_name(each.key)} was accepted, and did not arrive {where}")
    copies = [delivery.copy for delivery in deliveries]
    yield from _repeated(Kind.DELIVERED_TWICE, copies, where)
    for copy in copies:
        known = sent.get(copy.key)
        is_due = known is not None and user_id in (known.recipient_id, copy.key[0])
        yield from _compare(known, copy, is_due=is_due, where=where)
    live = (delivery for delivery in deliveries if delivery.is_live)
    for _, between_gaps in itertools.groupby(live, key=lambda delivery: delivery.gaps):
        yield from _out_of_order(sent, [delivery.copy for delivery in between_gaps], where)


# ---- history and deliveries


def _repeated(kind: Kind, copies: Sequence[Copy], where: str) -> Iterator[Violation]:
    for key, count in Counter(copy.key for copy in copies).items():
        if count > 1:
            yield Violation(kind, f"{_name(key)} is there {count} times {where}")
    for message_id, count in Counter(copy.message_id for copy in copies).items():
        if count > 1:
            yield Violation(kind, f"id {message_id} is there {count} times {where}")


def _compare(sent: Sent | None, copy: Copy, *, is_due: bool, where: str) -> Iterator[Violation]:
    """Compare a copy with the sent message, if it belongs there."""
    if sent is None or not is_due or copy.chat_id != sent.chat_id:
        yield Violation(Kind.NEVER_SENT, f"{_name(copy.key)}, id {copy.message_id}, does not belong {where}")
        return
    if copy.text != sent.text:
        yield Violation(
            Kind.CHANGED, f"{_name(copy.key)} has the text {_short(copy.text)}, not {_short(sent.text)}, {where}"
        )
    if sent.is_accepted and copy.message_id != sent.message_id:
        yield Violation(
            Kind.OTHER_ID, f"{_name(copy.key)} was accepted as {sent.message_id} and is {copy.message_id} {where}"
        )


def _out_of_order(sent: Mapping[Key, Sent], copies: Iterable[Copy], where: str) -> Iterator[Violation]:
    """Find the messages that must precede an earlier one of the same sender and chat."""
    newest: dict[tuple[int, str], tuple[Sent | None, Sent | None]] = {}
    for copy in copies:
        message = sent.get(copy.key)
        if message is None:
            continue
        place = (message.key[0], message.chat_id)
        last_numbered, last_begun = newest.get(place, (None, None))
        for before in (last_numbered, last_begun):
            if before is not None and _precedes(message, before):
                text = f"{_name(message.key)} comes after {_name(before.key)}, and was sent before it, {where}"
                yield Violation(Kind.OUT_OF_ORDER, text)
                break
        if not message.retried and (last_numbered is None or message.number > last_numbered.number):
            last_numbered = message
        if last_begun is None or message.at > last_begun.at:
            last_begun = message
        newest[place] = last_numbered, last_begun


def _precedes(message: Sent, other: Sent) -> bool:
    """Whether `message` must precede `other`: each was sent once, in order, or `other` after `message` was accepted.

    A retried message has no order with messages sent before its acceptance: the client chose to send it again later.
    """
    in_turn = not message.retried and not other.retried and message.number < other.number
    return in_turn or (message.accepted_at < math.inf and message.accepted_at < other.at)


def _name(key: Key) -> str:
    return f"{key[1]} of {key[0]}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
