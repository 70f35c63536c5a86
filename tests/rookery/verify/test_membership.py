"""Every planted violation of the membership of groups is found, and none in correct records."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from rookery.client import ROLE_ADMIN, ROLE_MEMBER, ROLE_OWNER, Change, Control, Event, Member, Span
from rookery.v1.session_pb2 import Deleted, Hidden, Reacted
from rookery.verify.checker import check_records
from rookery.verify.membership import UNKNOWN_SECONDS, UNRECORDED_SECONDS
from rookery.verify.records import (
    Copy,
    Delivery,
    FeedRead,
    GroupRecord,
    Listed,
    Made,
    Records,
    Sent,
    View,
    by_key,
    text_of,
)
from rookery.verify.violations import Kind

ADA, GRACE, EVE = 1, 2, 3
CHAT = "g-1"


def member(user_id: int, role: Any, version: int, *spans: tuple[int, int]) -> Member:
    return Member(user_id=user_id, role=role, version=version, spans=[Span(first=a, last=b) for a, b in spans])


def control(message_id: int, version: int, *members: Member) -> Sent:
    """A control change by Ada, accepted after half a second."""
    made = Control(version=version, members=members)
    return Sent(
        (ADA, f"c{version}"), CHAT, 0, text_of(made), -1, at=message_id, accepted_at=message_id + 0.5,
        message_id=message_id, is_overdue=True, control=made,
    )  # fmt: skip


def message(number: int, message_id: int, sender: int = ADA) -> Sent:
    key = sender, f"m{number}"
    return Sent(key, CHAT, 0, f"text {number}", number, message_id, accepted_at=message_id + 0.5, message_id=message_id)


EVE_JOINED, EVE_LEFT, EVE_CAME_BACK = [
    member(EVE, ROLE_MEMBER, 1, (10, 0)), member(EVE, 0, 2, (10, 20)), member(EVE, ROLE_MEMBER, 3, (10, 20), (30, 0)),
]  # fmt: skip
OWNER, OTHER = member(ADA, ROLE_OWNER, 1, (10, 0)), member(GRACE, ROLE_MEMBER, 1, (10, 0))
CREATED, REMOVED, ADDED = (
    control(10, 1, OWNER, OTHER, EVE_JOINED), control(20, 2, EVE_LEFT), control(30, 3, EVE_CAME_BACK),
)  # fmt: skip
M0, M1, M2 = message(0, 15), message(1, 25), message(2, 35)
ALL = sorted([CREATED, REMOVED, ADDED, M0, M1, M2], key=lambda each: each.message_id)
ROLES = {ADA: ROLE_OWNER, GRACE: ROLE_MEMBER, EVE: ROLE_MEMBER}
VIEWS = {ADA: View(3, OWNER, ROLES), GRACE: View(3, OTHER, ROLES), EVE: View(3, EVE_CAME_BACK, ROLES)}


def copy_of(each: Sent) -> Copy:
    return Copy(each.key, each.message_id, CHAT, each.text, each.mentions, control=each.control)


COPIES = [copy_of(each) for each in ALL]
EVES = [copy for copy in COPIES if not 20 < copy.message_id < 30]


def records(
    *,
    history: Mapping[int, list[Copy]] | None = None,
    live: Mapping[int, list[Copy]] | None = None,
    views: Mapping[int, View] = VIEWS,
    sent: list[Sent] = ALL,
    **other: Any,
) -> Records:
    """Correct ones, unless the test replaces a part."""
    histories = {ADA: COPIES, GRACE: COPIES, EVE: EVES} | dict(history or {})
    deliveries = {GRACE: COPIES, EVE: EVES} | dict(live or {})
    group = GroupRecord(CHAT, ADA, [each for each in sent if each.is_control], views)
    return Records(
        by_key(sent),
        {user: [Delivery(copy, 0.0) for copy in copies] for user, copies in deliveries.items()},
        {(user, CHAT): copies for user, copies in histories.items()},
        groups=[group],
        **other,
    )


def test_correct_records_have_no_violation() -> None:
    lists = [Listed(GRACE, CHAT, 0, 0, 4), Listed(EVE, CHAT, 15, 15, 2)]  # of hers, from her newest span on
    feed = {EVE: [FeedRead(0.0, 0.0, 40, CHAT, 10, [])]}
    assert check_records(records(listed=lists)) == []
    missing = sorted(each.text.partition(",")[0] for each in check_records(records(answers=feed)))
    assert missing == ["c2 of 1", "c3 of 1", "m0 of 1", "m2 of 1"]  # and not m1


@pytest.mark.parametrize(
    ("target", "event_id", "is_allowed"),
    [
        pytest.param(M0, 25, True, id="of a message that the member may read"),
        pytest.param(M1, 32, True, id="made while the user is a member"),
        pytest.param(M1, 26, False, id="neither"),
    ],
)
def test_the_changes_of_a_member_may_have_a_deletion_if_the_member_may_read_it_or_its_message(
    target: Sent, event_id: int, is_allowed: bool
) -> None:
    deleted = Change(chat_id=CHAT, target_id=target.message_id, actor_id=ADA, client_change_id="x", deleted=Deleted())
    event = Event(event_id=event_id, change=deleted)
    made = Made(target, deleted, at_ms=round(1000 * (21 + UNRECORDED_SECONDS)), event=event)
    answers = {EVE: [FeedRead(90.0, 90.0, 40, CHAT, 20, [event])]}
    outside = [each for each in check_records(records(made=[made], answers=answers)) if each.kind is Kind.OUTSIDE]
    assert not outside if is_allowed else outside


def test_unread_control_changes_beside_the_one_that_adds_the_user_are_found() -> None:
    found = check_records(records(listed=[Listed(GRACE, CHAT, 0, 0, 6)]))
    assert [each.text for each in found] == ["g-1 has 4 unread messages in history, but 6 in the chat list of 2"]


def test_a_former_member_has_no_unread_messages() -> None:
    left = [CREATED, M0, REMOVED]
    copies, roles = [copy_of(each) for each in left], {ADA: ROLE_OWNER, GRACE: ROLE_MEMBER}
    views = {ADA: View(2, OWNER, roles), GRACE: View(2, OTHER, roles), EVE: View(2, EVE_LEFT, {})}
    everywhere = {user: copies for user in ROLES}
    listed = [Listed(EVE, CHAT, 10, 10, unread) for unread in (0, 1)]
    found = check_records(records(sent=left, views=views, history=everywhere, live=everywhere, listed=listed))
    assert [each.text for each in found] == ["g-1 has 0 unread messages in history, but 1 in the chat list of 3"]


@pytest.mark.parametrize(("at", "is_found"), [(30.5 + UNKNOWN_SECONDS, False), (30.6 + UNKNOWN_SECONDS, True)])
def test_messages_that_are_sent_while_a_user_joins_may_reach_that_user_in_any_order(at: float, is_found: bool) -> None:
    first, second = replace(message(2, 35), at=at), replace(message(3, 36), at=at)
    copies = [copy_of(each) for each in (first, second)]
    live = {GRACE: [*COPIES[:-1], *copies], EVE: [*EVES[:-1], *reversed(copies)]}
    history = {ADA: [*COPIES[:-1], *copies], GRACE: [*COPIES[:-1], *copies], EVE: [*EVES[:-1], *copies]}
    sent = [*(each for each in ALL if each is not M2), first, second]
    found = check_records(records(live=live, history=history, sent=sent))
    assert [each.kind for each in found] == [Kind.OUT_OF_ORDER] * is_found


@pytest.mark.parametrize(("at", "is_found"), [(25, False), (30.6 + UNKNOWN_SECONDS, True)])
def test_a_message_has_no_order_if_its_sender_joined_after_sending_it_first(at: float, *, is_found: bool) -> None:
    """A client that did not receive the final refusal sends it again."""
    early, later = replace(message(3, 50, EVE), at=at), replace(message(4, 40, EVE), at=at)
    sent = [*ALL, later, early]
    copies = [*COPIES, copy_of(later), copy_of(early)]
    own = [*EVES, copy_of(later), copy_of(early)]
    found = check_records(records(live={GRACE: copies}, history={ADA: copies, GRACE: copies, EVE: own}, sent=sent))
    assert {each.kind for each in found} == ({Kind.OUT_OF_ORDER} if is_found else set())


def test_a_control_change_without_an_answer_may_be_made_or_not() -> None:
    unanswered = replace(ADDED, key=(ADA, "mine"), message_id=0, accepted_at=math.inf, control=None, text="")
    sent = [*(each for each in ALL if each is not ADDED), unanswered]
    assert check_records(records(sent=sent)) == []
    late = [each for each in check_records(records(sent=sent[:-1])) if each.kind is Kind.NEVER_SENT]
    assert "c3 of 1" in late[0].text


LATE = replace(M1, at=20.4)
"""Sent before the answer to Eve's removal."""


@pytest.mark.parametrize(
    ("sent", "is_live", "is_found"),
    [
        (LATE, True, False),
        (M1, True, True),
        (M1, False, False),  # archives may not have recorded the removal yet
        (replace(M1, at=20.6 + UNRECORDED_SECONDS), False, True),
    ],
)
def test_a_removed_user_may_get_what_was_sent_before_the_servers_could_know(
    sent: Sent, is_live: bool, is_found: bool
) -> None:
    made = records(sent=[sent if each is M1 else each for each in ALL])
    deliveries = [*made.deliveries[EVE], Delivery(copy_of(sent), 0.0, 1, is_live)]
    found = check_records(replace(made, deliveries={**made.deliveries, EVE: deliveries}))
    assert [violation.kind for violation in found] == [Kind.OUTSIDE] * is_found


def test_a_user_who_comes_back_by_a_link_is_judged_as_one_who_is_added() -> None:
    joined = replace(ADDED, key=(EVE, "c3"), retried=True)
    sent = [joined if each is ADDED else each for each in ALL]
    copies = [copy_of(each) for each in sent]
    own = [copy for copy in copies if not 20 < copy.message_id < 30]
    correct = records(sent=sent, history={ADA: copies, GRACE: copies, EVE: own}, live={GRACE: copies, EVE: own})
    assert check_records(correct) == []
    deliveries = {**correct.deliveries, EVE: [Delivery(copy, 0.0) for copy in copies]}
    assert [each.kind for each in check_records(replace(correct, deliveries=deliveries))] == [Kind.OUTSIDE]


@pytest.mark.parametrize(
    ("right", "wrong", "span"),
    [
        (ADDED, member(EVE, ROLE_MEMBER, 3, (10, 20), (29, 0)), "from 29 to now"),
        (ADDED, member(EVE, ROLE_MEMBER, 3, (10, 20), (30, 40)), "from 30 to 40"),
        (
            REMOVED,
            Member(user_id=EVE, former_role=ROLE_MEMBER, version=2, spans=[Span(first=10, last=21)]),
            "from 10 to 21",
        ),
    ],
)
def test_a_span_that_does_not_begin_or_end_with_its_control_change_is_found(
    right: Sent, wrong: Member, span: str
) -> None:
    assert right.control is not None
    made = control(right.message_id, right.control.version, wrong)
    sent = [made if each is right else each for each in ALL]
    found = [each for each in check_records(records(sent=sent)) if "joined or left" in each.text]
    text = f"3 joined or left g-1 by {right.message_id}, with a span {span}"
    assert [(each.kind, each.text) for each in found] == [(Kind.OTHER_MEMBERS, text)]


def planted() -> Iterator[tuple[str, Records, Kind, str]]:
    before = message(3, 5)
    yield "before joining", records(live={GRACE: [copy_of(before), *COPIES]}, sent=[*ALL, before]), Kind.OUTSIDE, "id 5"
    yield "in history", records(history={EVE: COPIES}), Kind.OUTSIDE, "m1 of 1, id 25, is in the history of g-1 as 3"
    yield "missed by a member", records(live={EVE: EVES[:-1]}), Kind.NOT_DELIVERED, "m2 of 1 was accepted, and did not"
    yield "missed in history", records(history={EVE: EVES[1:]}), Kind.LOST, "c1 of 1 was accepted, and is not in"
    other = copy_of(replace(ADDED, key=(ADA, "c9"), message_id=31))
    yield "a fork", records(live={GRACE: [*COPIES, other]}), Kind.FORKED, "g-1 has 30 and 31 as version 3"
    without = [copy for copy in COPIES if copy.message_id != 20]
    yield "a lost version", records(history={ADA: without}), Kind.FORKED, "the versions [1, 3] in the history"
    yield "a lost change", records(history={ADA: without}), Kind.LOST, "c2 of 1 was accepted, and is not in"
    changed = [replace(copy, text="control change 3 x") if copy.message_id == 30 else copy for copy in COPIES]
    yield "another change", records(live={GRACE: changed}), Kind.CHANGED, "c3 of 1 has the text"
    for name, view in (
        ("an old version", replace(VIEWS[GRACE], version=2)),
        ("another role", replace(VIEWS[GRACE], roles=ROLES | {EVE: ROLE_ADMIN})),
        ("another span", replace(VIEWS[EVE], own=EVE_LEFT)),
    ):
        views = VIEWS | {view.own.user_id: view}
        yield name, records(views=views), Kind.OTHER_MEMBERS, f"g-1 has for {view.own.user_id} version"
    unseen = {user_id: view for user_id, view in VIEWS.items() if user_id != EVE}
    yield "no answer", records(views=unseen), Kind.OTHER_MEMBERS, "g-1 has for 3 no answer, and should have version 3"
    again = replace(ADDED, at=32)
    yield "one answer for two", records(sent=[*ALL, again]), Kind.ID_TWICE, "c3 of 1 and c3 of 1 were both accepted as"
    body = Reacted(emoji="👍", set=True)
    reacted = Change(chat_id=CHAT, target_id=15, actor_id=ADA, client_change_id="x", reacted=body)
    reaction = Event(event_id=25, change=reacted)
    made = Made(M0, reacted, at_ms=round(1000 * (21 - M0.at + UNRECORDED_SECONDS)), event=reaction)
    feed = {EVE: [FeedRead(90.0, 90.0, 26, CHAT, 20, [reaction])]}
    yield "a change in a feed", records(made=[made], answers=feed), Kind.OUTSIDE, "x of 1, id 25, is in the changes of"
    hidden = Change(chat_id=CHAT, target_id=35, actor_id=ADA, client_change_id="y", hidden=Hidden(set=True))
    hiding = Event(event_id=40, change=hidden)
    private = Made(M2, hidden, event=hiding)
    leaked = records(made=[private], received_changes={EVE: [(private.key, 40)]})
    yield "a private change", leaked, Kind.OUTSIDE, "y of 1, which is private, is at the client of 3"
    leaked = records(made=[private], answers={EVE: [FeedRead(90.0, 90.0, 41, CHAT, 39, [hiding])]})
    yield "a private change in a feed", leaked, Kind.OUTSIDE, "y of 1, which is private, is in the changes of g-1 after"
    refusal = replace(ADDED, message_id=0, control=None, text="", refused="forbidden", key=(ADA, "c4"))
    yield "a refusal", records(sent=[*ALL, refusal]), Kind.NOT_ACCEPTED, "c4 of 1 was refused: forbidden"
    unanswered = replace(refusal, refused="", retried=True, accepted_at=math.inf)
    yield "without an answer", records(sent=[*ALL, unanswered]), Kind.NOT_ACCEPTED, "c4 of 1 was refused or not"
    refused = refused_message(GRACE, 25)
    yield "a refusal of a member", records(sent=[*ALL, refused]), Kind.NOT_ACCEPTED, "m9 of 2, a member of g-1, was"
    yield (
        "another code",
        records(sent=[*ALL, replace(refused_message(EVE, 25), refused="invalid")]),
        Kind.NOT_ACCEPTED,
        "m9 of 3",
    )


def refused_message(sender: int, at: float) -> Sent:
    return replace(
        message(9, 0, sender), at=at, accepted_at=math.inf, retried=True, refused="not_found", refused_at=at + 1
    )


PLANTED = list(planted())


@pytest.mark.parametrize(("made", "kind", "text"), [pytest.param(*case[1:], id=case[0]) for case in PLANTED])
def test_a_planted_violation_is_found(made: Records, kind: Kind, text: str) -> None:
    found = check_records(made)
    assert any(each.kind is kind and text in each.text for each in found), found


@pytest.mark.parametrize("at", [19.5, 25, 30.5 + UNKNOWN_SECONDS - 1])
def test_a_message_may_be_refused_if_its_sender_was_no_member_for_certain(at: float) -> None:
    assert check_records(records(sent=[*ALL, refused_message(EVE, at)])) == []
    certain = refused_message(EVE, 30.6 + UNKNOWN_SECONDS)
    assert [each.kind for each in check_records(records(sent=[*ALL, certain]))] == [Kind.NOT_ACCEPTED]
