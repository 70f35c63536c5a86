"""The chart, its value sets, and queries on the rendered manifests."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, SecretStr

from shared.settings import Settings
from tools.operations.kubernetes import Manifest
from tools.toolchains import ROOT

CHART = ROOT / "deploy/helm/rookery"

CASES = sorted(file.stem.removesuffix("-values") for file in (CHART / "ci").glob("*.yaml"))

DISTRIBUTED = [case for case in CASES if "embedded" not in case]

EXPOSED = ["ingress", "gateway-api", "production", "embedded-ingress"]
"""Value sets that expose the platform outside the cluster."""

RELEASE, NAMESPACE = "chat", "people"

WORKLOADS = ("Deployment", "StatefulSet", "Job")

SECRETS = {
    "ROOKERY_ARCHIVE_TOKEN": "a-token-of-24-characters",
    "ROOKERY_KAFKA__USERNAME": "rookery",
    "ROOKERY_KAFKA__PASSWORD": "hidden",
    "ROOKERY_CASSANDRA__USERNAME": "rookery",
    "ROOKERY_CASSANDRA__PASSWORD": "hidden",
    "ROOKERY_REDIS__URL": "rediss://:hidden@redis:6379/0",
    "ROOKERY_FILES__ACCESS_KEY": "rookery",
    "ROOKERY_FILES__SECRET_KEY": "hidden",
    "ROOKERY_TRACES__HEADERS": '{"authorization": "hidden"}',
    "ROOKERY_PREVIEWS__PROXY": "http://rookery:hidden@proxy:3128",
}
"""Values of the variables that refer to Secrets."""


def values_of(case: str) -> Path:
    return CHART / f"ci/{case}-values.yaml"


@dataclass(frozen=True, slots=True)
class Running:
    """A workload, and the settings that its pods read."""

    workload: Manifest
    settings: Settings

    @property
    def role(self) -> str:
        return role_of(self.workload)


def secret_settings(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Environment variables of secret settings, without the prefix."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from secret_settings(kind, f"{prefix}{name.upper()}__")
        elif kind is SecretStr or SecretStr in get_args(kind):
            yield f"{prefix}{name.upper()}"


def of_kind(objects: list[Manifest], *kinds: str) -> list[Manifest]:
    return [each for each in objects if each["kind"] in kinds]


def named(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [each for each in of_kind(objects, kind) if each["metadata"]["name"] == name]
    return found


def workloads(objects: list[Manifest]) -> list[Manifest]:
    return of_kind(objects, *WORKLOADS)


def pod_of(workload: Manifest) -> Manifest:
    template: Manifest = workload["spec"]["template"]
    return template


def container_of(workload: Manifest) -> Manifest:
    (container,) = pod_of(workload)["spec"]["containers"]
    found: Manifest = container
    return found


def role_of(workload: Manifest) -> str:
    role: str = pod_of(workload)["metadata"]["labels"]["app.kubernetes.io/component"]
    return role


def ports_of(workload: Manifest) -> dict[str, int]:
    """Ports of its container, by name."""
    return {port["name"]: port["containerPort"] for port in container_of(workload).get("ports", [])}


def selected(objects: list[Manifest], labels: Mapping[str, str], *, without: str = "") -> list[Manifest]:
    """Workloads whose pods have the labels; `without` is ignored."""
    wanted = {(key, value) for key, value in labels.items() if key != without}
    return [each for each in workloads(objects) if wanted <= pod_of(each)["metadata"]["labels"].items()]


def environment_of(objects: list[Manifest], workload: Manifest, pod_name: str) -> dict[str, str]:
    """Environment that the kubelet sets in a pod of that name, with `SECRETS` as values of Secrets."""
    container = container_of(workload)
    environment: dict[str, str] = {}
    for source in container.get("envFrom", []):
        environment |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    own: dict[str, str] = {}
    for variable in container.get("env", []):
        source = variable.get("valueFrom", {})
        if "secretKeyRef" in source:
            own[variable["name"]] = SECRETS[variable["name"]]
        elif "fieldRef" in source:
            assert source["fieldRef"] == {"fieldPath": "metadata.name"}
            own[variable["name"]] = pod_name
        else:
            value = variable["value"]
            for name, known in own.items():
                value = value.replace(f"$({name})", known)
            own[variable["name"]] = value
    return environment | own
