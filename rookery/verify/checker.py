"""Finds the broken promises in the records of a run. Pure: records in, violations out."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from rookery.client import Event, State
from rookery.verify.changes import Expected, body_of, describe
from rookery.verify.heads import check_heads
from rookery.verify.membership import UNRECORDED_SECONDS, Membership, check_groups
from rookery.verify.records import Copy, Delivery, FeedRead, FileRead, Key, Listed, Made, Place, Records, Sent
from rookery.verify.violations import Kind, Violation
from shared.contract.ids import time_of

MAX_UNREAD = 100
"""Up to this number unread messages and mentions are counted, messages among the newest `UNREAD_AMONG`: see
archive.proto. Deleted messages do not count."""

UNREAD_AMONG = 2_000

LATE_MS = 9_000
"""The age of an id at its acceptance, from which on the event may be missing in a list of changes: a later list has it.
10 seconds, by docs/decisions/0033-feed.md, less the difference of clocks."""

STALE_SECONDS = 2.0
"""Seconds in which an archive may return a lower `complete_up_to` than another archive has returned before."""


def check_records(records: Records) -> list[Violation]:
    """Return every violation; an empty list if all promises were kept."""
    sent, membership = records.sent, Membership(records)
    expected, made = Expected(records.made, membership), {each.key: each for each in records.made}
    by_chat, by_recipient = defaultdict[str, list[Sent]](list), defaultdict[int, list[Sent]](list)
    for each in sent.values():
        by_chat[each.chat_id].append(each)
        for recipient_id in membership.recipients(each):
            by_recipient[recipient_id].append(each)
    controls = itertools.chain.from_iterable(group.controls for group in records.groups)
    events = [*(each for each in sent.values() if not each.is_control), *controls]  # two with one answer have one key
    violations = [*_not_accepted(sent.values()), *_ids_assigned_twice(events), *_other_answers(sent.values())]
    for (reader, chat_id), copies in records.histories.items():
        due_here = [each for each in by_chat[chat_id] if membership.allows(chat_id, reader, each.message_id)]
        violations += _check_history(sent, due_here, membership, reader, chat_id, copies)
        violations += _check_changes(
            sent, expected, reader, copies, f"in the history of {chat_id} as {reader} reads it"
        )
    for user_id, deliveries in records.deliveries.items():
        violations += _check_deliveries(sent, by_recipient[user_id], membership, user_id, deliveries)
        violations += _missed(by_recipient[user_id], membership, user_id, records.missed.get(user_id, ()))
    violations += _changes_not_accepted(records.made)
    for user_id, states in records.states.items():
        violations += _check_states(sent.values(), expected, membership, user_id, states)
    for user_id, received in records.received_changes.items():
        violations += _repeated(Kind.DELIVERED_TWICE, received, f"at the client of {user_id}")
        for key, event_id in received:
            if change := made.get(key):
                copy = Copy(key, event_id, change.change.chat_id, "")
                violations += membership.outside(change, copy, user_id, f"at the client of {user_id}", seconds=0.0)
    for listed in records.listed:
        member = membership.members(listed.chat_id).get(listed.user_id)
        counted_from = member.spans[-1].first if member is not None and member.spans else 0
        copies = records.histories.get((listed.user_id, listed.chat_id), ())
        if member is not None and not member.role:  # a former one, by a removal without an answer
            copies = ()
        violations += _check_list(listed, copies, counted_from)
        if not expected.agrees(listed.chat_id, listed.changes, listed.user_id):
            right = describe(expected.state(listed.chat_id, listed.user_id))
            violations.append(_wrong_state(listed.chat_id, describe(listed.changes), right, f"at {listed.user_id}"))
    due = _due_in_feeds(records)
    for user_id, answers in records.answers.items():
        violations += _went_back(user_id, answers)
        for answer in answers:
            allowed = (each for each in due[answer.chat_id] if membership.allows(answer.chat_id, user_id, each[0]))
            violations += _check_feed(records, membership, made, allowed, user_id, answer)
    violations += [*check_groups(records, membership), *check_heads(records, membership)]
    violations += [Violation(Kind.NOT_UPLOADED, text) for text in records.not_uploaded]
    return [*violations, *(violation for read in records.file_reads for violation in _check_read(read))]


def _not_accepted(sent: Iterable[Sent]) -> Iterator[Violation]:
    for each in sent:
        if each.retried and not each.is_accepted and not each.refused and not each.is_control:
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


def _check_list(listed: Listed, copies: Iterable[Copy], counted_from: int) -> Iterator[Violation]:
    """Compare the counts with history. `counted_from` is the control change by which the user became a member, or 0."""
    where = f"in the chat list of {listed.user_id}"
    if listed.read_up_to != listed.marked:  # a mark that is too high hides unread messages
        text = f"{listed.chat_id} is read up to {listed.marked}, but up to {listed.read_up_to} {where}"
        yield Violation(Kind.NOT_MARKED, text)
        return
    kept = [copy for copy in copies if copy.text and copy.message_id >= counted_from]  # not deleted
    above = sorted((copy for copy in kept if copy.message_id > listed.read_up_to), key=lambda copy: copy.message_id)
    newest = [copy for copy in above[-UNREAD_AMONG:] if copy.control is None or copy.message_id == counted_from]
    unread = sum(copy.key[0] != listed.user_id for copy in newest)
    mentions = sum(copy.key[0] != listed.user_id and copy.mentions_now(listed.user_id) for copy in above)
    for noun, right, shown in ("messages", unread, listed.unread), ("mentions", mentions, listed.unread_mentions):
        if shown != min(right, MAX_UNREAD):
            text = f"{listed.chat_id} has {right} unread {noun} in history, but {shown} {where}"
            yield Violation(Kind.MISCOUNTED, text)


def _check_history(
    sent: Mapping[Key, Sent],
    due: Iterable[Sent],
    membership: Membership,
    reader: int,
    chat_id: str,
    copies: Sequence[Copy],
) -> Iterator[Violation]:
    where = f"in the history of {chat_id} as {reader} reads it"
    found = {copy.key for copy in copies}
    for each in due:
        if each.is_accepted and each.key not in found:
            yield Violation(Kind.LOST, f"{_name(each.key)} was accepted, and is not {where}")
    yield from _repeated(Kind.TWICE_IN_HISTORY, [(copy.key, copy.message_id) for copy in copies], where)
    for copy in copies:
        if copy.key in sent or not membership.may_be_unanswered(copy):
            yield from _compare(sent.get(copy.key), copy, is_due=copy.chat_id == chat_id, where=where)
        yield from membership.outside(sent.get(copy.key), copy, reader, where, seconds=None)
    for before, after in itertools.pairwise(copies):
        if after.message_id < before.message_id:
            yield Violation(Kind.OUT_OF_ORDER, f"{after.message_id} comes after {before.message_id} {where}")
    yield from _out_of_order(sent, membership, sorted(copies, key=lambda copy: copy.message_id), where)


# ---- deliveries


def _check_deliveries(
    sent: Mapping[Key, Sent], due: Iterable[Sent], membership: Membership, user_id: int, deliveries: Sequence[Delivery]
) -> Iterator[Violation]:
    where = f"at the client of {user_id}"
    found = {delivery.copy.key for delivery in deliveries}
    for each in due:
        if each.is_accepted and each.key not in found:
            yield Violation(Kind.NOT_DELIVERED, f"{_name(each.key)} was accepted, and did not arrive {where}")
    copies = [delivery.copy for delivery in deliveries]
    yield from _repeated(Kind.DELIVERED_TWICE, [(copy.key, copy.message_id) for copy in copies], where)
    for delivery in deliveries:
        copy, known = delivery.copy, sent.get(delivery.copy.key)
        is_due = known is not None and (not known.recipient_id or user_id in (known.recipient_id, copy.key[0]))
        if known is not None or not membership.may_be_unanswered(copy):
            yield from _compare(known, copy, is_due=is_due, where=where)
        seconds = 0.0 if delivery.is_live else UNRECORDED_SECONDS
        yield from membership.outside(known, copy, user_id, where, seconds=seconds)
    live = (delivery for delivery in deliveries if delivery.is_live)
    for _, between_gaps in itertools.groupby(live, key=lambda delivery: delivery.gaps):
        ours = (each.copy for each in between_gaps if each.copy.key in sent and each.has_order)
        timely = (copy for copy in ours if not membership.may_come_late(sent[copy.key], user_id))
        yield from _out_of_order(sent, membership, timely, where)


def _missed(due: Iterable[Sent], membership: Membership, user_id: int, keys: Collection[Key]) -> Iterator[Violation]:
    """Find the messages that a client has read from history at the end only, and that its session must have had."""
    for each in due:
        if each.is_accepted and each.key in keys and not membership.may_come_late(each, user_id):
            text = f"{_name(each.key)} was sent after the last Gap, and did not arrive in the session of {user_id}"
            yield Violation(Kind.NOT_DELIVERED, text)


# ---- changes


def _changes_not_accepted(made: Iterable[Made]) -> Iterator[Violation]:
    for each in made:
        change = f"that {_name(each.target.key)} is {each.change.WhichOneof('body')} by {each.change.actor_id}"
        if each.refused == "not_found" and each.target.may_be_deleted:
            pass  # a reaction may come after the deletion
        elif each.refused:
            yield Violation(Kind.NOT_ACCEPTED, f"{change} was refused: {each.refused}")
        elif each.retried and each.event is None:
            yield Violation(Kind.NOT_ACCEPTED, f"{change} was refused or not answered, and every retry too")


def _check_changes(
    sent: Mapping[Key, Sent], expected: Expected, reader: int, copies: Iterable[Copy], where: str
) -> Iterator[Violation]:
    for copy in copies:
        if copy.key not in sent:
            continue
        if not expected.agrees(copy.message_id, copy.changes, reader):
            right = describe(expected.state(copy.message_id, reader))
            yield _wrong_state(_name(copy.key), describe(copy.changes), right, where)
        if (copy.text or copy.files) and expected.is_deleted(copy.message_id):
            yield Violation(Kind.NOT_REMOVED, f"{_name(copy.key)} is deleted, and has a text or a file {where}")


def _check_states(
    sent: Iterable[Sent], expected: Expected, membership: Membership, user_id: int, states: Mapping[Place, State]
) -> Iterator[Violation]:
    """Check the state of each accepted message and of its chat at a client, which has none of other users' chats. Not
    in a group of which its user was a member at some times only: it has an unknown part of the changes."""
    places: dict[Place, tuple[str, bool]] = {}
    for each in sent:
        if each.is_accepted and (is_due := membership.has_changes(each, user_id)) is not None:
            places[each.message_id], places[each.chat_id] = (_name(each.key), is_due), (each.chat_id, is_due)
    for place, (name, is_due) in places.items():
        state = states.get(place, {}).values()
        if not expected.agrees(place, state, user_id) if is_due else state:
            right = describe(expected.state(place, user_id) if is_due else ())
            yield _wrong_state(name, describe(state), right, f"at the client of {user_id}")


def _wrong_state(name: str, found: str, right: str, where: str) -> Violation:
    return Violation(Kind.WRONG_STATE, f"{name} is {found} {where}, and should be {right}")


# ---- files


def _check_read(read: FileRead) -> Iterator[Violation]:
    file = f"file {read.ref.file_id} of {_name(read.key)}"
    if read.found is None:
        yield Violation(Kind.NOT_READABLE, f"{read.user_id} got no answer for {file}")
    elif read.expected and not read.found:
        yield Violation(Kind.NOT_READABLE, f"{read.user_id} can't read {file}")
    elif read.found and not read.expected:
        yield Violation(Kind.READABLE, f"{read.user_id} can read {file}, which they may not")
    elif read.found != read.expected:
        yield Violation(Kind.OTHER_BYTES, f"{read.user_id} reads {file} with other bytes")


# ---- lists of changes


def _due_in_feeds(records: Records) -> Mapping[str, list[tuple[int, str, int]]]:
    """By chat, the id and the name of each event that lists of its changes must have, and the user it is private to, or
    0. Not the late ones, which later lists have, and not the events that a deletion may have removed."""
    due = defaultdict[str, list[tuple[int, str, int]]](list)
    for sent in records.sent.values():
        if sent.is_accepted and sent.accepted_ms - time_of(sent.message_id) < LATE_MS:
            due[sent.chat_id].append((sent.message_id, _name(sent.key), 0))
    for made in records.made:
        event, is_removed = made.event, made.change.target_id and made.target.may_be_deleted
        if event is not None and not is_removed and made.accepted_ms - time_of(event.event_id) < LATE_MS:
            viewer = made.change.actor_id if made.is_private else 0
            due[made.change.chat_id].append((event.event_id, _name(made.key), viewer))
    return due


def _check_feed(
    records: Records,
    membership: Membership,
    made: Mapping[Key, Made],
    due: Iterable[tuple[int, str, int]],
    user_id: int,
    answer: FeedRead,
) -> Iterator[Violation]:
    """Check a list of changes against all accepted events."""
    where = f"in the changes of {answer.chat_id} after {answer.after} as {user_id} reads them"
    found = {event.event_id for event in answer.events}
    for event_id, name, viewer in due:
        if answer.after < event_id <= answer.complete_up_to and event_id not in found and viewer in (0, user_id):
            yield Violation(Kind.INCOMPLETE, f"{name}, id {event_id}, is not {where}, up to {answer.complete_up_to}")
    for event in answer.events:
        if event.HasField("message"):
            copy = Copy.of(event.message)
            if copy.key in records.sent:
                yield from _compare(records.sent[copy.key], copy, is_due=copy.chat_id == answer.chat_id, where=where)
        elif change := made.get((event.change.actor_id, event.change.client_change_id)):
            yield from _compare_change(change, event, where)
            if not membership.shows_deletion(event.change, user_id):
                copy = Copy(change.key, event.event_id, answer.chat_id, "")
                yield from membership.outside(change, copy, user_id, where, seconds=UNRECORDED_SECONDS)


def _compare_change(made: Made, event: Event, where: str) -> Iterator[Violation]:
    if made.event is not None and event.event_id != made.event.event_id:
        text = f"{_name(made.key)} was accepted as {made.event.event_id} and is {event.event_id} {where}"
        yield Violation(Kind.OTHER_ID, text)
    if event.change.WhichOneof("body") and body_of(event.change) != body_of(made.change):
        yield Violation(Kind.CHANGED, f"{_name(made.key)} has another body {where}")


def _went_back(user_id: int, answers: Sequence[FeedRead]) -> Iterator[Violation]:
    known = [answer for answer in answers if answer.complete_up_to]
    highest, earlier = 0, iter(sorted(known, key=lambda answer: answer.at))
    before = next(earlier, None)
    for answer in sorted(known, key=lambda answer: answer.asked_at):
        while before is not None and before.at < answer.asked_at - STALE_SECONDS:
            highest, before = max(highest, before.complete_up_to), next(earlier, None)
        if answer.complete_up_to < highest:
            text = f"history is complete up to {answer.complete_up_to} for {user_id}, after it was up to {highest}"
            yield Violation(Kind.WENT_BACK, text)


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
    if sent.may_be_deleted and not copy.text:
        pass
    elif copy.text != sent.text and sent.text:
        yield Violation(
            Kind.CHANGED, f"{_name(copy.key)} has the text {_short(copy.text)}, not {_short(sent.text)}, {where}"
        )
    elif (copy.mentions, copy.forwarded) != (sent.mentions, sent.forwarded):
        yield Violation(Kind.CHANGED, f"{_name(copy.key)} has other mentions or is not as it was forwarded {where}")
    elif copy.files != tuple((file.ref.file_id, file.size) for file in sent.files):
        yield Violation(Kind.CHANGED, f"{_name(copy.key)} has other files {where}")
    if sent.is_accepted and copy.message_id != sent.message_id:
        yield Violation(
            Kind.OTHER_ID, f"{_name(copy.key)} was accepted as {sent.message_id} and is {copy.message_id} {where}"
        )


def _out_of_order(
    sent: Mapping[Key, Sent], membership: Membership, copies: Iterable[Copy], where: str
) -> Iterator[Violation]:
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
        if message.number < before.number and membership.has_order(message):
            ids = f"ids {message.message_id} and {before.message_id}"
            moments = f"accepted at {message.accepted_at:.2f} and {before.accepted_at:.2f} s"
            text = f"{_name(message.key)} comes after {_name(before.key)}, and was sent before it, {where}"
            yield Violation(Kind.OUT_OF_ORDER, f"{text}: {ids}, {moments}")
        if message.number > before.number:
            newest[message.key[0], message.chat_id] = message


def _name(key: Key) -> str:
    return f"{key[1]} of {key[0]}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
