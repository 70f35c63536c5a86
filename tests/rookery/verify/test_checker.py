"""The checker finds every planted violation, and none in correct records."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.client import Change, Event, FileRef, State, apply_change
from rookery.v1.session_pb2 import Archived, ChatPinned, Deleted, Edited, Reacted
from rookery.verify.checker import check_records
from rookery.verify.records import Copy, Delivery, FeedRead, FileRead, Listed, Made, Place, Records, Sent, by_key
from rookery.verify.violations import Kind

ADA, GRACE, EVE = 1, 2, 3
CHAT = "d-1-2"

OF_GROUPS = {Kind.OUTSIDE, Kind.FORKED, Kind.OTHER_MEMBERS, Kind.NOT_SHOWN, Kind.NOT_OPEN, Kind.TOO_OFTEN}
"""See test_membership.py and test_heads.py."""


def sent(sender: int, number: int, message_id: int, **other: object) -> Sent:
    """The sender's message of this number, accepted at once."""
    begun = float(message_id)
    values: dict[str, object] = {"at": begun, "accepted_at": begun + 0.5 if message_id else math.inf} | other
    recipient = GRACE if sender == ADA else ADA
    text = f"text {sender}-{number}"
    return Sent((sender, f"m{number}"), CHAT, recipient, text, number, message_id=message_id, **values)  # type: ignore[arg-type]


def copy_of(each: Sent, message_id: int = 0) -> Copy:
    return Copy(each.key, message_id or each.message_id, each.chat_id, each.text)


A0, G0, A1, G1, A2 = ALL = [
    sent(ADA, 0, 100), sent(GRACE, 0, 101), sent(ADA, 1, 102), sent(GRACE, 1, 103), sent(ADA, 2, 104),
]  # fmt: skip
KEPT = [copy_of(each) for each in ALL]
FROM_ADA = [copy_of(each) for each in (A0, A1, A2)]


def history(copies: Sequence[Copy], sent_messages: Sequence[Sent] = ALL) -> Records:
    return Records(by_key(sent_messages), histories={(ADA, CHAT): copies})


def listed(*chats: Listed) -> Records:
    return replace(history(KEPT), listed=chats)


def delivered(copies: Sequence[Copy], sent_messages: Sequence[Sent] = ALL) -> Records:
    """Live, to Grace."""
    return Records(by_key(sent_messages), deliveries={GRACE: [Delivery(copy, 0.0) for copy in copies]})


def changed(target: Sent, event_id: int, **body: Any) -> Made:
    """A change by the sender, accepted under this id."""
    change = Change(target_id=target.message_id, actor_id=target.key[0], client_change_id=f"c{event_id}", **body)
    return Made(target, change, event=Event(event_id=event_id, change=change))


def state(made: Made) -> dict[Place, State]:
    """The states of a client that knows only this change."""
    assert made.event is not None
    states: dict[Place, State] = {made.change.target_id: {}}
    apply_change(states[made.change.target_id], made.event)
    return states


def found(records: Records) -> list[tuple[Kind, str]]:
    return [(violation.kind, violation.text) for violation in check_records(records)]


def test_correct_records_have_no_violation() -> None:
    everyone = {(reader, CHAT): KEPT for reader in (ADA, GRACE)}
    deliveries = {GRACE: [Delivery(copy, 0.0) for copy in FROM_ADA], ADA: [Delivery(copy, 0.0) for copy in KEPT[1::2]]}
    lists = Listed(ADA, CHAT, 102, 102, 1), Listed(GRACE, CHAT, 0, 0, 3)
    assert check_records(Records(by_key(ALL), deliveries, everyone, lists)) == []
    assert check_records(Records({})) == []


def test_an_unanswered_message_may_be_stored_or_not() -> None:
    unanswered = [*ALL[:4], replace(A2, message_id=0, accepted_at=math.inf)]
    for copies in (KEPT, KEPT[:4]):
        assert check_records(history(copies, unanswered)) == []


def test_a_change_without_an_answer_may_be_made_or_not_and_a_reaction_may_come_after_the_deletion() -> None:
    edit = changed(A0, 200, edited=Edited())
    target = replace(A1, may_be_deleted=True)
    reaction = replace(changed(target, 201, reacted=Reacted()), event=None, refused="not_found")
    records = replace(history(KEPT), made=[replace(edit, event=None), reaction])
    assert check_records(records) == check_records(replace(records, states={ADA: state(edit)})) == []


@pytest.mark.parametrize(("event_id", "is_found"), [(199, False), (201, True)])
def test_the_state_of_a_chat_may_have_changes_of_earlier_runs(event_id: int, is_found: bool) -> None:
    mine, other = changed(A0, 200, archived=Archived(set=True)), changed(A0, event_id, chat_pinned=ChatPinned(set=True))
    for each in (mine, other):
        each.change.target_id, each.change.chat_id = 0, CHAT
    shown = Listed(ADA, CHAT, 0, 0, 2, changes=[event for event in (mine.event, other.event) if event])
    records = replace(history(KEPT), listed=[shown], made=[mine])
    assert [kind for kind, _ in found(records)] == [Kind.WRONG_STATE] * is_found


def planted() -> Iterator[tuple[str, Records, Kind, str]]:
    """A violation of each kind, in history and at a client."""
    first, second, third, *rest = KEPT
    yield "a loss", history([first, third, *rest]), Kind.LOST, "m0 of 2 was accepted, and is not in the history"
    yield "a copy", history([*KEPT, replace(first, message_id=200)]), Kind.TWICE_IN_HISTORY, "m0 of 1 is there 2 times"
    yield "one id twice", history([*KEPT[:4], replace(KEPT[4], message_id=103)]), Kind.TWICE_IN_HISTORY, "id 103 is"
    yield "another id", history([replace(first, message_id=99), *KEPT[1:]]), Kind.OTHER_ID, "accepted as 100 and is 99"
    yield "never sent", history([*KEPT, Copy((ADA, "m9"), 200, CHAT, "m9")]), Kind.NEVER_SENT, "m9 of 1, id 200"
    elsewhere = replace(first, chat_id="d-1-3")
    yield "another chat", history([elsewhere, *KEPT[1:]]), Kind.NEVER_SENT, "m0 of 1, id 100, does not belong"
    yield "another text", history([*KEPT[:4], replace(KEPT[4], text="x")]), Kind.CHANGED, "m2 of 1 has the text 'x'"
    yield "pages not by id", history([third, second, first, *rest]), Kind.OUT_OF_ORDER, "101 comes after 102"
    swapped = [replace(A0, message_id=102), G0, replace(A1, message_id=100), G1, A2]
    yield (
        "ids in another order",
        history(sorted((copy_of(each) for each in swapped), key=lambda copy: copy.message_id), swapped),
        Kind.OUT_OF_ORDER,
        "m0 of 1 comes after m1 of 1, and was sent before it",
    )
    yield "not delivered", delivered(FROM_ADA[:2]), Kind.NOT_DELIVERED, "m2 of 1 was accepted, and did not arrive"
    from_history = replace(delivered(FROM_ADA), missed={GRACE: [A2.key]})
    yield "after a Gap", from_history, Kind.NOT_DELIVERED, "m2 of 1 was sent after the last Gap, and did not arrive in"
    yield "delivered twice", delivered([*FROM_ADA, FROM_ADA[0]]), Kind.DELIVERED_TWICE, "m0 of 1 is there 2 times"
    again = replace(FROM_ADA[0], message_id=200)
    yield "delivered under two ids", delivered([*FROM_ADA, again]), Kind.DELIVERED_TWICE, "m0 of 1 is there 2 times"
    yield "delivered under another id", delivered([again, *FROM_ADA[1:]]), Kind.OTHER_ID, "accepted as 100 and is 200"
    yield (
        "delivered in another order",
        delivered([*FROM_ADA[1:], FROM_ADA[0]]),
        Kind.OUT_OF_ORDER,
        "m0 of 1 comes after m2",
    )
    yield (
        "delivered with another text",
        delivered([replace(FROM_ADA[0], text="x"), *FROM_ADA[1:]]),
        Kind.CHANGED,
        "has the text 'x'",
    )
    invented = Copy((EVE, "m0"), 200, "d-2-3", "spam")
    yield "delivered though never sent", delivered([*FROM_ADA, invented]), Kind.NEVER_SENT, "m0 of 3, id 200"
    for_other = Records(by_key(ALL), deliveries={EVE: [Delivery(FROM_ADA[0], 0.0)]})
    yield "delivered to another user", for_other, Kind.NEVER_SENT, "m0 of 1, id 100, does not belong at the client of 3"
    same = [A0, replace(A1, message_id=100, chat_id="d-1-3")]
    yield "one id for two", Records(by_key(same)), Kind.ID_TWICE, "m0 of 1 and m1 of 1 were both accepted as 100"
    refused = replace(A2, message_id=0, accepted_at=math.inf, retried=True)
    yield "always refused", Records(by_key([refused])), Kind.NOT_ACCEPTED, "m2 of 1 was refused"

    retried = [replace(each, retried=True) for each in (A0, A1)]
    late = [copy_of(retried[1], 100), copy_of(retried[0], 102)]
    yield "retried in another order", history(late, retried), Kind.OUT_OF_ORDER, "m0 of 1 comes after m1 of 1"
    forgotten = replace(A0, late_id=105), replace(A1, late_id=102), replace(A2, late_id=0)
    yield "a forgotten message", Records(by_key(forgotten)), Kind.OTHER_ANSWER, "as 100, and as 105 when"
    yield "no answer to a late retry", Records(by_key(forgotten)), Kind.OTHER_ANSWER, "as 104, and never again when"
    yield "a mark that is lost", listed(Listed(ADA, CHAT, 101)), Kind.NOT_MARKED, "up to 101, but up to 0 in the chat"
    yield "a mark that is too high", listed(Listed(ADA, CHAT, 101, 104)), Kind.NOT_MARKED, "up to 101, but up to 104 in"
    edit, deletion = changed(A0, 200, edited=Edited()), changed(A0, 201, deleted=Deleted())
    unchanged = history(KEPT)
    yield "a lost edit", replace(unchanged, made=[edit]), Kind.WRONG_STATE, "m0 of 1 is unchanged in the history of"
    at_eve = replace(unchanged, made=[edit], states={EVE: state(edit)})
    yield (
        "an edit at another user",
        at_eve,
        Kind.WRONG_STATE,
        "edited by 200 at the client of 3, and should be",
    )
    resurrected = replace(unchanged, made=[edit, deletion], states={GRACE: state(edit)})
    yield "an edit of a deleted message", resurrected, Kind.WRONG_STATE, "edited by 200 at the client of 2, and should"
    yield "a text of a deleted message", resurrected, Kind.NOT_REMOVED, "m0 of 1 is deleted, and has a text or a file"
    refused_edit = replace(unchanged, made=[replace(edit, event=None, refused="forbidden")])
    yield "a refused edit", refused_edit, Kind.NOT_ACCEPTED, "that m0 of 1 is edited by 1 was refused: forbidden"
    unanswered_edit = replace(unchanged, made=[replace(edit, event=None, retried=True)])
    yield "an edit without an answer", unanswered_edit, Kind.NOT_ACCEPTED, "that m0 of 1 is edited by 1 was refused or"
    twice = replace(unchanged, received_changes={GRACE: [(edit.key, 200)] * 2})
    yield (
        "an edit that is delivered twice",
        twice,
        Kind.DELIVERED_TWICE,
        "c200 of 1 is there 2 times at the client",
    )
    feed = replace(unchanged, answers={GRACE: [FeedRead(0.0, 0.0, 102, CHAT, 101)]})
    yield "an event that misses in the feed", feed, Kind.INCOMPLETE, "m1 of 1, id 102, is not in the changes of d-1-2"
    answers = [FeedRead(moment, moment, complete_up_to) for moment, complete_up_to in ((0.0, 9), (1.0, 8), (9.0, 8))]
    backwards = replace(unchanged, answers={GRACE: answers})
    yield "an id that goes back", backwards, Kind.WENT_BACK, "complete up to 8 for 2, after it was up to 9"
    removed = replace(history([KEPT[0], replace(KEPT[1], text=""), *KEPT[2:]]), listed=[Listed(ADA, CHAT, 100, 100, 2)])
    yield "unread though deleted", removed, Kind.MISCOUNTED, "has 1 unread messages in history, but 2"
    mention = changed(G1, 200, edited={"text": {"mentions_everyone": True}}).event
    mentioned = history([*KEPT[:3], replace(KEPT[3], changes=[mention] if mention else []), KEPT[4]])
    uncounted = replace(mentioned, listed=[Listed(ADA, CHAT, 0, 0, 2)])
    yield "a mention", uncounted, Kind.MISCOUNTED, "has 1 unread mentions in history, but 0"
    yield "other files", history([replace(first, files=((7, 5),)), *KEPT[1:]]), Kind.CHANGED, "m0 of 1 has other files"
    yield "an upload", replace(unchanged, not_uploaded=["f of 1"]), Kind.NOT_UPLOADED, "f of 1"
    for expected, read, kind in (
        *(("ab", "", Kind.NOT_READABLE), ("ab", None, Kind.NOT_READABLE), ("", None, Kind.NOT_READABLE)),
        *(("ab", "cd", Kind.OTHER_BYTES), ("", "ab", Kind.READABLE)),
    ):
        reads = [FileRead(EVE, A0.key, FileRef(file_id=7), expected, read)]
        yield f"a file, {expected} read as {read}", replace(unchanged, file_reads=reads), kind, "file 7 of m0 of 1"
    yield "unread", listed(Listed(ADA, CHAT, 100, 100, 1)), Kind.MISCOUNTED, "has 2 unread messages in history, but 1"


PLANTED = list(planted())


@pytest.mark.parametrize(("records", "kind", "text"), [pytest.param(*case[1:], id=case[0]) for case in PLANTED])
def test_a_planted_violation_is_found(records: Records, kind: Kind, text: str) -> None:
    assert any(each is kind and text in message for each, message in found(records)), found(records)


def test_a_violation_of_each_kind_was_planted() -> None:
    assert {kind for _, _, kind, _ in PLANTED} == set(Kind) - OF_GROUPS


def test_a_message_that_was_sent_again_too_late_has_no_order() -> None:
    messages = [replace(A0, message_id=105, is_overdue=True), G0, A1, G1, A2]
    assert check_records(history([copy_of(each) for each in [*messages[1:], messages[0]]], messages)) == []


def test_a_gap_may_be_filled_from_history_and_begins_the_order_anew() -> None:
    first, second, third = FROM_ADA
    after_the_gap = [
        Delivery(second, 0.0),
        Delivery(third, 1.0, gaps=1),
        Delivery(first, 2.0, gaps=1, is_live=False),
    ]
    assert check_records(Records(by_key(ALL), deliveries={GRACE: after_the_gap})) == []


def test_own_messages_may_come_from_another_session_or_a_replay() -> None:
    deliveries = {GRACE: [Delivery(copy, 0.0) for copy in KEPT]}
    assert check_records(Records(by_key(ALL), deliveries=deliveries)) == []


@given(st.permutations(range(5)), st.data())
def test_only_the_order_of_sending_is_correct_for_one_sender(places: Sequence[int], data: st.DataObject) -> None:
    messages = [sent(ADA, number, 100 + number) for number in range(5)]
    kept = data.draw(st.integers(1, 5))
    copies = [copy_of(messages[place]) for place in places][:kept]
    violations = [kind for kind, _ in found(delivered(copies, messages)) if kind is Kind.OUT_OF_ORDER]
    numbers = list(places)[:kept]
    assert bool(violations) == (numbers != sorted(numbers))
