import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.chats import direct_chat_id, direct_members, group_chat_id, group_number
from shared.contract.ids import MAX_ID

users = st.integers(1, MAX_ID)


@given(one=users, other=users)
def test_a_direct_chat_has_the_same_id_for_both_members(one: int, other: int) -> None:
    chat_id = direct_chat_id(one, other)
    assert chat_id == direct_chat_id(other, one)
    assert direct_members(chat_id) == ((min(one, other), max(one, other)) if one != other else None)


@pytest.mark.parametrize(
    "chat_id", ["", "d-2-1", "d-1-1", "d-0-1", "d-01-2", "d-1-2\n", "d-\u0661-2", "g-1-2", f"d-1-{MAX_ID + 1}"]
)
def test_any_other_text_is_no_direct_chat(chat_id: str) -> None:
    assert direct_members(chat_id) is None


def test_a_retried_creation_makes_the_same_group_and_any_other_another() -> None:
    ids = [group_chat_id(12, "x"), group_chat_id(12, "x"), group_chat_id(12, "y"), group_chat_id(1, "2 x")]
    assert (ids[0], len(set(ids))) == (ids[1], 3)
    assert all(1 <= (group_number(chat_id) or 0) <= MAX_ID for chat_id in ids)


@pytest.mark.parametrize("chat_id", ["", "g-", "g-0", "g-01", "g-1\n", "g-\u0661", "g--1", "d-1-2", f"g-{MAX_ID + 1}"])
def test_any_other_text_is_no_group(chat_id: str) -> None:
    assert group_number(chat_id) is None
