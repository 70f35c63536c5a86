"""A message is marked as read once no older one of its chat is missing on the screen."""

import pytest

from rookery.commands.terminal.read_marks import ReadMarks

Marked = list[tuple[str, int]]


@pytest.fixture
def marked() -> Marked:
    """The marks that were set, in order."""
    return []


@pytest.fixture
def marks(marked: Marked) -> ReadMarks:
    return ReadMarks(lambda chat_id, message_id: marked.append((chat_id, message_id)))


def test_a_message_of_a_chat_that_is_behind_is_marked_once_the_chat_has_caught_up(
    marks: ReadMarks, marked: Marked
) -> None:
    marks.fall_behind("a")
    marks.note_shown("a", 5)
    marks.note_shown("a", 4)
    marks.note_shown("b", 6)
    assert (marks.is_behind("a"), marks.is_behind("b"), marked) == (True, False, [("b", 6)])
    marks.catch_up("a")
    marks.catch_up("b")
    assert marked == [("b", 6), ("a", 5)]


def test_nothing_is_marked_until_all_readings_of_missed_events_have_ended(marks: ReadMarks, marked: Marked) -> None:
    marks.begin_reading()
    marks.begin_reading()
    marks.note_shown("a", 5)
    marks.end_reading()
    marks.note_shown("b", 6)
    marks.fall_behind("b")
    assert marked == []
    marks.end_reading()
    assert marked == [("a", 5)]


@pytest.mark.parametrize("at_once", [True, False])
def test_all_chats_fall_behind_until_each_has_caught_up(marks: ReadMarks, marked: Marked, at_once: bool) -> None:
    marks.fall_behind("a")
    marks.catch_up("b")
    marks.note_shown("b", 1)
    marks.all_fall_behind()
    marks.note_shown("a", 2)
    marks.note_shown("b", 3)
    assert (marks.is_behind("a"), marks.is_behind("b"), marked) == (True, False, [("b", 1)])
    if at_once:
        marks.all_catch_up()
    else:
        marks.catch_up("a")
        assert marked[1:] == [("a", 2)]
        marks.catch_up("b")
    assert marked[1:] == [("a", 2), ("b", 3)]
