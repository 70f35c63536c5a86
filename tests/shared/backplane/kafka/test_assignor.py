"""The division of partitions: safe, sticky, balanced in the end, and calm while members come and go."""

from hypothesis import example, given
from hypothesis import strategies as st

from shared.backplane.kafka.assignor import divide

COUNT = 8
"""Partitions."""

CLAIMS = st.lists(st.frozensets(st.integers(0, COUNT - 1)), min_size=1, max_size=5)
"""By member; several members may claim a partition."""


@given(CLAIMS, st.frozensets(st.integers(0, 4)))
@example([frozenset(range(COUNT)), frozenset()], frozenset({1}))
def test_partitions_stay_unless_the_balance_of_members_that_stay_requires_a_move(
    claims: list[frozenset[int]], newcomers: frozenset[int]
) -> None:
    before = {str(member): set(claimed) for member, claimed in enumerate(claims)}
    new = {str(member) for member in newcomers} & before.keys()
    for _ in range(3):  # what two members claim is released, what moves is released, and both have an owner
        after = divide(range(COUNT), before, new)
        for member, partitions in after.items():
            others = before.keys() - {member}
            assert not any(partitions & before[other] for other in others), "another member still owns it"
            lost = {part for part in before[member] - partitions if not any(part in before[other] for other in others)}
            assert len(before[member] - lost) >= min(len(before[member]), COUNT // len(before)), "needless"
            if member not in new and others <= new:
                assert not lost, "moved to a newcomer"
        before = after
    assert sorted(part for partitions in before.values() for part in partitions) == list(range(COUNT))
    assert divide(range(COUNT), before, new) == before
    settled = divide(range(COUNT), divide(range(COUNT), before, ()), ())
    loads = [len(partitions) for partitions in settled.values()]
    assert max(loads) <= min(loads) + 1


def test_the_share_of_a_newcomer_does_not_move_twice() -> None:
    assert len(divide(range(8), {"old": set(range(8)), "settled": (), "new": ()}, {"new"})["old"]) == 5


def test_partitions_of_a_member_that_has_ended_go_to_members_that_stay() -> None:
    assert divide(range(4), {"old": {0}, "other": {1}, "new": ()}, {"new"}) == {
        "old": {0, 2},
        "other": {1, 3},
        "new": set(),
    }
