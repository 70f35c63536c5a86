"""A release of the chart on the node, in its own namespace, which enforces `restricted`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.operations.helm import Helm
from tools.operations.kubernetes import ApiServer, Manifest
from tools.operations.manifests import CHART
from tools.operations.node.machine import IMAGE
from tools.operations.node.waiting import PATIENCE, timed, timed_until

RELEASE = "chat"

ROLE = "app.kubernetes.io/component"
"""Label of a pod's role."""


class Release:
    """A release that is not installed yet."""

    def __init__(self, folder: Path, server: ApiServer, namespace: str, values: Mapping[str, Any]) -> None:
        self.server = server
        self.namespace = namespace
        self._helm = Helm(folder / "helm", server.kubeconfig)
        repository, tag = IMAGE.split(":")
        self._values = folder / f"{namespace}-values.yaml"
        self._values.write_text(json.dumps({**values, "image": {"repository": repository, "tag": tag}}))
        server.make_namespace(namespace, **{"pod-security.kubernetes.io/enforce": "restricted"})

    def apply(self, *more: str) -> None:
        """Install or upgrade it with further arguments, and wait for its pods."""
        words = ["upgrade", "--install", RELEASE, str(CHART), "-n", self.namespace, "-f", str(self._values)]
        self._run(*words, "--wait", "--timeout", f"{PATIENCE:g}s", *more)

    def remove(self) -> None:
        with timed("removed"):
            self._run("uninstall", RELEASE, "-n", self.namespace, "--wait")
        timed_until("no pod is left", lambda: not self.pods())

    def pods(self, role: str = "") -> list[Manifest]:
        """Pods of serving processes, of all roles or of one."""
        found = self.server.list("v1", "Pod", self.namespace)
        return [pod for pod in found if role_of(pod) != "migrate" and role in ("", role_of(pod))]

    def pod(self, name: str) -> Manifest:
        found = self.server.get("v1", "Pod", name, self.namespace)
        assert found is not None, name
        return found

    def _run(self, *words: str) -> None:
        done = self._helm.run(*words)
        assert done.returncode == 0, "\n".join([done.stderr, *self._events(), *self._log_tails()])

    def _events(self) -> list[str]:
        events = self.server.list("v1", "Event", self.namespace)
        return [f"{each['involvedObject']['name']}: {each.get('message')}" for each in events]

    def _log_tails(self) -> list[str]:
        logs = sorted(Path("/var/log/pods").glob(f"{self.namespace}_*/*/*.log"))
        return [f"{log.parent.parent.name}: {log.read_text(errors='replace')[-2000:]}" for log in logs]


def role_of(pod: Manifest) -> str:
    role: str = pod["metadata"]["labels"].get(ROLE, "")
    return role


def is_true(found: Manifest | None, condition: str) -> bool:
    """Whether a condition in an object's status is true."""
    conditions = (found or {}).get("status", {}).get("conditions", [])
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)


def serves(pod: Manifest) -> bool:
    """Whether it is ready and not being deleted."""
    return is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]
