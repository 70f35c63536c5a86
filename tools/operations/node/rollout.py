"""Watch the pods of a release: the order of replacement, and the least number of ready pods of each role."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tools.operations.kubernetes import Manifest
from tools.operations.node.release import Release, role_of, serves
from tools.operations.node.waiting import POLL_SECONDS

ROLES = ("archive", "gateway", "bff")


@dataclass(frozen=True, slots=True)
class Replaced:
    """A new pod: role, number if it has one, and seconds until it was ready."""

    name: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.name} after {self.seconds:.0f} s"


class Rollout:
    """Observations so far."""

    def __init__(self, pods: list[Manifest]) -> None:
        self.replaced: list[Replaced] = []
        """New pods, in the order in which they became ready."""
        self.fewest = {role: len([pod for pod in pods if role_of(pod) == role]) for role in ROLES}
        """Least number of ready pods, by role."""
        self._uids = {pod["metadata"]["uid"] for pod in pods}
        self._began = time.monotonic()

    def add(self, pods: list[Manifest]) -> None:
        serving = [pod for pod in pods if serves(pod)]
        counts = Counter(map(role_of, serving))
        self.fewest = {role: min(number, counts[role]) for role, number in self.fewest.items()}
        for pod in serving:
            if pod["metadata"]["uid"] not in self._uids:
                self._uids.add(pod["metadata"]["uid"])
                number = pod["metadata"]["labels"].get("apps.kubernetes.io/pod-index")
                name = f"{role_of(pod)}-{number}" if number else role_of(pod)
                self.replaced.append(Replaced(name, time.monotonic() - self._began))

    def order_of(self, role: str) -> list[str]:
        return [each.name for each in self.replaced if each.name.startswith(role)]


@contextmanager
def watched(release: Release) -> Iterator[Rollout]:
    """Watch during the block."""
    rollout = Rollout(release.pods())
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            rollout.add(release.pods())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield rollout
    finally:
        done.set()
        thread.join()
