"""Finds the broken promises in the records of a run. Pure: records in, violations out."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rookery.client import State
from rookery.verify.changes import Expected, describe
from rookery.verify.records import Copy, Delivery, Key, Listed, Made, Records, Sent


class Kind(StrEnum):
    """The kinds of violations, one for each promise."""

    NOT_ACCEPTED = "not accepted"
    """Neither at first nor on a retry, or a change that was refused for good."""
    LOST = "lost"
    """Accepted, and not in history."""
    NOT_DELIVERED = "not delivered"
    """Accepted, and neither delivered to the recipient's session nor read after a Gap."""
    TWICE_IN_HISTORY = "twice in history"
    DELIVERED_TWICE = "delivered twice"
    """To one client, after it has dropped repetitions by id and by author and client id."""
    OUT_OF_ORDER = "out of order"
    OTHER_ID = "other id"
    """Delivered or stored under another id than it was accepted with."""
    ID_TWICE = "id assigned twice"
    """To two messages, even of different chats: clients would drop one of them."""
    NEVER_SENT = "never sent"
    """At all, or in message chat, or to message user."""
    CHANGED = "changed"
    OTHER_ANSWER = "other answer"
    """To a retry of an accepted message, long after its acceptance."""
    NOT_MARKED = "not marked"
    """A chat list without the mark that the user has set."""
    MISCOUNTED = "unread miscounted"
    """In a chat list, against history."""
    WRONG_STATE = "wrong state"
    """A message that has become something else, in history or at a client, than its accepted changes make of it."""
    NOT_REMOVED = "not removed"
    """The text of a deleted message in history."""


MAX_UNREAD = 100
"""Up to this number unread messages are counted, among the newest `UNREAD_AMONG`: see archive.proto. Deleted messages
do not count."""

UNREAD_AMONG = 2_000


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def check_records(records: Records) -> list[Violation]:
    """Return every violation; an empty list if all promises were kept."""
    sent, expected = records.sent, Expected(records.made)
    by_chat, by_recipient = defaultdict[str, list[Sent]](list), defaultdict[int, list[Sent]](list)
    for each in sent.values():
        by_chat[each.chat_id].append(each)
        by_recipient[each.recipient_id].append(each)
    violations = [*_not_accepted(sent.values()), *_ids_assigned_twice(sent.values()), *_other_answers(sent.values())]
    for (reader, chat_id), copies in records.histories.items():
        violations += _check_history(sent, by_chat[chat_id], reader, chat_id, copies)
        violations += _check_changes(sent, expected, copies, f"in the history of {chat_id} as {reader} reads it")
    for user_id, deliveries in records.deliveries.items():
        violations += _check_deliveries(sent, by_recipient[user_id], user_id, deliveries)
    violations += _changes_not_accepted(records.made)
    for user_id, states in records.states.items():
        violations += _check_states(sent.values(), expected, user_id, states)
    for user_id, received in records.received_changes.items():
        violations += _repeated(Kind.DELIVERED_TWICE, received, f"at the client of {user_id}")
    for listed in records.listed:
        violations += _check_list(listed, records.histories.get((listed.user_id, listed.chat_id), ()))
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


def _other_answers(sent: Iterable[Sent]) -> Iterator[Violation]:
    for each in sent:
        if each.late_id is not None and each.late_id != each.message_id:
            answer = f"as {each.late_id}" if each.late_id else "never again"
            text = f"{_name(each.key)} was accepted as {each.message_id}, and {answer} when it was sent again later"
            yield Violation(Kind.OTHER_ANSWER, text)


# ---- history and chat lists


def _check_list(listed: Listed, copies: Iterable[Copy]) -> Iterator[Violation]:
    where = f"in the chat list of {listed.user_id}"
    if listed.read_up_to < listed.marked:
        text = f"{listed.chat_id} is read up to {listed.marked}, but up to {listed.read_up_to} {where}"
        yield Violation(Kind.NOT_MARKED, text)
        return
    kept = [copy for copy in copies if copy.text]  # not deleted
    above = sorted((copy.message_id, copy.key[0]) for copy in kept if copy.message_id > listed.read_up_to)
    unread = min(sum(sender != listed.user_id for _, sender in above[-UNREAD_AMONG:]), MAX_UNREAD)
    if listed.unread != unread:
        text = f"{listed.chat_id} has {unread} unread messages in history, but {listed.unread} {where}"
        yield Violation(Kind.MISCOUNTED, text)


def _check_history(
    sent: Mapping[Key, Sent], due: Iterable[Sent], reader: int, chat_id: str, copies: Sequence[Copy]
) -> Iterator[Violation]:
    where = f"in the history of {chat_id} as {reader} reads it"
    found = {copy.key for copy in copies}
    for each in due:
        if each.is_accepted and each.key not in found:
            yield Violation(Kind.LOST, f"{_name(each.key)} was accepted, and is not {where}")
    yield from _repeated(Kind.TWICE_IN_HISTORY, [(copy.key, copy.message_id) for copy in copies], where)
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
    yield from _repeated(Kind.DELIVERED_TWICE, [(copy.key, copy.message_id) for copy in copies], where)
    for copy in copies:
        known = sent.get(copy.key)
        is_due = known is not None and user_id in (known.recipient_id, copy.key[0])
        yield from _compare(known, copy, is_due=is_due, where=where)
    live = (delivery for delivery in deliveries if delivery.is_live)
    for _, between_gaps in itertools.groupby(live, key=lambda delivery: delivery.gaps):
        yield from _out_of_order(sent, [delivery.copy for delivery in between_gaps], where)


# ---- changes


def _changes_not_accepted(made: Iterable[Made]) -> Iterator[Violation]:
    for each in made:
        # A reaction may come after the deletion.
        if each.refused and not (each.refused == "not_found" and each.target.may_be_deleted):
            body = each.change.WhichOneof("body")
            text = f"that {_name(each.target.key)} is {body} by {each.change.actor_id} was refused: {each.refused}"
            yield Violation(Kind.NOT_ACCEPTED, text)


def _check_changes(
    sent: Mapping[Key, Sent], expected: Expected, copies: Iterable[Copy], where: str
) -> Iterator[Violation]:
    for copy in copies:
        if copy.key not in sent:
            continue
        if not expected.agrees(copy.message_id, copy.changes):
            yield _wrong_state(copy.key, describe(copy.changes), describe(expected.state(copy.message_id)), where)
        if copy.text and expected.is_deleted(copy.message_id):
            yield Violation(Kind.NOT_REMOVED, f"{_name(copy.key)} is deleted, and has a text {where}")


def _check_states(
    sent: Iterable[Sent], expected: Expected, user_id: int, states: Mapping[int, State]
) -> Iterator[Violation]:
    """Check the state of each accepted message at a client, which has none of messages in other users' chats."""
    for each in sent:
        if not each.is_accepted:
            continue
        state = states.get(each.message_id, {}).values()
        is_due = user_id in (each.recipient_id, each.key[0])
        if not expected.agrees(each.message_id, state) if is_due else state:
            right = describe(expected.state(each.message_id) if is_due else ())
            yield _wrong_state(each.key, describe(state), right, f"at the client of {user_id}")


def _wrong_state(key: Key, found: str, right: str, where: str) -> Violation:
    return Violation(Kind.WRONG_STATE, f"{_name(key)} is {found} {where}, and should be {right}")


# ---- history and deliveries


def _repeated(kind: Kind, events: Sequence[tuple[Key, int]], where: str) -> Iterator[Violation]:
    """Find the keys and the ids that more than one of the messages or changes has."""
    for key, count in Counter(key for key, _ in events).items():
        if count > 1:
            yield Violation(kind, f"{_name(key)} is there {count} times {where}")
    for event_id, count in Counter(event_id for _, event_id in events).items():
        if count > 1:
            yield Violation(kind, f"id {event_id} is there {count} times {where}")


def _compare(sent: Sent | None, copy: Copy, *, is_due: bool, where: str) -> Iterator[Violation]:
    """Compare a copy with the sent message, if it belongs there."""
    if sent is None or not is_due or copy.chat_id != sent.chat_id:
        yield Violation(Kind.NEVER_SENT, f"{_name(copy.key)}, id {copy.message_id}, does not belong {where}")
        return
    if copy.text != sent.text and not (sent.may_be_deleted and not copy.text):
        yield Violation(
            Kind.CHANGED, f"{_name(copy.key)} has the text {_short(copy.text)}, not {_short(sent.text)}, {where}"
        )
    if sent.is_accepted and copy.message_id != sent.message_id:
        yield Violation(
            Kind.OTHER_ID, f"{_name(copy.key)} was accepted as {sent.message_id} and is {copy.message_id} {where}"
        )


def _out_of_order(sent: Mapping[Key, Sent], copies: Iterable[Copy], where: str) -> Iterator[Violation]:
    """Find the messages that come after one which the sender sent to the chat after them.

    This holds for messages that were refused too: a client sends them again in order, and until then the session's
    later ones are refused, unless the client takes too long.
    """
    newest: dict[tuple[int, str], Sent] = {}
    for copy in copies:
        message = sent.get(copy.key)
        if message is None:
            continue
        before = newest.setdefault((message.key[0], message.chat_id), message)
        if message.number < before.number and not message.is_overdue:
            text = f"{_name(message.key)} comes after {_name(before.key)}, and was sent before it, {where}"
            yield Violation(Kind.OUT_OF_ORDER, text)
        if message.number > before.number:
            newest[message.key[0], message.chat_id] = message


def _name(key: Key) -> str:
    return f"{key[1]} of {key[0]}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
