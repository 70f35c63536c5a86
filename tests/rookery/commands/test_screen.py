"""Text of others in the terminal."""

import pytest

from rookery.commands.screen import Screen


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb\nc\x9bd\re", "a\ufffd[2Jb\nc\ufffdd\ufffde"),
        ("Ada \u202ecalevol\u202c \u2066x\u2069\u200f", "Ada \ufffdcalevol\ufffd \ufffdx\ufffd\ufffd"),
        ("one\u2028two", "one\ufffdtwo"),
        ("\tif x:", "    if x:"),
        ("bonjour\u202f! مر\u200cحب \U0001f469\u200d\U0001f4bb",) * 2,
    ],
)
def test_shown_text_can_not_control_the_terminal(capsys: pytest.CaptureFixture[str], text: str, shown: str) -> None:
    Screen(interactive=False).show(text)
    assert capsys.readouterr().out == f"{shown}\n"
