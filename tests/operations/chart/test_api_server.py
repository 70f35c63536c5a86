"""A real API server, and kubeconform with its schemas, accept every manifest of the chart; Helm installs, upgrades and
removes a release there. No pod runs."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.needed import needed
from tools.engines.engine import running
from tools.operations.helm import Helm, conforms, write_schemas
from tools.operations.kubernetes import ApiServer, Etcd, Manifest, definitions, finishing_jobs
from tools.operations.manifests import CASES, CHART, NAMESPACE, RELEASE, container_of, of_kind, values_of, workloads

if TYPE_CHECKING:
    from subprocess import CompletedProcess

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with the custom resources and our namespace."""
    needed(Etcd.install)
    needed(ApiServer.install)
    others = needed(definitions)
    folder = tmp_path_factory.mktemp("kubernetes")
    with running(Etcd(folder / "etcd")) as etcd, running(ApiServer(folder / "server", etcd)) as ready:
        ready.define(others)
        ready.make_namespace(NAMESPACE)
        yield ready
        ready.client.close()


@pytest.fixture(scope="module")
def schemas(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Schemas for kubeconform."""
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(server.open_api(), folder)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_kubeconform_and_the_api_server_accept_every_manifest(
    server: ApiServer, schemas: Path, objects: list[Manifest]
) -> None:
    done = needed(conforms, objects, schemas)
    assert done.returncode == 0, done.stdout + done.stderr
    for each in objects:
        answer = server.apply(each, namespace=NAMESPACE, dry_run=True)
        assert answer.is_success, (each["kind"], each["metadata"]["name"], answer.text)


BROKEN: list[tuple[str, str, Callable[[Manifest], object]]] = [
    ("Deployment", "containerPrt", lambda found: container_of(found)["ports"][0].update(containerPrt=1)),
    ("StatefulSet", "readyness", lambda found: container_of(found).update(readynessProbe={})),
    ("HorizontalPodAutoscaler", "averageValu", lambda found: found["spec"]["metrics"][0].update(averageValu=1)),
    ("PodMonitor", "podMetricEndpoints", lambda found: found["spec"].update(podMetricEndpoints=[])),
    ("NetworkPolicy", "ingres", lambda found: found["spec"].update(ingres=[])),
]
"""Kind, an unknown field, and a function that adds it."""


@pytest.mark.parametrize("case", ["production"])
@pytest.mark.parametrize(("kind", "word", "add"), BROKEN)
def test_both_reject_an_unknown_field(
    server: ApiServer, schemas: Path, objects: list[Manifest], kind: str, word: str, add: Callable[[Manifest], object]
) -> None:
    found = of_kind(objects, kind)[0]
    add(found)
    answer = server.apply(found, namespace=NAMESPACE, dry_run=True)
    assert not answer.is_success
    assert word in answer.text
    assert needed(conforms, [found], schemas).returncode != 0


@pytest.mark.parametrize("case", CASES)
def test_every_pod_keeps_to_the_strictest_standard_of_kubernetes(server: ApiServer, objects: list[Manifest]) -> None:
    server.make_namespace("restricted", **{"pod-security.kubernetes.io/enforce": "restricted"})
    for workload in workloads(objects):
        pod = deepcopy(workload["spec"]["template"])
        pod |= {"apiVersion": "v1", "kind": "Pod"}
        pod["metadata"] |= {"name": workload["metadata"]["name"]}
        pod["spec"].pop("priorityClassName", None)  # not in this cluster
        claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
        pod["spec"]["volumes"] += [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
        answer = server.apply(pod, namespace="restricted", dry_run=True)
        assert answer.is_success, answer.text
        del pod["spec"]["securityContext"]["runAsNonRoot"]
        assert "violates PodSecurity" in server.apply(pod, namespace="restricted", dry_run=True).text


# ---- a release


@dataclass(frozen=True, slots=True)
class Release:
    """A release in a namespace of its own."""

    server: ApiServer
    helm: Helm
    namespace: str

    def run(self, command: str, *options: str) -> "CompletedProcess[str]":
        """Install or upgrade the chart."""
        return self.helm.run(command, RELEASE, CHART, "-n", self.namespace, "-f", values_of("plaintext"), *options)

    def replicas(self, kind: str, name: str) -> int:
        stored = self.server.get("apps/v1", kind, f"chat-rookery-{name}", self.namespace)
        assert stored is not None
        count: int = stored["spec"]["replicas"]
        return count


@pytest.fixture
def release(server: ApiServer, tmp_path: Path) -> Iterator[Release]:
    """A release that is not installed."""
    needed(Helm.program)
    helm = Helm(tmp_path, server.kubeconfig)
    namespace = f"test-{uuid4().hex[:8]}"
    server.make_namespace(namespace)
    yield Release(server, helm, namespace)
    helm.run("uninstall", RELEASE, "-n", namespace, "--ignore-not-found", "--no-hooks")


def test_a_release_is_installed_upgraded_rolled_back_and_removed(server: ApiServer, release: Release) -> None:
    helm, namespace = release.helm, release.namespace
    with finishing_jobs(server, namespace) as jobs:
        done = release.run("install")
        assert done.returncode == 0, done.stderr
        assert "in plain" not in done.stdout
        assert "is not encrypted (tls.plaintext)" in done.stdout
        assert jobs == [{"Deployment": 0, "StatefulSet": 0}]  # migrated before any process
        assert len(server.list("apps/v1", "StatefulSet", namespace)) == 2
        assert release.replicas("StatefulSet", "gateway") == 3

        assert release.run("upgrade", "--set", "gateway.replicas=5").returncode == 0
        assert release.replicas("StatefulSet", "gateway") == 5
        assert len(jobs) == 3  # once before the upgrade, and once after it

        assert helm.run("rollback", RELEASE, "1", "-n", namespace).returncode == 0
        assert release.replicas("StatefulSet", "gateway") == 3

    assert helm.run("uninstall", RELEASE, "-n", namespace).returncode == 0
    kinds = [("apps/v1", "StatefulSet"), ("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ConfigMap")]
    assert [item for kind in kinds for item in server.list(*kind, namespace)] == []


@pytest.mark.parametrize(
    ("case", "dns"),
    [
        ("ingress", "the DNS needs *.sessions.chat.example.org, and"),
        ("gateway-api", "the DNS needs *.sessions.chat.example.org, and"),
        ("production", "the DNS needs an entry for each of their Services (external-dns makes them), and"),
    ],
)
def test_the_notes_name_the_entries_of_the_dns_and_missing_proxies(release: Release, case: str, dns: str) -> None:
    install = ("install", RELEASE, CHART, "-n", release.namespace, "--dry-run=client", "-f", values_of(case))
    notes = [
        " ".join(release.helm.run(*install, *words).stdout.partition("NOTES:")[2].split())
        for words in ((), ("--set", "exposure.trustedProxies=null"))
    ]
    assert all(dns in each for each in notes)
    assert ["set exposure.trustedProxies" in each for each in notes] == [False, case != "production"]


def test_nothing_is_installed_when_the_migration_fails(server: ApiServer, release: Release) -> None:
    with finishing_jobs(server, release.namespace, well=False):
        done = release.run("install")
    assert done.returncode != 0
    assert "failed pre-install" in done.stderr
    assert server.list("apps/v1", "StatefulSet", release.namespace) == []


def test_turning_autoscaling_on_removes_no_pod(release: Release) -> None:
    without_job = "migrate.enabled=false"
    assert release.run("install", "--set", without_job).returncode == 0
    autoscaling = "gateway.autoscaling.enabled=true,bff.autoscaling.enabled=true"
    done = release.run("upgrade", "--set", f"{without_job},{autoscaling}")
    assert done.returncode == 0, done.stderr
    assert (release.replicas("StatefulSet", "gateway"), release.replicas("Deployment", "bff")) == (3, 2)
