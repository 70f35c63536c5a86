"""Every planted violation of the promises about channels is found, and none in correct records."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from rookery.client import Change, Event
from rookery.v1.session_pb2 import Edited, Hidden, Mention, Text
from rookery.verify.checker import check_records
from rookery.verify.records import Copy, FeedRead, GroupRecord, Head, Made, Records, Sent
from rookery.verify.violations import Kind, Violation
from tests.rookery.verify.test_membership import ADA, ALL, CHAT, COPIES, EVE, EVES, GRACE, M2, VIEWS, copy_of
from tests.rookery.verify.test_membership import records as records_of_group

CREATION, REMOVAL, RETURN = [copy for copy in COPIES if copy.control is not None]


def records(*, live: Sequence[Copy] = (), heads: Sequence[Head], **other: Any) -> Records:
    """Of a channel that only Ada has open. Grace was a member throughout, and gets nothing but `live` and `heads`; Eve
    gets what concerns her."""
    made = records_of_group(live={GRACE: [CREATION, *live], EVE: [CREATION, REMOVAL, RETURN]}, **other)
    group = GroupRecord(CHAT, ADA, made.groups[0].controls, VIEWS, [ADA, GRACE], open_at=[ADA])
    return replace(made, groups=[group], heads={GRACE: heads, EVE: [head(40, 41)]})


def head(newest_id: int, at: float, follows: int = 1) -> Head:
    return Head(CHAT, newest_id, at, follows)


NEWEST = head(35, 36)
MENTION = replace(M2, mentions=(GRACE,))
WITH_MENTION = [MENTION if each is M2 else each for each in ALL]
MENTIONED = {
    ADA: list(map(copy_of, WITH_MENTION)),
    GRACE: list(map(copy_of, WITH_MENTION)),
    EVE: [*EVES[:-1], copy_of(MENTION)],
}


def test_correct_records_have_no_violation() -> None:
    heads = [head(10, 11), head(20, 20.5), head(30, 31, follows=2), head(35, 36, follows=2)]
    assert check_records(records(heads=heads)) == []


def change(target: Sent, event_id: int, actor: int, **body: Any) -> Made:
    made = Made(target, Change(chat_id=CHAT, target_id=target.message_id, actor_id=actor, client_change_id="x", **body))
    made.event = Event(event_id=event_id, change=made.change)
    return made


def test_heads_may_arrive_at_once_after_a_stall() -> None:
    seconds = [0.0, 5.0, *[31.0] * 6, *range(35, 100, 5)]
    assert check_records(records(heads=[head(35, 36 + each) for each in seconds])) == []


def planted() -> Iterator[tuple[str, Records, Kind, str]]:
    yield "no head", records(heads=[head(30, 31)]), Kind.NOT_SHOWN, "id 35 is the newest event of g-1, and the client"
    edit = change(M2, 40, ADA, edited=Edited(text=Text(body="new")))
    yield "no head of a change", records(heads=[NEWEST], made=[edit]), Kind.NOT_SHOWN, "id 40 is the newest"
    yield "not open", records(heads=[NEWEST], live=[copy_of(M2)]), Kind.NOT_OPEN, "m2 of 1 arrived at the client of 2"
    received = {GRACE: [(edit.key, 40)]}
    unasked = records(heads=[NEWEST], made=[edit], received_changes=received)
    yield "a change, not open", unasked, Kind.NOT_OPEN, "x of 1 arrived at the client of 2, which has g-1 not open"
    hidden = change(M2, 39, ADA, hidden=Hidden(set=True))
    private = records(heads=[head(39, 41)], made=[hidden])
    yield "a private change", private, Kind.OUTSIDE, "x of 1, which is private, is the head of g-1"
    eves = replace(records(heads=[NEWEST]), heads={GRACE: [NEWEST], EVE: [head(25, 26), head(35, 36)]})
    yield "outside", eves, Kind.OUTSIDE, "m1 of 1, id 25, is the head of g-1 at the client of 3"
    often = [head(35, 36 + second) for second in range(12)]
    yield "too often", records(heads=often), Kind.TOO_OFTEN, "10 heads of g-1 arrived within 9.0 s at the client of 2"
    burst = [*([head(35, 36)] * 7), head(35, 96)]
    yield "a burst", records(heads=burst), Kind.TOO_OFTEN, "7 heads of g-1 arrived within 0.0 s at the client of 2"
    unseen = records(heads=[NEWEST], sent=WITH_MENTION, history=MENTIONED)
    yield "a mention", unseen, Kind.NOT_DELIVERED, "m2 of 1 was accepted, and did not arrive at the client of 2"
    at_end = {GRACE: [FeedRead(90, 91, 40, is_last=True)]}
    behind = records(heads=[], answers=at_end, behind={(GRACE, CHAT): M2.at - 1})
    yield "no head after a Gap", behind, Kind.NOT_SHOWN, "id 35 is the newest event of g-1"
    behind = replace(unseen, behind={(GRACE, CHAT): M2.at - 1})
    yield "a mention after a Gap", behind, Kind.NOT_DELIVERED, "m2 of 1 was accepted, and did not arrive"


def judge(made: Records) -> list[Violation]:
    """Without the states of messages, which the planted changes are not in."""
    return [each for each in check_records(made) if each.kind is not Kind.WRONG_STATE]


@pytest.mark.parametrize(("made", "kind", "text"), [pytest.param(*case[1:], id=case[0]) for case in planted()])
def test_a_planted_violation_is_found(made: Records, kind: Kind, text: str) -> None:
    found = judge(made)
    assert [each.kind for each in found] == [kind], found
    assert text in found[0].text


@pytest.mark.parametrize("until", [M2.at, math.inf])
def test_a_client_with_a_gap_need_not_know_what_came_before_it_follows_again(until: float) -> None:
    behind = {(GRACE, CHAT): until}
    assert judge(records(heads=[], sent=WITH_MENTION, history=MENTIONED, behind=behind)) == []


def test_a_client_gets_the_events_that_concern_its_user_and_knows_the_newest_by_them() -> None:
    live = [copy_of(MENTION)]
    assert judge(records(heads=[], live=live, sent=WITH_MENTION, history=MENTIONED)) == []
    edit = change(M2, 40, ADA, edited=Edited(text=Text(body="new", mentions=[Mention(user_id=GRACE)])))
    assert judge(records(heads=[], made=[edit], received_changes={GRACE: [(edit.key, 40)]})) == []
