"""Helm, and kubeconform with the schemas of an API server, built from Go modules."""

import json
import os
import subprocess
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.operations.kubernetes import VERSION, Manifest
from tools.toolchains import go_tool

COMMAND_SECONDS = 300.0
"""Seconds for one command, which may wait for a Job; only ends a test that has failed."""


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm with its own folders, and a cluster if one is given."""

    folder: Path
    kubeconfig: Path | None = None

    @staticmethod
    def program() -> Path:
        """Build it at the first call, which takes minutes. Raises Missing."""
        major, minor, _ = VERSION.split(".")
        names = ("chartutil", "lint/rules")
        facts = {"k8sVersionMajor": major, "k8sVersionMinor": minor}
        flags = [f"-X helm.sh/helm/v3/pkg/{name}.{key}={value}" for name in names for key, value in facts.items()]
        return go_tool("helm", "helm.sh/helm/v3/cmd/helm", *flags)

    def run(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run a command of Helm; return the finished process."""
        folders = {f"HELM_{name}_HOME": str(self.folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        environment = {**os.environ, **folders, "KUBECONFIG": str(self.kubeconfig or os.devnull)}
        command = [str(self.program()), *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS)

    def template(
        self, chart: Path, *words: str | Path, release: str = "chat", namespace: str = "people"
    ) -> list[Manifest]:
        """Render a chart. Raises HelmFailed."""
        done = self.run("template", release, chart, "--namespace", namespace, *words)
        if done.returncode != 0:
            raise HelmFailed(done.stderr)
        return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


class HelmFailed(Exception):
    """Helm has failed; the text has its output."""


def write_schemas(open_api: Manifest, folder: Path) -> None:
    """Write an API server's OpenAPI as schemas for kubeconform: one file per kind, which forbids unknown fields."""
    known = {name: _schema(definition) for name, definition in open_api["definitions"].items()}
    known["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}
    known["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = {"type": ["string", "integer"]}
    (folder / "_definitions.json").write_text(json.dumps({"definitions": known}))
    for name, definition in open_api["definitions"].items():
        for each in definition.get("x-kubernetes-group-version-kind", []):
            group = each["group"].partition(".")[0]
            words = [each["kind"], *([group] if group else []), each["version"]]
            (folder / f"{'-'.join(words).lower()}.json").write_text(json.dumps(known[name]))


def conforms(manifests: Iterable[Manifest], schemas: Path) -> "subprocess.CompletedProcess[str]":
    """Run kubeconform. Raises Missing."""
    program = go_tool("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")
    location = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    words = [str(program), "-strict", "-summary", "-output", "json", "-schema-location", location, "-"]
    return subprocess.run(
        words, input=yaml.safe_dump_all(manifests), capture_output=True, text=True, timeout=COMMAND_SECONDS
    )


def _schema(node: Any) -> Any:
    """Convert a part of the OpenAPI to JSON Schema without unknown fields."""
    if isinstance(node, list):
        return [_schema(item) for item in node]
    if not isinstance(node, dict):
        return deepcopy(node)
    if isinstance(node.get("$ref"), str):
        return {"$ref": f"_definitions.json#/definitions/{node['$ref'].rpartition('/')[2]}"}
    if node.get("format") == "int-or-string" or node.get("x-kubernetes-int-or-string") is True:
        return {"type": ["string", "integer"]}
    schema = {key: _schema(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type", "object") == "object":
        schema.setdefault("additionalProperties", False)
    return schema
