"""A real API server, and kubeconform with its schemas, accept every manifest of the chart; Helm installs, upgrades and
removes a release there. No pod runs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from uuid import uuid4

import pytest

from tests.needed import needed
from tools.engines.engine import running
from tools.operations.helm import Helm, conforms, write_schemas
from tools.operations.kubernetes import ApiServer, Etcd, Manifest, definitions, finishing_jobs
from tools.operations.manifests import (
    CASES,
    CHART,
    NAMESPACE,
    RELEASE,
    container_of,
    named,
    of_kind,
    values_of,
    workloads,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with the custom resources and our namespace."""
    needed(Etcd.install)
    needed(ApiServer.install)
    others = needed(definitions)
    folder = tmp_path_factory.mktemp("kubernetes")
    with ExitStack() as stack:
        etcd = stack.enter_context(running(Etcd(folder / "etcd")))
        ready = stack.enter_context(running(ApiServer(folder / "server", etcd)))
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
def test_everything_has_the_schema_of_its_kind(schemas: Path, objects: list[Manifest]) -> None:
    done = needed(conforms, objects, schemas)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_takes_everything(server: ApiServer, objects: list[Manifest]) -> None:
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
@pytest.mark.parametrize(("kind", "word", "broken"), BROKEN)
def test_a_field_that_there_is_not_is_found(
    server: ApiServer,
    schemas: Path,
    objects: list[Manifest],
    kind: str,
    word: str,
    broken: Callable[[Manifest], object],
) -> None:
    found = of_kind(objects, kind)[0]
    broken(found)
    answer = server.apply(found, namespace=NAMESPACE, dry_run=True)
    assert not answer.is_success
    assert word in answer.text
    assert needed(conforms, [found], schemas).returncode != 0


@pytest.mark.parametrize("case", ["production"])
def test_a_value_that_can_not_be_is_found(server: ApiServer, objects: list[Manifest]) -> None:
    found = named(objects, "Service", "chat-rookery-bff")
    found["spec"]["type"] = "Balancer"
    assert "Unsupported value" in server.apply(found, namespace=NAMESPACE, dry_run=True).text


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


@pytest.fixture
def installed(server: ApiServer, tmp_path: Path) -> Iterator[tuple[Helm, str]]:
    """Helm with the cluster, and a new namespace."""
    needed(Helm.program)
    helm = Helm(tmp_path, server.kubeconfig)
    namespace = f"test-{uuid4().hex[:8]}"
    server.make_namespace(namespace)
    yield helm, namespace
    helm.run("uninstall", RELEASE, "-n", namespace, "--ignore-not-found", "--no-hooks")


def test_a_release_is_installed_upgraded_rolled_back_and_removed(
    server: ApiServer, installed: tuple[Helm, str]
) -> None:
    helm, namespace = installed
    words: list[str | Path] = [RELEASE, CHART, "-n", namespace, "-f", values_of("plaintext")]

    def replicas() -> int:
        stored = server.get("apps/v1", "StatefulSet", "chat-rookery-gateway", namespace)
        assert stored is not None
        count: int = stored["spec"]["replicas"]
        return count

    with finishing_jobs(server, namespace) as jobs:
        done = helm.run("install", *words)
        assert done.returncode == 0, done.stderr
        assert "in plain" not in done.stdout
        assert "is not encrypted (tls.plaintext)" in done.stdout
        assert jobs == [{"Deployment": 0, "StatefulSet": 0}]  # migrated before any process
        assert len(server.list("apps/v1", "StatefulSet", namespace)) == 2
        assert replicas() == 3

        assert helm.run("upgrade", *words, "--set", "gateway.replicas=5").returncode == 0
        assert replicas() == 5
        assert len(jobs) == 2

        assert helm.run("rollback", RELEASE, "1", "-n", namespace).returncode == 0
        assert replicas() == 3

    assert helm.run("uninstall", RELEASE, "-n", namespace).returncode == 0
    kinds = [("apps/v1", "StatefulSet"), ("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ConfigMap")]
    assert [item for kind in kinds for item in server.list(*kind, namespace)] == []


def test_nothing_is_installed_when_the_migration_fails(server: ApiServer, installed: tuple[Helm, str]) -> None:
    helm, namespace = installed
    with finishing_jobs(server, namespace, well=False):
        done = helm.run("install", RELEASE, CHART, "-n", namespace, "-f", values_of("plaintext"))
    assert done.returncode != 0
    assert "failed pre-install" in done.stderr
    assert server.list("apps/v1", "StatefulSet", namespace) == []


def test_turning_autoscaling_on_takes_no_pod_away(server: ApiServer, installed: tuple[Helm, str]) -> None:
    helm, namespace = installed
    words: list[str | Path] = [
        RELEASE,
        CHART,
        "-n",
        namespace,
        "-f",
        values_of("plaintext"),
        "--set",
        "migrate.enabled=false",
    ]
    assert helm.run("install", *words).returncode == 0
    done = helm.run("upgrade", *words, "--set", "gateway.autoscaling.enabled=true,bff.autoscaling.enabled=true")
    assert done.returncode == 0, done.stderr
    for kind, name, expected in (("StatefulSet", "gateway", 3), ("Deployment", "bff", 2)):
        stored = server.get("apps/v1", kind, f"chat-rookery-{name}", namespace)
        assert stored is not None
        assert stored["spec"]["replicas"] == expected
