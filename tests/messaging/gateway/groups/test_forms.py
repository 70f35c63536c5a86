"""The form of a request to change a group: each refusal names the field, and the limit."""

from typing import Any

import pytest

from messaging.gateway.groups.forms import check, is_result, settings_of_new, stored_client_id
from rookery.v1.group_service_pb2 import (
    AddMembers,
    ChangeGroupRequest,
    ChangeMember,
    ChangeSettings,
    CreateGroup,
    CreateInvite,
    DeclineUser,
    Join,
    RemoveMember,
    RevokeInvite,
)
from rookery.v1.groups_pb2 import ROLE_ADMIN, ROLE_GUEST, Control, GroupSettings, Member, Role
from shared.contract.avatars import new_avatar
from shared.contract.chats import MAX_CLIENT_ID, group_chat_id
from shared.contract.errors import Code
from shared.contract.joining import secret_hash
from shared.telemetry.metrics.catalogue import GROUP_CHANGES

ANN = 1


def creation(client_id: str = "a", *user_ids: int, name: str = "Walks", **settings: Any) -> ChangeGroupRequest:
    create = CreateGroup(settings=GroupSettings(name=name, **settings), user_ids=user_ids)
    return ChangeGroupRequest(chat_id=group_chat_id(ANN, client_id), client_change_id=client_id, create=create)


def change(**kind: Any) -> ChangeGroupRequest:
    return ChangeGroupRequest(chat_id="g-7", client_change_id="a", **kind)


def member(**values: Any) -> ChangeGroupRequest:
    return change(change_member=ChangeMember(user_id=2, **values))


def settings(**values: Any) -> ChangeGroupRequest:
    return change(change_settings=ChangeSettings(**values))


def added(*user_ids: int, role: int = 0) -> ChangeGroupRequest:
    return change(add_members=AddMembers(user_ids=user_ids, role=Role.Name(role)))


def joined(secret: str = "") -> ChangeGroupRequest:
    return change(join=Join(secret=secret))


def invite(secret: str = "s", **values: Any) -> ChangeGroupRequest:
    return change(create_invite=CreateInvite(secret_hash=secret_hash(secret), **values))


FLAGS = [
    "🏴" + "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
]
"""The flags of England, Scotland and Wales."""

LONE_TAGS = [
    "\U000e0067",
    "\U000e007f",
    "🏴\U000e0067",
    "🏴\U000e007f",
    "🏁\U000e0067\U000e007f",
    FLAGS[0] + "\U000e007f",
]
"""Tag characters that are no part of a flag, or not of a whole one."""


@pytest.mark.parametrize(
    ("request_", "code", "field", "limit"),
    [
        (change(), Code.MALFORMED, "", ""),
        (creation(""), Code.INVALID, "client_change_id", "64"),
        (creation("a" * (MAX_CLIENT_ID + 1)), Code.INVALID, "client_change_id", "64"),
        (
            ChangeGroupRequest(chat_id="d-1-2", client_change_id="a", create=CreateGroup()),
            Code.NOT_FOUND,
            "chat_id",
            "",
        ),
        (ChangeGroupRequest(chat_id="g-7", client_change_id="a", create=CreateGroup()), Code.INVALID, "chat_id", ""),
        (creation(name=""), Code.INVALID, "name", "white space"),
        (creation(name=" \u200d\n"), Code.INVALID, "name", "white space"),
        (creation(name="ä" * 65), Code.TOO_LARGE, "name", "128"),
        *((creation(name=f"a{each}b"), Code.INVALID, "name", "control") for each in "\n\x1b\u202e\u2028\u2029"),
        *((settings(topic=f"a{each}b"), Code.INVALID, "topic", "invisible") for each in LONE_TAGS),
        (creation(topic="t" * 1_025), Code.TOO_LARGE, "topic", "1024"),
        (creation(permissions=512), Code.INVALID, "permissions", "511"),
        (creation("a", 2, ANN), Code.INVALID, "user_ids[1]", ""),
        (creation("a", *range(2, 1_002)), Code.TOO_LARGE, "user_ids", "999"),
        (added(), Code.INVALID, "user_ids", "999"),
        (added(*range(2, 1_003)), Code.TOO_LARGE, "user_ids", "999"),
        (added(2, 3, 2), Code.INVALID, "user_ids[2]", "once"),
        (added(2, -3), Code.INVALID, "user_ids[1]", "1 to"),
        (added(2, role=ROLE_ADMIN), Code.INVALID, "role", ""),
        (change(remove_member=RemoveMember()), Code.INVALID, "user_id", "1 to"),
        (member(), Code.INVALID, "role", ""),
        (member(role=0), Code.INVALID, "role", ""),
        (member(role=9), Code.INVALID, "role", ""),
        (member(allow=1 << 40), Code.INVALID, "allow", "511"),
        (member(deny=512), Code.INVALID, "deny", "511"),
        (change(change_member=ChangeMember(role=ROLE_GUEST)), Code.INVALID, "user_id", "1 to"),
        (settings(), Code.INVALID, "name", ""),
        (settings(name=""), Code.INVALID, "name", "white space"),
        (settings(topic="a\tb"), Code.INVALID, "topic", ""),
        (settings(is_channel=False), Code.INVALID, "is_channel", "again"),
        *((settings(avatar=each), Code.INVALID, "avatar", "") for each in (new_avatar("g-9"), new_avatar("g-7") + "x")),
        (joined("s" * 65), Code.INVALID, "secret", "64"),
        (
            ChangeGroupRequest(chat_id="g-7", client_change_id="a", expected_version=1, join=Join()),
            *(Code.INVALID, "expected_version", "0"),
        ),
        (change(decline_user=DeclineUser()), Code.INVALID, "user_id", "1 to"),
        (change(create_invite=CreateInvite(secret_hash=b"short")), Code.INVALID, "secret_hash", "32"),
        (invite(expires_at_ms=-1), Code.INVALID, "expires_at_ms", "0"),
        (invite(max_uses=10_001), Code.INVALID, "max_uses", "10000"),
        (change(revoke_invite=RevokeInvite()), Code.INVALID, "invite_id", "1 to"),
    ],
)
def test_a_malformed_request_is_refused_with_its_field_and_limit(
    request_: ChangeGroupRequest, code: Code, field: str, limit: str
) -> None:
    refusal = check(request_, ANN)
    assert refusal is not None
    assert (refusal.code, refusal.field) == (code, field)
    assert limit in refusal.message


WELL_FORMED = [
    creation("a", *range(2, 1_001), name="👩\u200d👩 والد", topic="t"),
    *(creation(name=each, topic=f"The match of {each}") for each in FLAGS),
    settings(name="".join(FLAGS)),
    creation(name="n" * 128, topic="t" * 1_024, permissions=511, shows_history=True),
    added(2, 3),
    added(2, 3, role=ROLE_GUEST),
    change(remove_member=RemoveMember(user_id=ANN)),
    member(role=ROLE_ADMIN),
    member(allow=0, deny=1),
    settings(topic=""),
    settings(name="x", permissions=0, shows_history=False),
    settings(is_public=True),
    settings(is_channel=True),
    settings(avatar=""),
    settings(avatar=new_avatar("g-7")),
    joined(),
    joined("s"),
    change(decline_user=DeclineUser(user_id=ANN)),
    invite(),
    invite(expires_at_ms=1, max_uses=10_000),
    change(revoke_invite=RevokeInvite(invite_id=1)),
]


@pytest.mark.parametrize("request_", WELL_FORMED)
def test_a_well_formed_request_is_not_refused(request_: ChangeGroupRequest) -> None:
    assert check(request_, ANN) is None
    assert check(request_, 2) is None or request_.HasField("create")


@pytest.mark.parametrize(
    "control", [Control(version=1), Control(version=2, members=[Member(user_id=9, role=ROLE_GUEST)] * 2)]
)
@pytest.mark.parametrize("request_", WELL_FORMED)
def test_no_request_is_taken_for_the_retry_of_another(request_: ChangeGroupRequest, control: Control) -> None:
    """That a retry is recognised is tested with the changes that `commands` makes."""
    assert not is_result(request_, control)


def test_a_group_is_created_with_all_given_settings_except_a_picture() -> None:
    given = GroupSettings()
    for field in GroupSettings.DESCRIPTOR.fields:
        setattr(given, field.name, "a" if field.type == field.TYPE_STRING else 1)
    kept = settings_of_new(CreateGroup(settings=given))
    given.ClearField("avatar")
    assert kept == given


def test_each_kind_of_change_is_measured() -> None:
    kinds = ChangeGroupRequest.DESCRIPTOR.oneofs_by_name["change"].fields
    assert tuple(kind.name for kind in kinds) == GROUP_CHANGES


@pytest.mark.parametrize("kind", GROUP_CHANGES)
def test_each_kind_of_change_has_a_check_and_a_comparison(kind: str) -> None:
    request = change(**{kind: {}})
    check(request, ANN)  # neither raises AssertionError
    assert not is_result(request, Control(version=2, members=[Member(user_id=9, role=ROLE_GUEST)] * 2))


def test_the_stored_client_id_is_none_that_a_client_may_choose_and_each_chat_s_own() -> None:
    other = ChangeGroupRequest(chat_id="g-8", client_change_id="a")
    ids = {stored_client_id(each) for each in (creation(), added(2), other)}
    assert len(ids) == 3
    assert all(len(each) > MAX_CLIENT_ID for each in ids)
