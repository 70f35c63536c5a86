import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.gateway.groups.forms import MAX_ADDED
from messaging.gateway.signals.group_marks import MAX_DELIVERED_MEMBERS, MAX_READ_MEMBERS
from rookery.v1.archive_pb2 import Group
from rookery.v1.groups_pb2 import (
    ROLE_ADMIN,
    ROLE_GUEST,
    ROLE_MEMBER,
    ROLE_OWNER,
    ROLE_UNSPECIFIED,
    Control,
    GroupSettings,
    Invite,
    Member,
    Role,
    Span,
)
from shared.contract.groups import (
    ALL_PERMISSIONS,
    DEFAULT_PERMISSIONS,
    GUEST_PERMISSIONS,
    MAX_CHANNEL_MEMBERS,
    MAX_INVITES,
    MAX_MEMBERS,
    NO_PERMISSIONS,
    Permission,
    Roster,
    audience,
    is_within,
    permissions_of,
)
from shared.contract.ids import EPOCH_MS, first_id_at
from shared.contract.known_members import KnownMembers
from tests.messaging.archive.store.chats import Company
from tools.toolchains import ROOT

P = Permission
CHAT = "g-1"
steps = st.lists(st.tuples(st.integers(1, 2), st.integers(0, 3)), max_size=12)


def controls_of(crew: Company, steps: Sequence[tuple[int, Role]]) -> list[Control]:
    """A creation and further changes of roles, joins and leaves included, each also with new settings."""
    controls = [crew.creation().message.control]
    for who, role in steps:
        if role or crew.is_present(crew.members[who]):
            settings = GroupSettings(name=f"{len(controls)}")
            controls.append(crew.control({who: role}, settings=settings).message.control)
    return controls


@given(steps=steps, at=st.integers(0, 12))
def test_a_roster_is_the_fold_of_control_changes_from_any_stored_group_on(
    steps: Sequence[tuple[int, Role]], at: int
) -> None:
    crew = Company()
    first, *others = controls_of(crew, steps)
    first.members[0].former_role = ROLE_OWNER  # of no concern to the roster
    rosters = [Roster.created(crew.chat_id, first)]
    for control in others:
        rosters.append(rosters[-1].after(control))
    last = rosters[-1]
    assert (last.version, last.members) == (crew.version, crew.known)
    assert last.present == {user for user in crew.members if crew.is_present(user)}
    assert last.settings == [first, *others][-1].settings
    some = rosters[at % len(rosters)]
    members = list(some.members.values())
    stored = Roster.of(Group(chat_id=CHAT, version=some.version, settings=some.settings, members=members))
    for control in others[at % len(rosters) :]:
        stored = stored.after(control)
    assert (stored.version, stored.members, stored.settings) == (last.version, last.members, last.settings)


@pytest.mark.parametrize("version", [0, 1, 3])
def test_a_control_change_that_is_not_the_next_one_is_an_error(version: int) -> None:
    roster = Roster.created(CHAT, Control(version=1))
    with pytest.raises(ValueError, match=f"must have version 2, not {version}"):
        roster.after(Control(version=version))


@pytest.mark.parametrize(
    ("role", "allow", "deny", "expected"),
    [
        (ROLE_UNSPECIFIED, ALL_PERMISSIONS, 0, NO_PERMISSIONS),
        (ROLE_GUEST, 0, 0, GUEST_PERMISSIONS),
        (ROLE_GUEST, P.PIN, P.REACT, P.POST | P.PIN),
        (ROLE_MEMBER, 0, 0, DEFAULT_PERMISSIONS),
        (ROLE_MEMBER, P.MANAGE | P.PIN, P.PIN, DEFAULT_PERMISSIONS - P.PIN + P.MANAGE),
        (ROLE_MEMBER, 1 << 40, 0, DEFAULT_PERMISSIONS),
        (ROLE_ADMIN, 0, P.MANAGE, ALL_PERMISSIONS - P.MANAGE),
        (ROLE_OWNER, 0, ALL_PERMISSIONS, ALL_PERMISSIONS),
    ],
)
def test_permissions_follow_from_the_role_and_what_only_this_member_has_or_lacks(
    role: Role, allow: int, deny: int, expected: int
) -> None:
    settings = GroupSettings(permissions=DEFAULT_PERMISSIONS)
    member = Member(user_id=1, role=role, allow=allow, deny=deny)
    assert permissions_of(settings, member) == expected
    roster = Roster.created(CHAT, Control(version=1, settings=settings, members=[member]))
    assert [roster.permissions(user) for user in (1, 2)] == [expected, NO_PERMISSIONS]


def test_a_user_is_within_their_spans_and_hears_of_the_changes_of_both() -> None:
    spans = [Span(first=10, last=20), Span(first=30)]
    assert [at for at in (9, 10, 20, 21, 29, 30, 99) if is_within(spans, at)] == [10, 20, 30, 99]
    roster = Roster.created(CHAT, Control(version=1, members=[Member(user_id=1, role=ROLE_OWNER, spans=spans)]))
    assert [roster.includes(user, at) for user, at in ((1, 10), (1, 25), (2, 10))] == [True, False, False]
    before = roster.after(Control(version=2, members=[Member(user_id=user, role=ROLE_MEMBER) for user in (3, 5)]))
    joins, leaves, asks = Member(user_id=2, role=ROLE_MEMBER), Member(user_id=3), Member(user_id=4, asked_at_ms=1)
    leaves.former_role = ROLE_MEMBER
    control = Control(version=4, members=[joins, leaves, asks])
    assert audience(before, control, 1) == [1, 2, 3, 5]
    channel = before.after(Control(version=3, settings=GroupSettings(is_channel=True)))
    assert [audience(channel, control, actor) for actor in (1, 4)] == [[1, 2, 3], [2, 3]], "who asks is no member"


def test_a_roster_has_whoever_asks_to_join_until_they_are_declined() -> None:
    roster = Roster.created(CHAT, Control(version=1, members=[Member(user_id=1, role=ROLE_OWNER)]))
    left = Member(user_id=4, spans=[Span(first=1, last=2)], asked_at_ms=5)
    roster = roster.after(Control(version=2, members=[Member(user_id=3, asked_at_ms=7), left]))
    assert [each.user_id for each in roster.asking()] == [4, 3]
    assert roster.present == {1}
    left.asked_at_ms = 0
    roster = roster.after(Control(version=3, members=[Member(user_id=3), left]))
    assert not roster.asking()
    assert roster.members.keys() == {1, 4}


def test_merged_members_are_the_others_and_those_that_are_only_here_which_are_the_first_to_be_left_out() -> None:
    here = KnownMembers.of({user_id: Member(user_id=user_id, asked_at_ms=7, version=1) for user_id in (1, 2, 3)})
    others = [Member(user_id=4, role=ROLE_MEMBER, version=2), Member(user_id=2, role=ROLE_MEMBER, version=2)]
    merged = here.merged(KnownMembers.of({each.user_id: each for each in others}))
    assert [*merged] == [1, 3, 4, 2]
    assert (merged[2], merged[3], {*merged.asking}) == (others[1], here[3], {1, 3})
    assert [*merged.last(3)[0]] == [1, 3, 2]


def invited(roster: Roster, *invites: Invite) -> Roster:
    for invite in invites:
        invite.version = roster.version + 1
    return roster.after(Control(version=roster.version + 1, invites=invites))


def test_an_invite_link_is_usable_until_it_ends_or_its_creator_may_not_add_members() -> None:
    members = [Member(user_id=1, role=ROLE_OWNER), Member(user_id=2, role=ROLE_GUEST)]
    roster = Roster.created(CHAT, Control(version=1, members=members))
    values: list[dict[str, Any]] = [
        {},
        {"expires_at_ms": 10},
        {"expires_at_ms": 9},
        {"max_uses": 2, "uses": 1},
        {"max_uses": 2, "uses": 2},
    ]
    values += [{"is_revoked": True}, {"creator_id": 2}, {"creator_id": 3}]
    hashes = [str(at).encode() for at in range(len(values))]
    links = [Invite(**{"invite_id": at + 5, "creator_id": 1, **each}) for at, each in enumerate(values)]
    for link, digest in zip(links, hashes, strict=True):
        link.secret_hash = digest
    roster = invited(roster, *links)
    assert [roster.usable_invite(each, 9, 4) is not None for each in hashes] == [True, True, False, True, *[False] * 4]
    assert roster.usable_invite(b"", 9, 4) is None


def test_the_use_of_a_user_who_waits_by_an_invite_link_ends_it_for_others_alone() -> None:
    members = [Member(user_id=1, role=ROLE_OWNER), Member(user_id=2, asked_at_ms=3, invite_id=5)]
    roster = Roster.created(CHAT, Control(version=1, members=members))
    for uses, usable_by in ((1, [2]), (2, [])):
        roster = invited(roster, Invite(invite_id=5, creator_id=1, secret_hash=b"s", max_uses=1, uses=uses))
        assert [user_id for user_id in (2, 4) if roster.usable_invite(b"s", 9, user_id)] == usable_by


def test_of_too_many_invite_links_the_one_that_was_revoked_first_goes() -> None:
    roster = Roster.created(CHAT, Control(version=1, members=[Member(user_id=1, role=ROLE_OWNER)]))
    for invite_id in range(MAX_INVITES):
        roster = invited(roster, Invite(invite_id=invite_id))
    for invite_id in (50, 20):
        roster = invited(roster, Invite(invite_id=invite_id, is_revoked=True))
    for invite_id, gone in ((MAX_INVITES, 50), (MAX_INVITES + 1, 20)):
        roster = invited(roster, Invite(invite_id=invite_id))
        assert gone not in roster.invites
        assert len(roster.invites) == MAX_INVITES


def test_a_former_member_left_recently_for_ten_minutes() -> None:
    def at(minute: int) -> int:
        return first_id_at(EPOCH_MS + minute * 60_000)

    members = [
        Member(user_id=1, role=ROLE_OWNER, spans=[Span(first=at(1))]),
        Member(user_id=2, role=ROLE_MEMBER, spans=[Span(first=at(1), last=at(20)), Span(first=at(21))]),
        Member(user_id=3, spans=[Span(first=at(1), last=at(2)), Span(first=at(3), last=at(20))]),
    ]
    roster = Roster.created(CHAT, Control(version=1, members=members))
    assert [roster.recently_left(at(minute)) for minute in (21, 29, 30, 31)] == [[3], [3], [], []]


def test_the_page_has_the_same_permissions_and_limits_of_groups() -> None:
    page = (ROOT / "web/groups.js").read_text()
    permissions = page.partition("PERMISSIONS = Object.freeze({")[2].partition("}")[0]
    found = {name: int(value) for name, value in re.findall(r"([A-Z_]+): (\d+)", permissions)}
    assert found == {each.name: each.value for each in Permission}
    of_guests = re.search(r"OF_GUESTS = (.+);", page)
    assert of_guests is not None
    assert sum(found[name] for name in re.findall(r"PERMISSIONS\.(\w+)", of_guests[1])) == GUEST_PERMISSIONS
    limits = {name: int(value) for name, value in re.findall(r"const (MAX_\w+) = ([\d_]+);", page)}
    assert limits == {
        "MAX_MEMBERS": MAX_MEMBERS,
        "MAX_CHANNEL_MEMBERS": MAX_CHANNEL_MEMBERS,
        "MAX_ADDED": MAX_ADDED,
        "MAX_READ_MEMBERS": MAX_READ_MEMBERS,
        "MAX_DELIVERED_MEMBERS": MAX_DELIVERED_MEMBERS,
    }
