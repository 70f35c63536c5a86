"""Divides the partitions among the members of a group: evenly, with few moves; a newcomer gains from newcomers only.

For Kafka's thread. The group's leader divides; each member sends the partitions that it owns, and whether it is a
newcomer.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from shared.backplane.kafka.kafka_python import ConsumerProtocolAssignment, CooperativeStickyAssignor

NEWCOMER = b"newcomer"
"""The user data of a newcomer's subscription. Other members have empty data, as in releases without newcomers."""

Partitions = dict[str, set[int]]
"""Partitions by member."""


class Assignor(CooperativeStickyAssignor):  # type: ignore[misc]
    """The library's protocol with our own division. A moving partition is given up in one rebalance, and gained in the
    next. All members subscribe to the same topic."""

    def __init__(self) -> None:
        super().__init__()
        self.is_newcomer = True
        """Whether this process's member has not been in the group for long."""

    def forget(self) -> None:
        """Claim no partitions at the next join, as a newcomer: the group has excluded this member, and others may own
        its partitions. The library would still claim them."""
        self.member_assignment = None
        self.is_newcomer = True

    def metadata(self, topics: Collection[str]) -> Any:
        subscription = super().metadata(topics)
        subscription.user_data = NEWCOMER if self.is_newcomer else b""
        return subscription

    def assign(self, cluster: Any, members: Sequence[Any]) -> dict[str, Any]:
        (topic,) = members[0].metadata.topics
        claims: Partitions = defaultdict(set)
        newcomers = set()
        for member in members:
            claims[member.member_id] = {
                place.partition for place in self.parse_member_metadata(member.metadata).partitions
            }
            if member.metadata.user_data == NEWCOMER:
                newcomers.add(member.member_id)
        divided = divide(cluster.partitions_for_topic(topic) or (), claims, newcomers)
        return {
            member: ConsumerProtocolAssignment(self.version, [(topic, sorted(partitions))], b"")
            for member, partitions in divided.items()
        }


def divide(
    partitions: Collection[int], claims: Mapping[str, Collection[int]], newcomers: Collection[str]
) -> Partitions:
    """Return the partitions of each member after this rebalance. `claims` has its partitions before the rebalance.

    A partition without an owner goes to the member with the fewest. Then partitions move until all members have the
    same number, or one more. A newcomer gains from other newcomers only, and its share stays where it is for so long: a
    move costs each user of the partition a reconnect, and the newcomer may end as soon as it has come.

    A partition that moves, or that two members claim, is given to nobody: the next rebalance gives it to its new owner,
    when all others have released it.
    """
    owners = Counter(partition for claimed in claims.values() for partition in claimed)
    divided = {member: {part for part in claimed if owners[part] == 1} for member, claimed in claims.items()}
    settled = divided.keys() - newcomers
    share, remainder = divmod(len(partitions), len(claims))

    def load(member: str) -> tuple[int, str]:
        return len(divided[member]), member

    for partition in sorted(set(partitions) - owners.keys()):
        divided[min(settled or divided, key=load)].add(partition)
    for givers, receivers in ((divided.keys(), settled), (divided.keys() - settled, divided.keys())):
        while givers and receivers:
            giver, receiver = max(givers, key=load), min(receivers, key=load)
            most, fewest = len(divided[giver]), len(divided[receiver])
            if most <= max(fewest + 1, share) or fewest >= share + bool(remainder):
                break
            divided[receiver].add(divided[giver].pop())
    return {member: divided[member] - (owners.keys() - set(claimed)) for member, claimed in claims.items()}
