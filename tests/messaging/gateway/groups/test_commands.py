"""Who may change a group how, and what every sequence of commands keeps true."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from messaging.gateway.groups.commands import decide, looked_up_asking
from messaging.gateway.groups.forms import check, is_result, looked_up_users, named_users
from rookery.v1.group_service_pb2 import ChangeGroupRequest
from rookery.v1.groups_pb2 import ROLE_ADMIN, ROLE_GUEST, ROLE_MEMBER, ROLE_OWNER, Control, Span
from shared.contract.errors import Code, Refusal
from shared.contract.groups import (
    ALL_PERMISSIONS,
    DEFAULT_PERMISSIONS,
    MAX_ASKING,
    MAX_CHANNEL_MEMBERS,
    MAX_EVER,
    MAX_INVITE_MS,
    MAX_INVITES,
    MAX_MEMBERS,
    MAX_SPANS,
    Permission,
    Roster,
    audience,
    found_members,
)
from shared.contract.ids import EPOCH_MS, first_id_at
from shared.contract.joining import NO_LINK, secret_hash
from tests.messaging.gateway.groups.test_forms import ANN, added, change, creation, invite, joined
from tests.messaging.gateway.groups.test_forms import settings as new_settings
from tests.messaging.gateway.harness import looked_up, stored_group

OWNER, ADMIN, OTHER_ADMIN, MEMBER, OTHER, GUEST, LEFT, STRANGER = 1, 2, 3, 4, 5, 6, 7, 8
DELETE, MANAGE, POST = (int(each) for each in (Permission.DELETE_MESSAGES, Permission.MANAGE, Permission.POST))


def made(request: ChangeGroupRequest, user_id: int, roster: Roster, event_id: int = 0) -> Control:
    control = decide(request, user_id, roster, event_id or roster.version + 1)
    assert isinstance(control, Control), control
    return control


def removed(user_id: int) -> ChangeGroupRequest:
    return change(remove_member={"user_id": user_id})


def changed(user_id: int, **values: int) -> ChangeGroupRequest:
    return change(change_member={"user_id": user_id, **values})


def declined(user_id: int) -> ChangeGroupRequest:
    return change(decline_user={"user_id": user_id})


def revoked(invite_id: int) -> ChangeGroupRequest:
    return change(revoke_invite={"invite_id": invite_id})


def group(*later: tuple[int, ChangeGroupRequest]) -> Roster:
    """A group with a user of each role, after these requests."""
    roster = Roster.empty("g-7")
    for user_id, request in (
        (OWNER, creation("a", *range(ADMIN, LEFT + 1))),
        (OWNER, changed(ADMIN, role=ROLE_ADMIN)),
        (OWNER, changed(OTHER_ADMIN, role=ROLE_ADMIN)),
        (OWNER, changed(GUEST, role=ROLE_GUEST)),
        (LEFT, removed(LEFT)),
        *later,
    ):
        roster = roster.after(made(request, user_id, roster))
    return roster


def by(*user_ids: int) -> frozenset[int]:
    return frozenset(user_ids)


NOT_FOUND = {STRANGER: ("not_found", "chat_id"), LEFT: ("not_found", "chat_id")}
"""Whatever they request."""


@pytest.mark.parametrize(
    ("request_", "allowed", "words"),
    [
        (added(STRANGER), by(OWNER, ADMIN, MEMBER), "add members"),
        (new_settings(name="x"), by(OWNER, ADMIN, MEMBER), "the name, the topic"),
        (new_settings(avatar="g-7.x"), by(OWNER, ADMIN, MEMBER), "the name, the topic"),
        (new_settings(permissions=1), by(OWNER, ADMIN), "manage roles"),
        (new_settings(name="x", shows_history=True), by(OWNER, ADMIN), "the name, the topic"),
        (removed(OTHER), by(OWNER, ADMIN), "remove members"),
        (removed(GUEST), by(OWNER, ADMIN, GUEST), "remove members"),
        (removed(OTHER_ADMIN), by(OWNER), ""),
        (removed(OWNER), by(), ""),
        (changed(OTHER, role=ROLE_ADMIN), by(OWNER, ADMIN), "manage roles"),
        (changed(OTHER, role=ROLE_OWNER), by(OWNER), ""),
        (changed(GUEST, role=ROLE_MEMBER), by(OWNER, ADMIN), ""),
        (changed(OTHER_ADMIN, role=ROLE_MEMBER), by(OWNER), ""),
        (changed(OTHER_ADMIN, deny=MANAGE), by(OWNER), ""),
        (changed(OWNER, role=ROLE_MEMBER), by(), ""),
        (changed(ADMIN, role=ROLE_MEMBER), by(OWNER), ""),
        (changed(OTHER, allow=DELETE, deny=POST), by(OWNER, ADMIN), ""),
        (new_settings(is_public=True), by(OWNER, ADMIN), "manage roles"),
        (new_settings(asks_to_join=True), by(OWNER, ADMIN), "manage roles"),
        (new_settings(is_channel=True), by(OWNER, ADMIN), "manage roles"),
        (invite(), by(OWNER, ADMIN, MEMBER), "add members"),
    ],
)
def test_who_may_change_what(request_: ChangeGroupRequest, allowed: frozenset[int], words: str) -> None:
    roster = group()
    for user_id in (OWNER, ADMIN, MEMBER, GUEST, LEFT, STRANGER):
        decided = decide(request_, user_id, roster, 99)
        if user_id in allowed:
            assert isinstance(decided, Control), (user_id, decided)
            continue
        assert isinstance(decided, Refusal), user_id
        code, field = NOT_FOUND.get(user_id, ("forbidden", decided.field))
        assert (decided.code, decided.field) == (code, field)
        if user_id == GUEST:
            assert words in decided.message


LINK = (OTHER, invite())
"""The sixth change of a group: an invite link with the secret "s"."""

PUBLIC, ASKS = (OWNER, new_settings(is_public=True)), (OWNER, new_settings(asks_to_join=True))
ASKED = (STRANGER, joined())
CHANNEL = (OWNER, new_settings(is_channel=True))


MANAGER = (OWNER, changed(MEMBER, allow=MANAGE))
"""A member who may manage, without the permissions of admins."""


@pytest.mark.parametrize(
    ("later", "user_id", "request_", "code", "field"),
    [
        ([MANAGER], MEMBER, changed(GUEST, allow=DELETE), Code.FORBIDDEN, "allow"),
        ([MANAGER], MEMBER, changed(GUEST, role=ROLE_ADMIN), Code.FORBIDDEN, "role"),
        ([MANAGER], MEMBER, changed(OTHER, role=ROLE_GUEST), Code.FORBIDDEN, "user_id"),
        ([MANAGER], MEMBER, new_settings(permissions=255), Code.FORBIDDEN, "permissions"),
        (
            [MANAGER, (OWNER, changed(MEMBER, deny=POST)), (OWNER, changed(GUEST, deny=POST))],
            *(MEMBER, changed(GUEST, deny=0), Code.FORBIDDEN, "deny"),
        ),
        ([(OWNER, changed(ADMIN, deny=DELETE))], ADMIN, changed(OTHER, role=ROLE_ADMIN), Code.FORBIDDEN, "role"),
        ([(OWNER, changed(GUEST, allow=8))], GUEST, added(STRANGER), Code.FORBIDDEN, "role"),
        ([(OWNER, changed(GUEST, allow=8))], GUEST, invite(), Code.FORBIDDEN, ""),
        ([], OWNER, removed(OWNER), Code.FORBIDDEN, "user_id"),
        ([], OWNER, added(STRANGER, OTHER), Code.INVALID, "user_ids[1]"),
        ([], OWNER, removed(LEFT), Code.NOT_FOUND, "user_id"),
        ([], OWNER, changed(STRANGER, role=ROLE_GUEST), Code.NOT_FOUND, "user_id"),
        ([], OWNER, changed(OTHER, role=ROLE_MEMBER, deny=0), Code.INVALID, "deny"),
        ([], OWNER, new_settings(name="Walks", topic=""), Code.INVALID, "name"),
        ([CHANNEL], OWNER, new_settings(is_channel=True), Code.INVALID, "is_channel"),
        ([CHANNEL], OWNER, removed(OWNER), Code.FORBIDDEN, "user_id"),
        ([], OWNER, creation(), Code.VERSION_CONFLICT, "client_change_id"),
        ([LINK], STRANGER, joined("other"), Code.NOT_FOUND, "token"),
        ([LINK], STRANGER, joined(), Code.NOT_FOUND, "chat_id"),
        ([PUBLIC], STRANGER, joined("s"), Code.NOT_FOUND, "token"),
        ([LINK], MEMBER, joined("s"), Code.INVALID, ""),
        ([PUBLIC], MEMBER, joined(), Code.INVALID, ""),
        ([PUBLIC, ASKS, ASKED], STRANGER, joined(), Code.INVALID, ""),
        ([LINK, (ADMIN, revoked(6))], STRANGER, joined("s"), Code.NOT_FOUND, "token"),
        ([LINK, (ADMIN, changed(OTHER, deny=8))], STRANGER, joined("s"), Code.NOT_FOUND, "token"),
        ([LINK, (OWNER, changed(OTHER, role=ROLE_GUEST, allow=8))], STRANGER, joined("s"), Code.NOT_FOUND, "token"),
        ([LINK, (OTHER, removed(OTHER))], OTHER, joined("s"), Code.NOT_FOUND, "token"),
        ([(OTHER, invite(max_uses=1)), (LEFT, joined("s"))], STRANGER, joined("s"), Code.NOT_FOUND, "token"),
        ([(OTHER, invite(expires_at_ms=EPOCH_MS + 1))], STRANGER, joined("s"), Code.NOT_FOUND, "token"),
        ([PUBLIC, ASKS], OWNER, declined(STRANGER), Code.NOT_FOUND, "user_id"),
        ([PUBLIC, ASKS, ASKED], GUEST, declined(STRANGER), Code.FORBIDDEN, ""),
        ([PUBLIC, ASKS, ASKED], STRANGER, added(LEFT), Code.NOT_FOUND, "chat_id"),
        ([PUBLIC, ASKS, ASKED], LEFT, declined(LEFT), Code.NOT_FOUND, "chat_id"),
        ([], OWNER, declined(OWNER), Code.NOT_FOUND, "user_id"),
        ([PUBLIC, ASKS, ASKED], 9, declined(9), Code.NOT_FOUND, "chat_id"),
        ([], OWNER, revoked(6), Code.NOT_FOUND, "invite_id"),
        ([LINK], MEMBER, revoked(6), Code.FORBIDDEN, "invite_id"),
        ([LINK, (OTHER, revoked(6))], OTHER, revoked(6), Code.INVALID, "invite_id"),
        ([], OWNER, invite(expires_at_ms=EPOCH_MS), Code.INVALID, "expires_at_ms"),
        ([], OWNER, invite(expires_at_ms=EPOCH_MS + 366 * 24 * 3_600_000), Code.INVALID, "expires_at_ms"),
    ],
)
def test_a_request_is_refused_with_its_field(
    later: Iterable[tuple[int, ChangeGroupRequest]], user_id: int, request_: ChangeGroupRequest, code: Code, field: str
) -> None:
    decided = decide(request_, user_id, group(*later), first_id_at(EPOCH_MS + 1))
    assert isinstance(decided, Refusal)
    assert (decided.code, decided.field) == (code, field)


def test_a_guest_who_may_add_members_adds_guests() -> None:
    roster = group((OWNER, changed(GUEST, allow=int(Permission.ADD_MEMBERS))))
    assert made(added(STRANGER, role=ROLE_GUEST), GUEST, roster).members[0].role == ROLE_GUEST


def test_a_group_has_a_limit_of_members_and_of_all_who_ever_were() -> None:
    """Who makes it a channel can go on."""
    roster = group((OWNER, added(*range(100, 100 + MAX_MEMBERS - 6))))
    refusal = decide(added(STRANGER), OWNER, roster, 99)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == (Code.TOO_LARGE, "user_ids")
    assert refusal.message == f"A group has {MAX_MEMBERS} members at most: make it a channel first."
    channel = roster.after(made(CHANNEL[1], OWNER, roster))
    assert made(added(*range(2_000, 2_999)), OWNER, channel).member_count == MAX_MEMBERS + 999
    channel.member_count = MAX_CHANNEL_MEMBERS - 1
    made(added(STRANGER), OWNER, channel)
    refusal = decide(added(STRANGER, LEFT), OWNER, channel, 99)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.message) == (Code.TOO_LARGE, "A channel has 100000 members at most.")
    former = roster.members[LEFT]
    roster = group()
    roster.members = {**roster.members, **dict.fromkeys(range(100, 100 + MAX_EVER - 7), former)}
    made(added(LEFT), OWNER, roster)
    refusal = decide(added(LEFT, STRANGER), OWNER, roster, 99)
    assert isinstance(refusal, Refusal)
    assert str(MAX_EVER) in refusal.message
    channel = roster.after(made(CHANNEL[1], OWNER, roster))
    made(added(LEFT, STRANGER), OWNER, channel)


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("user_id", [STRANGER, LEFT])
def test_a_use_of_an_invite_link_is_counted_with_the_user_who_joins_or_asks_by_it(user_id: int, asks: bool) -> None:
    roster = group(LINK, *([ASKS] if asks else []))
    control = made(joined("s"), user_id, roster)
    (member,) = control.members
    assert (member.role, bool(member.asked_at_ms)) == ((0, True) if asks else (ROLE_MEMBER, False))
    assert (member.invite_id, control.invites[0].uses) == (6, 1)
    roster = roster.after(control)
    if asks:
        roster = roster.after(made(added(user_id), MEMBER, roster))
    assert user_id in roster.present
    assert not roster.members[user_id].asked_at_ms


def test_who_asked_to_join_is_declined_or_takes_it_back_and_may_ask_again() -> None:
    roster = group(PUBLIC, ASKS)
    for user_id in (MEMBER, STRANGER):
        roster = roster.after(made(joined(), STRANGER, roster))
        roster = roster.after(made(declined(STRANGER), user_id, roster))
        assert STRANGER not in roster.members


def test_a_request_that_is_taken_back_or_declined_gives_its_use_of_the_link_back() -> None:
    roster = group((OTHER, invite(max_uses=3)), ASKS)
    for number in range(6):
        roster = roster.after(made(joined("s"), STRANGER, roster))
        assert roster.invites[6].uses == 1
        roster = roster.after(made(declined(STRANGER), MEMBER if number % 2 else STRANGER, roster))
        assert roster.invites[6].uses == 0
    roster = roster.after(made(joined("s"), LEFT, roster))
    roster = roster.after(made(added(LEFT), MEMBER, roster))
    roster = roster.after(made(removed(LEFT), LEFT, roster))
    assert roster.invites[6].uses == 1, "a user who joined and left counts"
    asked = roster.after(made(joined("s"), STRANGER, roster))
    ended = asked.after(made(revoked(6), OTHER, asked))
    assert not made(declined(STRANGER), STRANGER, ended).invites, "a revoked link does not change any more"
    del asked.invites[6]
    assert not made(declined(STRANGER), STRANGER, asked).invites


@pytest.mark.parametrize("secret", ["s", "t", ""], ids=["the same link", "another link", "public group"])
def test_who_waits_by_a_link_and_then_joins_uses_one_link_once(secret: str) -> None:
    roster = group(LINK, (OTHER, invite("t")), PUBLIC, ASKS, (STRANGER, joined("s")))
    roster = roster.after(made(new_settings(asks_to_join=False), OWNER, roster))
    control = made(joined(secret), STRANGER, roster)
    assert is_result(joined(secret), control)
    assert not any(is_result(joined(other), control) for other in {"s", "t", ""} - {secret})
    uses = {link.secret_hash: link.uses for link in roster.after(control).invites.values()}
    assert uses == {secret_hash(each): int(each == secret) for each in "st"}


def test_who_waits_by_the_last_use_of_a_link_joins_by_it_once_nobody_has_to_accept() -> None:
    roster = group((OTHER, invite(max_uses=1)), ASKS, (STRANGER, joined("s")))
    refusal = decide(joined("s"), STRANGER, roster, 99)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.message) == (Code.INVALID, "You have asked to join already.")
    roster = roster.after(made(new_settings(asks_to_join=False), OWNER, roster))
    assert decide(joined("s"), LEFT, roster, 99) == NO_LINK
    roster = roster.after(made(joined("s"), STRANGER, roster))
    assert (STRANGER in roster, roster.invites[6].uses) == (True, 1)
    assert decide(joined("s"), LEFT, roster, 99) == NO_LINK


@pytest.mark.parametrize("secret", ["s", ""], ids=["link", "public group"])
def test_a_removed_user_comes_back_only_by_a_request_that_a_member_accepts(secret: str) -> None:
    roster = group((OWNER, invite()), PUBLIC, (OWNER, removed(OTHER)))
    roster = roster.after(made(joined(secret), OTHER, roster))
    assert OTHER not in roster.present
    assert roster.members[OTHER].asked_at_ms
    declined_ = roster.after(made(declined(OTHER), MEMBER, roster))
    assert made(joined(secret), OTHER, declined_).members[0].asked_at_ms, "also after a request that was declined"
    roster = roster.after(made(added(OTHER), MEMBER, roster))
    roster = roster.after(made(removed(OTHER), OTHER, roster))
    assert made(joined(secret), OTHER, roster).members[0].role == ROLE_MEMBER, "they have left by themselves"


@pytest.mark.parametrize("secret", ["s", ""], ids=["link", "public group"])
def test_a_guest_who_leaves_and_joins_again_is_a_guest(secret: str) -> None:
    roster = group((OWNER, invite()), PUBLIC)
    for _ in range(2):
        roster = roster.after(made(removed(GUEST), GUEST, roster))
        control = made(joined(secret), GUEST, roster)
        assert control.members[0].role == ROLE_GUEST
        assert is_result(joined(secret), control)
        roster = roster.after(control)
    roster = roster.after(made(removed(GUEST), GUEST, roster))
    roster = roster.after(made(added(GUEST), MEMBER, roster))
    roster = roster.after(made(removed(GUEST), GUEST, roster))
    assert made(joined(secret), GUEST, roster).members[0].role == ROLE_MEMBER, "a member has added them as a member"


def test_joining_is_limited_as_the_group_is_and_so_are_users_who_ask() -> None:
    full = group(PUBLIC, (OWNER, added(*range(100, 100 + MAX_MEMBERS - 6))))
    crowded = group(PUBLIC, ASKS, *((each, joined()) for each in range(100, 100 + MAX_ASKING)))
    for roster, limit in ((full, MAX_MEMBERS), (crowded, MAX_ASKING)):
        refusal = decide(joined(), STRANGER, roster, 999)
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.field, str(limit) in refusal.message) == (Code.TOO_LARGE, "", True)


def test_the_request_of_a_deleted_account_makes_room_for_another_one_with_its_use_of_the_link() -> None:
    waiting = range(100, 100 + MAX_ASKING)
    roster = group(LINK, PUBLIC, ASKS, (102, joined("s")), *((each, joined()) for each in waiting if each != 102))
    request = joined("s")
    assert looked_up_asking(request, roster) == [*waiting]
    assert not looked_up_asking(request, group(LINK, ASKS))
    control = decide(request, STRANGER, roster, 999, {104, 102, STRANGER})
    assert isinstance(control, Control)
    assert is_result(request, control)
    assert [link.uses for link in control.invites] == [1], "one was given back"
    after = roster.after(control)
    assert {each.user_id for each in after.asking()} == {*waiting, STRANGER} - {102}
    assert (after.invites[6].uses, after.member_count) == (1, roster.member_count)


def test_a_group_without_members_is_joined_by_nobody() -> None:
    roster = Roster.created("g-7", made(creation(is_public=True), ANN, Roster.empty("g-7")))
    roster = roster.after(made(removed(ANN), ANN, roster))
    assert decide(joined(), STRANGER, roster, 9) == decide(joined(), STRANGER, Roster.empty("g-8"), 9)


def test_the_hundred_and_first_invite_link_takes_the_place_of_one_that_has_ended() -> None:
    roster = group(*((MEMBER, invite(str(each))) for each in range(MAX_INVITES)))
    refusal = decide(invite(), OWNER, roster, 999)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, str(MAX_INVITES) in refusal.message) == (Code.TOO_LARGE, True)
    roster = roster.after(made(changed(MEMBER, deny=8), OWNER, roster))
    roster = roster.after(made(invite(), OWNER, roster))
    assert (len(roster.invites), 6 in roster.invites) == (MAX_INVITES, False)
    assert roster.invites[roster.version].creator_id == OWNER


@pytest.mark.parametrize("end", [{"expires_at_ms": EPOCH_MS + 1}, {"max_uses": 1}], ids=["time", "uses"])
def test_an_invite_link_that_has_expired_is_replaced_before_one_whose_creator_may_not_invite_now(
    end: dict[str, Any],
) -> None:
    links = ((MEMBER, invite(str(each))) for each in range(MAX_INVITES - 1))
    roster = group(*links, (OTHER, invite(**end)), (STRANGER, joined("s")), (OWNER, changed(MEMBER, deny=8)))
    (ended,) = (each for each in roster.invites.values() if each.creator_id == OTHER)
    control = made(invite(), OWNER, roster, first_id_at(EPOCH_MS + 1))
    assert [each.invite_id for each in control.invites if each.is_revoked] == [ended.invite_id]


def test_an_invite_link_of_a_year_is_made_although_the_clock_of_the_bff_is_ahead() -> None:
    roster = group()
    event_id = first_id_at(EPOCH_MS + 1_000_000)
    ends_at_ms = EPOCH_MS + 1_000_000 + MAX_INVITE_MS + 5_000
    (made_invite,) = made(invite(expires_at_ms=ends_at_ms), OWNER, roster, event_id).invites
    assert made_invite.expires_at_ms == ends_at_ms


def test_the_owner_hands_the_group_over_and_becomes_an_admin() -> None:
    control = made(changed(GUEST, role=ROLE_OWNER), OWNER, group())
    assert [(each.user_id, each.former_role, each.role) for each in control.members] == [
        (GUEST, ROLE_GUEST, ROLE_OWNER),
        (OWNER, ROLE_OWNER, ROLE_ADMIN),
    ]


def test_who_comes_back_has_a_new_span_and_is_still_denied_what_was_denied() -> None:
    roster = group((OWNER, changed(OTHER, allow=DELETE, deny=POST)))
    for _ in range(MAX_SPANS + 1):
        roster = roster.after(made(removed(OTHER), OWNER, roster))
        assert Permission.REACT not in roster.permissions(OTHER)
        roster = roster.after(made(added(OTHER), MEMBER, roster))
    other = roster.members[OTHER]
    assert (other.role, other.allow, other.deny) == (ROLE_MEMBER, 0, POST)
    assert len(other.spans) == MAX_SPANS
    assert list(other.spans[-2:]) == [
        Span(first=v, last=w) for v, w in ((roster.version - 2, roster.version - 1), (roster.version, 0))
    ]


def test_the_version_that_a_change_is_meant_for_must_be_the_present_one() -> None:
    request, roster = removed(OTHER), group()
    for version in (roster.version - 1, roster.version + 1):
        request.expected_version = version
        refusal = decide(request, OWNER, roster, 99)
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.field) == (Code.VERSION_CONFLICT, "expected_version")
        assert decide(request, STRANGER, roster, 99) != refusal, "it discloses nothing"
    request.expected_version = roster.version
    made(request, OWNER, roster)


users = st.integers(1, 10)
masks = st.sampled_from([0, POST, DELETE, MANAGE, int(DEFAULT_PERMISSIONS), int(ALL_PERMISSIONS)])
secrets = st.sampled_from(["", "a", "b"])
requests = st.one_of(
    st.builds(lambda ids, role: added(*ids, role=role), st.sets(users, min_size=1), st.sampled_from([0, 1, 2])),
    users.map(removed),
    st.builds(lambda user_id, role: changed(user_id, role=role), users, st.integers(1, 4)),
    st.builds(lambda user_id, allow, deny: changed(user_id, allow=allow, deny=deny), users, masks, masks),
    st.builds(lambda name: new_settings(name=name), st.sampled_from(["a", "b"])),
    st.builds(lambda mask, shows: new_settings(permissions=mask, shows_history=shows), masks, st.booleans()),
    st.builds(lambda public, asks: new_settings(is_public=public, asks_to_join=asks), st.booleans(), st.booleans()),
    st.just(CHANNEL[1]),
    st.builds(joined, secrets),
    users.map(declined),
    st.builds(lambda secret, most: invite(secret, max_uses=most), secrets.filter(bool), st.integers(0, 1)),
    st.integers(11, 20).map(revoked),
)


newcomers = st.integers(7, 9)
joining = st.one_of(st.just(joined("a")), st.builds(joined, secrets), newcomers.map(declined), newcomers.map(added))
commands_ = st.one_of(st.tuples(users, requests, st.integers(0, 30)), st.tuples(newcomers, joining, st.integers(0, 30)))


@settings(max_examples=150)
@example(commands=[(8, joined("a"), 0), (7, declined(8), 0)], is_channel=False, asks=True)
@given(commands=st.lists(commands_, max_size=30), is_channel=st.booleans(), asks=st.booleans())
def test_any_commands_of_ten_users_keep_a_group_whole(
    commands: list[tuple[int, ChangeGroupRequest, int]], is_channel: bool, asks: bool
) -> None:
    """One owner while there are members, closed spans in order, and nobody is given a power that the giver lacks. A
    link counts the users who joined by it and the users who wait. A roster that knows a part of a channel decides as
    the whole one: it was loaded, and looks members up, in any version that an archive may have reached."""
    first = creation("a", *range(2, 8), is_channel=is_channel, asks_to_join=asks)
    creation_ = made(first, ANN, Roster.empty("g-7"), 10)
    roster = Roster.created("g-7", creation_)
    stored, controls, part = [stored_group(roster)], [creation_], roster
    joins, waiting = Counter[int](), dict[int, int]()  # by link, and the link of each user who waits
    guests = set[int]()  # users who left as guests
    for event_id, (user_id, request, number) in enumerate([(2, invite("a", max_uses=2), 0), *commands], 11):
        assert check(request, user_id) is None
        control = decide(request, user_id, roster, event_id)
        if number % 3 == 0:
            part = Roster.of(looked_up(stored[number % len(stored)], ()))
            for later in controls[part.version :]:
                part = part.after(later)
        if part.is_channel and number % 5 == 0:
            part = part.keeping(2)
        needed = {*looked_up_users(request, user_id), *(invite.creator_id for invite in part.invites.values())}
        if not part.knows(needed):
            found = looked_up(stored[max(part.since - 1, number % len(stored))], needed)
            part = part.knowing(found_members(found, needed))
        assert decide(request, user_id, part, event_id) == control
        if isinstance(control, Refusal):
            continue
        assert is_result(request, control)
        assert audience(part, control, user_id) == audience(roster, control, user_id)
        part = part.after(control)
        stored.append(stored_group(roster.after(control)))
        controls.append(control)
        assert part.member_count == control.member_count == len(roster.after(control).present)
        powers = roster.permissions(user_id)
        before, roster = roster, roster.after(control)
        for each in control.members:
            assert each.former_role == (before.members[each.user_id].role if each.user_id in before.members else 0)
            assert each.version == control.version
            if each.user_id != user_id and each.former_role:
                assert not roster.permissions(each.user_id) & ~before.permissions(each.user_id) & ~powers
                assert each.former_role < before.members[user_id].role
            firsts = [span.first for span in each.spans]
            lasts = [span.last for span in each.spans]
            assert all(first <= last for first, last in zip(firsts, lasts, strict=True) if last)
            assert [bool(last) for last in lasts] == ([True] * (len(lasts) - 1) + [not each.role] if lasts else [])
            assert not (each.role and each.asked_at_ms)
            assert all(last < first for last, first in zip(lasts, firsts[1:], strict=False))
        for each in control.members:
            if each.role and not each.former_role:
                assert each.user_id != user_id or each.role == (ROLE_GUEST if user_id in guests else ROLE_MEMBER)
                guests.discard(each.user_id)
            elif each.former_role == ROLE_GUEST and not each.role:
                guests.add(each.user_id)
            link_id = waiting.pop(each.user_id, 0)
            if each.role and not each.former_role:
                joins[each.invite_id if each.user_id == user_id else link_id] += 1
            elif each.asked_at_ms:
                waiting[each.user_id] = each.invite_id
        assert waiting == {each.user_id: each.invite_id for each in roster.asking()}
        owners = [each.user_id for each in roster.members.values() if each.role == ROLE_OWNER]
        assert len(owners) == bool(roster.present)
        for link in roster.invites.values():
            assert link.uses <= (link.max_uses or len(commands))
            assert link.is_revoked or link.uses == joins[link.invite_id] + [*waiting.values()].count(link.invite_id)
        at_event = {each for each in roster.members if roster.includes(each, event_id)}
        if before.is_channel:
            at_event &= {user_id, *(each.user_id for each in control.members)}
        assert at_event == set(audience(before, control, user_id))
        assert set(named_users(request)) <= at_event
