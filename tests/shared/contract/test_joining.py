import pytest

from shared.contract.joining import JoinToken, secret_hash

SECRET = "AAECAwQFBgcICQoLDA0ODw"


def test_a_token_is_the_number_of_the_group_and_the_secret_of_which_the_group_has_the_hash() -> None:
    token = JoinToken.of("g-7", bytes(range(32)))
    assert str(token) == f"7.{SECRET}"
    assert JoinToken.parse(str(token)) == token
    assert secret_hash(SECRET).hex().startswith("5d2611d5a4dd2b40")


@pytest.mark.parametrize(
    "text", ["", "7", f".{SECRET}", f"07.{SECRET}", f"7.{SECRET}x", f"7.{SECRET[:-2]}+/", f"{2**63}.{SECRET}"]
)
def test_no_other_text_is_a_token(text: str) -> None:
    assert JoinToken.parse(text) is None
