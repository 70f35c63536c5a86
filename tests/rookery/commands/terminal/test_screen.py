"""Text of other users in the terminal."""

import pytest

from rookery.commands.terminal.screen import LINE_UP, Screen


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


@pytest.mark.parametrize(("typed", "rows"), [("short", 1), ("x" * 77, 1), ("x" * 78, 2), ("李" * 39 + "x" * 80, 3)])
def test_a_typed_line_is_erased_in_all_its_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: str, rows: int
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    Screen(interactive=True).erase_typed(typed)
    assert capsys.readouterr().out.count(LINE_UP) == rows


@pytest.mark.parametrize("below", ["", "shown"])
async def test_a_typed_line_is_erased_unless_others_were_shown_below_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    typed = ["typed"]

    def read(_: str) -> str:
        if typed:
            return typed.pop()
        raise EOFError

    monkeypatch.setattr("builtins.input", read)
    screen = Screen(interactive=True)
    screen.show("above")
    async for line in screen.lines():
        if below:
            screen.show(below)
        screen.erase_typed(line)
    assert (LINE_UP in capsys.readouterr().out) == (not below)
