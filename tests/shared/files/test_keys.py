"""Keys of files, and the ids in them."""

import pytest

from shared.contract.avatars import new_avatar, place_of
from shared.files.keys import avatar_keys, avatar_of, check_key, file_id_of, file_key, keys_of


@pytest.mark.parametrize("file_id", [1, 1234, 2**63 - 1])
@pytest.mark.parametrize("rendition", ["", "small"])
def test_a_files_key_is_valid_and_has_its_id(file_id: int, rendition: str) -> None:
    key = file_key(file_id, rendition)
    check_key(key)
    assert file_id_of(key) == file_id
    assert {file_id_of(each) for each in keys_of(file_id)} == {file_id}


@pytest.mark.parametrize("place", ["7", "g-7"])
def test_an_avatars_keys_are_valid_and_have_its_token(place: str) -> None:
    for token in (new_avatar(place), f"{place}.{'-' * 22}"):
        for key in avatar_keys(token):
            check_key(key)
            assert avatar_of(key) == token
            assert file_id_of(key) is None
        assert place_of(token) == place
    assert [avatar_of(key) for key in (file_key(7), "avatars/1", "avatars/7/a", "avatars/x/a-96")] == [None] * 4


def test_keys_of_files_are_spread_and_other_keys_have_no_id() -> None:
    assert len({file_key(number).partition("/")[0] for number in range(20_000)}) > 4_000
    assert [file_id_of(key) for key in ("a", "3fa", "3fa/x", "avatars/1", "3fa/1-SMALL")] == [None] * 5
