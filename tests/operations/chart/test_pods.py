"""The pods of the chart are our processes: settings, ports, probes, time to drain, files, secrets, privileges."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from rookery.commands.cli import main
from shared.settings import ENV_PREFIX
from shared.telemetry.health import CHECK_DEADLINE, PROBES
from tools.operations.helm import Helm
from tools.operations.kubernetes import Manifest
from tools.operations.manifests import (
    CASES,
    CHART,
    DISTRIBUTED,
    EXPOSED,
    NAMESPACE,
    RELEASE,
    SECRETS,
    Running,
    container_of,
    named,
    of_kind,
    pod_of,
    ports_of,
    role_of,
    secret_settings,
    values_of,
    workloads,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", CASES)
def test_settings_and_commands_exist(processes: list[Running], case: str) -> None:
    assert isinstance(main, click.Group)
    roles = {"archive", "gateway", "bff", "migrate"} if case in DISTRIBUTED else {"embedded"}
    assert {process.role for process in processes} == roles
    for process in processes:
        (command,) = container_of(process.workload)["args"]
        assert command == {"embedded": "up"}.get(process.role, process.role)
        assert command in main.commands
        assert process.settings.engines == ({"kafka", "cassandra", "redis"} if case in DISTRIBUTED else set())


@pytest.mark.parametrize("case", CASES)
def test_each_port_is_one_on_which_the_process_listens(processes: list[Running]) -> None:
    for process in processes:
        settings = process.settings
        ports: dict[str, dict[str, int | None]] = {
            "bff": {"http": settings.bff.port, "health": settings.bff.health_port},
            "gateway": {
                "websocket": settings.gateway.websocket_port,
                "grpc": settings.gateway.grpc_port,
                "health": settings.gateway.health_port,
            },
            "archive": {"grpc": settings.archive.grpc_port, "health": settings.archive.health_port},
            "migrate": {},
        }
        ports["embedded"] = ports["gateway"] | ports["bff"]
        assert ports_of(process.workload) == ports[process.role]
        for section in {"embedded": ["bff", "gateway"], "migrate": []}.get(process.role, [process.role]):
            assert getattr(settings, section).host == "0.0.0.0"


@pytest.mark.parametrize("case", CASES)
def test_probes_ask_where_health_is_and_wait_longer_than_its_checks(processes: list[Running]) -> None:
    for process in processes:
        if process.role == "migrate":
            continue
        container = container_of(process.workload)
        for probe, path in zip(("livenessProbe", "readinessProbe", "startupProbe"), PROBES, strict=True):
            get = container[probe]["httpGet"]
            assert get["path"] == f"/{path}"
            assert get["port"] == "health"
            assert (get["scheme"] == "HTTPS") == (process.settings.tls.certificate_file is not None)
            assert container[probe]["timeoutSeconds"] > CHECK_DEADLINE
        startup, is_embedded = container["startupProbe"], process.role == "embedded"
        assert startup["periodSeconds"] * startup["failureThreshold"] == (1_800 if is_embedded else 180)


@pytest.mark.parametrize("case", CASES)
def test_a_pod_has_longer_than_its_drain_takes(processes: list[Running]) -> None:
    for process in processes:
        if process.role != "migrate":
            pause = container_of(process.workload).get("lifecycle", {}).get("preStop", {}).get("sleep", {"seconds": 0})
            drain = pause["seconds"] + process.settings.stop_deadline
            assert pod_of(process.workload)["spec"]["terminationGracePeriodSeconds"] > drain


@pytest.mark.parametrize("case", CASES)
def test_containers_have_no_privileges_and_no_service_links(objects: list[Manifest]) -> None:
    for workload in workloads(objects):
        pod, container = pod_of(workload)["spec"], container_of(workload)
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001  # as in the image
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        # Service links would set variables such as ROOKERY_BFF_PORT, and Rookery refuses unknown settings.
        assert pod["enableServiceLinks"] is False
        assert not any(key in pod for key in ("hostNetwork", "hostPID", "hostIPC"))
        assert "memory" in container["resources"]["limits"]
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
        account = named(objects, "ServiceAccount", pod["serviceAccountName"])
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("case", DISTRIBUTED)
def test_migrations_run_before_a_release_and_after_an_upgrade(objects: list[Manifest]) -> None:
    jobs = {job["metadata"]["annotations"]["helm.sh/hook"]: pod_of(job) for job in of_kind(objects, "Job")}
    assert jobs.keys() == {"pre-install,pre-upgrade", "post-upgrade"}
    assert jobs["pre-install,pre-upgrade"] == jobs["post-upgrade"]
    for event, pod in jobs.items():
        account = named(objects, "ServiceAccount", pod["spec"]["serviceAccountName"])
        assert {*event.split(",")} <= {*account["metadata"]["annotations"]["helm.sh/hook"].split(",")}


@pytest.mark.parametrize("case", CASES)
def test_secrets_are_references_and_no_values(objects: list[Manifest]) -> None:
    secret = {f"{ENV_PREFIX}{name}" for name in secret_settings()}
    assert of_kind(objects, "Secret") == []
    written = [config["data"] for config in of_kind(objects, "ConfigMap")]
    for workload in workloads(objects):
        variables = container_of(workload).get("env", [])
        written += [{each["name"]: each["value"]} for each in variables if "value" in each]
    for variables in written:
        assert variables.keys() & secret <= {"ROOKERY_REDIS__URL"}
        assert "@" not in variables.get("ROOKERY_REDIS__URL", "")


@pytest.mark.parametrize("case", ["production"])
def test_every_secret_reaches_the_processes_that_need_it(processes: list[Running]) -> None:
    for process in processes:
        settings, is_serving = process.settings, process.role != "migrate"
        assert settings.redis.url.get_secret_value() == SECRETS["ROOKERY_REDIS__URL"]
        assert settings.kafka.password.get_secret_value() == settings.cassandra.password.get_secret_value() == "hidden"
        assert (settings.archive_token.get_secret_value() == SECRETS["ROOKERY_ARCHIVE_TOKEN"]) == is_serving
        assert (settings.files.secret_key.get_secret_value() == "hidden") == (process.role in ("archive", "bff"))
        assert (settings.traces.headers.keys() == {"authorization"}) == is_serving
        proxy = settings.previews.proxy.get_secret_value()
        assert (proxy == SECRETS["ROOKERY_PREVIEWS__PROXY"]) == (process.role == "gateway")


def secrets_in(value: Any) -> Iterator[str]:
    """Names of the Secrets to which a part of a manifest refers."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "secretKeyRef":
                yield inner["name"]
            elif key == "secretName":
                yield inner
            else:
                yield from secrets_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from secrets_in(inner)


@pytest.mark.parametrize("case", ["ingress"])
def test_the_documented_installation_creates_the_secrets_that_its_values_name(objects: list[Manifest]) -> None:
    text = (CHART.parents[2] / "docs/kubernetes.md").read_text()
    assert "cp deploy/helm/rookery/ci/ingress-values.yaml my-values.yaml" in text
    created = re.findall(r"^    kubectl -n chat create secret \w+ (\S+)", text, re.MULTILINE)
    made = {certificate["spec"]["secretName"] for certificate in of_kind(objects, "Certificate")}  # by cert-manager
    assert set(secrets_in(objects)) - made == set(created)


@pytest.mark.parametrize("case", [case for case in EXPOSED if case in DISTRIBUTED])
def test_archives_of_an_exposed_platform_require_a_token(processes: list[Running]) -> None:
    assert [each.role for each in processes if not each.settings.archive_token.get_secret_value()] == ["migrate"] * 2


@pytest.mark.parametrize("case", CASES)
def test_every_file_of_the_settings_is_mounted(processes: list[Running]) -> None:
    for process in processes:
        pod, container = pod_of(process.workload)["spec"], container_of(process.workload)
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"] for volume in pod["volumes"]}
        claims = {claim["metadata"]["name"] for claim in process.workload["spec"].get("volumeClaimTemplates", [])}
        assert set(mounts.values()) == volumes | claims
        settings = process.settings
        sections = [settings.tls, settings.kafka, settings.cassandra, settings.files]
        files = [value for section in sections for _, value in section if isinstance(value, Path)]
        assert {str(file.parent) for file in files} <= mounts.keys()
        if process.role == "embedded":
            assert mounts[str(settings.data)] == "data"
        elif process.role in ("archive", "bff") and not settings.files.url:
            assert mounts["/data/files"] == "shared-files"


@pytest.mark.parametrize("case", DISTRIBUTED)
def test_processes_have_names_that_stay(processes: list[Running]) -> None:
    for process in processes:
        if process.role != "migrate":
            assert process.settings.kafka.instance == f"{process.workload['metadata']['name']}-0"
        if process.role in ("archive", "gateway"):
            assert process.workload["kind"] == "StatefulSet"
            assert process.workload["spec"]["podManagementPolicy"] == "Parallel"


def checksums(objects: list[Manifest]) -> dict[str, str]:
    serving = of_kind(objects, "Deployment", "StatefulSet")
    return {role_of(each): pod_of(each)["metadata"]["annotations"]["checksum/settings"] for each in serving}


@pytest.mark.parametrize("case", ["ingress"])
def test_a_change_of_settings_rolls_the_pods_that_read_them(helm: Helm, objects: list[Manifest]) -> None:
    def changed(setting: str) -> set[str]:
        words = ("-f", values_of("ingress"), "--set", setting)
        after = checksums(helm.template(CHART, *words, release=RELEASE, namespace=NAMESPACE))
        return {role for role, before in checksums(objects).items() if after[role] != before}

    assert changed("logLevel=debug") == {"archive", "gateway", "bff"}
    assert changed("public.host=talk.example.org") == {"gateway"}
    assert changed("gateway.replicas=4") == set()


@pytest.mark.parametrize(
    ("case", "value"),
    [
        ("plaintext", "gateway.imageTag=next"),
        ("production", "gateway.imageTag=next"),
        ("production", f"gateway.imageDigest=sha256:{'1' * 64}"),
    ],
)
def test_roles_can_be_upgraded_one_by_one(helm: Helm, objects: list[Manifest], case: str, value: str) -> None:
    after = helm.template(CHART, "-f", values_of(case), "--set", value, release=RELEASE, namespace=NAMESPACE)
    changed = {
        role_of(new): container_of(new)["image"]
        for old, new in zip(workloads(objects), workloads(after), strict=True)
        if pod_of(old) != pod_of(new)
    }
    assert changed.keys() == {"gateway"}
    assert changed["gateway"].endswith(value.partition("=")[2])


@pytest.mark.parametrize("case", ["embedded"])
def test_the_embedded_platform_is_one_pod_that_keeps_its_data(objects: list[Manifest]) -> None:
    (workload,) = workloads(objects)
    assert workload["spec"]["replicas"] == 1
    assert workload["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert of_kind(objects, "PodDisruptionBudget", "HorizontalPodAutoscaler", "Job") == []
