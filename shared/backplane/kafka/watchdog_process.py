"""The watchdog's process: it takes the members of a killed process out of their consumer groups.

`watchdog.py` starts it as a script, which imports nothing of Rookery: it takes 30 MB.

Each line of its standard input is JSON: first the options of the library's clients, then for each change of a
membership the group, the instance and the id of the member, which is empty once the member has left. The input ends
when the process that writes it closes it, or is dead.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from itertools import chain
from typing import Any

Membership = tuple[str, str]
"""The group and the instance of a member."""


def main() -> None:
    lines = read_lines(sys.stdin)
    options: dict[str, Any] = next(lines, {})
    if (first := next(lines, None)) is None:
        return
    admin = import_module("kafka.admin")  # now: the machine may be busy when a process is killed
    if members := memberships(chain([first], lines)):
        leave(admin, options, members)


def read_lines(source: Iterable[str]) -> Iterator[Any]:
    """Decode the lines; a process that was killed may have written a part of the last one."""
    for line in source:
        if line.endswith("\n"):
            yield json.loads(line)


def memberships(changes: Iterable[tuple[str, str, str]]) -> Mapping[Membership, str]:
    """The ids of the members that have not left."""
    members: dict[Membership, str] = {}
    for group, instance, member_id in changes:
        members[group, instance] = member_id
    return {membership: member_id for membership, member_id in members.items() if member_id}


def leave(admin: Any, options: Mapping[str, Any], members: Mapping[Membership, str]) -> None:
    """Take the members out of their groups, by kafka-python's module `admin`. A process that has joined as the same
    instance since then has another member id, and stays."""
    by_group = defaultdict[str, list[Any]](list)
    for (group, instance), member_id in members.items():
        by_group[group].append(admin.MemberToRemove(member_id, instance, "killed"))
    client = admin.KafkaAdminClient(**options)
    for group, removed in by_group.items():
        client.remove_group_members(group, removed)


if __name__ == "__main__":
    main()
