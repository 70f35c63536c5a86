"""The input of the watchdog's process."""

from shared.backplane.kafka.watchdog_process import memberships, read_lines


def test_a_line_that_a_killed_process_did_not_finish_is_ignored() -> None:
    assert list(read_lines(['["a"]\n', '{"b": 1}\n', '["c'])) == [["a"], {"b": 1}]


def test_the_newest_id_of_a_member_counts_until_it_has_left() -> None:
    changes = [("group", "a", "1"), ("group", "b", "2"), ("other", "a", "3"), ("group", "a", "4"), ("group", "b", "")]
    assert memberships(changes) == {("group", "a"): "4", ("other", "a"): "3"}
