"""Which texts are reactions."""

import pytest

from messaging.kinds.reacted import is_emoji
from tools.toolchains import ROOT


@pytest.mark.parametrize("text", ["👍", "❤️", "👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "🇩🇪", "👋🏽", "☺", "👩🏻‍❤️‍💋‍👩🏼"])
def test_one_emoji_is_an_emoji(text: str) -> None:
    assert is_emoji(text)


def test_each_emoji_of_the_page_s_picker_is_accepted_as_a_reaction() -> None:
    lines = (ROOT / "web/emoji/data/emoji.txt").read_text().splitlines()[1:]
    picked = [line.partition("|")[0] for line in lines if line]
    assert len(picked) > 1900
    assert [emoji for emoji in picked if not is_emoji(emoji)] == []


NO_EMOJI = ["a", "1", "👍a", "\u200d", "👍\u200d", "😀😀", "🇩🇪🇩🇪", "👍🏽🏽", "^", "<b>", "é", "\x00"]


@pytest.mark.parametrize("text", ["", " ", *NO_EMOJI, "👨\u200d" * 9 + "👨"])
def test_other_text_is_no_emoji(text: str) -> None:
    assert not is_emoji(text)
