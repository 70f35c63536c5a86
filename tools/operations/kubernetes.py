"""Kubernetes' API server on loopback, with etcd and the custom resources of the chart.

No controllers and no nodes: objects are checked and stored as in any cluster, and nothing runs. `finishing_jobs` ends
the Jobs that Helm waits for, in place of a controller.
"""

import json
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tools.engines.engine import ANSWER_SECONDS, Engine, Options
from tools.engines.install import Missing, need_program
from tools.launch.certificates import Authority
from tools.toolchains import OPERATIONS, go_tool, need_go

VERSION = "1.34.2"
"""Version of the API server, as in `go/kubernetes/go.mod`."""

TOKEN = "administrator"
"""Token of the only user: the server is on loopback, and has no secrets."""

REQUEST_SECONDS = 60.0
"""Seconds for a response; only ends a test that has failed."""

POLL_SECONDS = 0.1

CRDS = {
    "sigs.k8s.io/gateway-api": ["config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"],
    "github.com/cert-manager/cert-manager": ["deploy/crds/crd-certificates.yaml"],
    "github.com/prometheus-operator/prometheus-operator": [
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ],
}
"""Custom resources that the chart may create, by the Go modules that define them."""

Manifest = dict[str, Any]


class Etcd(Engine):
    """Storage of an API server."""

    name = "etcd"
    inner_ports = ("peer",)
    request = b"GET /health HTTP/1.0\r\n\r\n"
    reply = re.compile(rb"HTTP/1\.[01] 200")

    @classmethod
    def install(cls) -> None:
        need_program("etcd", "etcd-server")

    def command(self, ports: dict[str, int]) -> list[str]:
        clients, peers = (f"http://{self.host}:{ports[name]}" for name in ("port", "peer"))
        return [
            "etcd",
            f"--data-dir={self.home / 'data'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
        ]


class ApiServer(Engine):
    """The API server; its only user has all permissions."""

    name = "kube-apiserver"

    def __init__(self, home: Path, etcd: Etcd, options: Options | None = None) -> None:
        """`etcd` must run. Options are flags, without their dashes."""
        super().__init__(home, options)
        self._etcd = etcd
        self._authority = Authority(home / "pki")
        self._resources: dict[str, dict[str, Manifest]] = {}

    @classmethod
    def install(cls) -> None:
        cls.program()

    @staticmethod
    def program() -> Path:
        """Build it at the first call, which takes minutes. Raises Missing."""
        major, minor, _ = VERSION.split(".")
        facts = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor}
        flags = [f"-X k8s.io/component-base/version.{name}={value}" for name, value in facts.items()]
        return go_tool("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", *flags)

    @property
    def url(self) -> str:
        return f"https://{self.address}"

    @property
    def kubeconfig(self) -> Path:
        return self.home / "kubeconfig"

    def command(self, ports: dict[str, int]) -> list[str]:
        serving = self._authority.issue("serving")
        accounts = self.home / "accounts.pem"
        accounts.write_bytes(_private_key())
        tokens = self.home / "tokens.csv"
        tokens.write_text(f"{TOKEN},admin,admin,system:masters\n")
        self.kubeconfig.write_text(yaml.safe_dump(self._client_configuration()))
        options: Options = {
            "etcd-servers": f"http://{self._etcd.address}",
            "bind-address": self.host,
            "advertise-address": self.host,
            "secure-port": str(ports["port"]),
            "tls-cert-file": str(serving.certificate),
            "tls-private-key-file": str(serving.key),
            "service-cluster-ip-range": "10.96.0.0/16",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": str(accounts),
            "service-account-signing-key-file": str(accounts),
            "token-auth-file": str(tokens),
            "authorization-mode": "RBAC",
            "endpoint-reconciler-type": "none",
            "disable-admission-plugins": "ServiceAccount",  # it waits for an object of a controller
        }
        flags = {**options, **self.options}
        return [str(self.program()), *(f"--{name}={value}" for name, value in flags.items() if value is not None)]

    def is_ready(self) -> bool:
        try:
            return self.client.get("/readyz", timeout=ANSWER_SECONDS).status_code == 200
        except httpx.TransportError:
            return False

    @cached_property
    def client(self) -> httpx.Client:
        """HTTP client of its user."""
        trusting = ssl.create_default_context(cafile=self._authority.file)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.Client(base_url=self.url, headers=headers, verify=trusting, timeout=REQUEST_SECONDS)

    def apply(self, manifest: Manifest, *, namespace: str = "default", dry_run: bool = False) -> httpx.Response:
        """Do `kubectl apply --server-side --validate=strict`, or with `--dry-run=server`; return the response."""
        query = {"fieldManager": "tests", "fieldValidation": "Strict", "force": "true"}
        return self.client.patch(
            self.path(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"], namespace),
            params=query | ({"dryRun": "All"} if dry_run else {}),
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=json.dumps(manifest),
        )

    def get(self, api_version: str, kind: str, name: str, namespace: str) -> Manifest | None:
        """Return a stored object; None if it does not exist."""
        response = self.client.get(self.path(api_version, kind, name, namespace))
        if response.status_code == 404:
            return None
        found: Manifest = response.raise_for_status().json()
        return found

    def list(self, api_version: str, kind: str, namespace: str) -> list[Manifest]:
        """The objects of a kind in a namespace."""
        items: list[Manifest] = (
            self.client.get(self.path(api_version, kind, "", namespace)).raise_for_status().json()["items"]
        )
        return items

    def path(self, api_version: str, kind: str, name: str, namespace: str) -> str:
        """Path of an object, or without a name of all objects of the kind."""
        resource = self._resource(api_version, kind)
        within = f"/namespaces/{namespace}" if resource["namespaced"] else ""
        return f"{_root(api_version)}{within}/{resource['name']}/{name}".rstrip("/")

    def _resource(self, api_version: str, kind: str) -> Manifest:
        if kind not in self._resources.get(api_version, {}):
            known = self.client.get(_root(api_version)).raise_for_status().json()["resources"]
            self._resources[api_version] = {each["kind"]: each for each in known if "/" not in each["name"]}
        return self._resources[api_version][kind]

    def make_namespace(self, name: str, **labels: str) -> None:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.apply(manifest).raise_for_status()

    def define(self, definitions: Iterable[Manifest]) -> None:
        """Create custom resource definitions; wait until they are in the OpenAPI and in discovery."""
        by_kind = {definition["spec"]["names"]["kind"]: definition for definition in definitions}
        for definition in by_kind.values():
            self.apply(definition).raise_for_status()
        deadline = time.monotonic() + REQUEST_SECONDS
        while missing := by_kind.keys() - {kind for kind, _ in self.kinds()} or self._not_found(by_kind):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the API server does not serve {missing}")
            time.sleep(POLL_SECONDS)

    def _not_found(self, definitions: Mapping[str, Manifest]) -> set[str]:
        """Kinds that discovery does not list yet; it is updated apart from the OpenAPI."""
        found = set()
        for kind, spec in ((kind, definition["spec"]) for kind, definition in definitions.items()):
            roots = [_root(f"{spec['group']}/{version['name']}") for version in spec["versions"] if version["served"]]
            responses = [self.client.get(root) for root in roots]
            if all(
                each.is_success and kind in [resource["kind"] for resource in each.json()["resources"]]
                for each in responses
            ):
                found.add(kind)
        return definitions.keys() - found

    def kinds(self) -> Iterator[tuple[str, str]]:
        """Kind and name of each definition in its OpenAPI."""
        for name, definition in self.open_api()["definitions"].items():
            for each in definition.get("x-kubernetes-group-version-kind", []):
                yield each["kind"], name

    def open_api(self) -> Manifest:
        described: Manifest = self.client.get("/openapi/v2").raise_for_status().json()
        return described

    def _client_configuration(self) -> Manifest:
        cluster = {"server": self.url, "certificate-authority": str(self._authority.file)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "tests", "user": {"token": TOKEN}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            "current-context": "tests",
        }


def definitions() -> list[Manifest]:
    """The definitions of the kinds in `CRDS`, from the modules that `go/crds/go.mod` pins. Raises Missing."""
    command = [need_go(), "mod", "download", "-json", *CRDS]
    done = subprocess.run(command, cwd=OPERATIONS / "go/crds", capture_output=True, text=True)
    if done.returncode != 0:
        raise Missing(f"Go can't fetch the modules with the definitions: {done.stderr or done.stdout}")
    found = []
    for module in _json_documents(done.stdout):
        for name in CRDS[module["Path"]]:
            definition = yaml.safe_load((Path(module["Dir"]) / name).read_text())
            definition["metadata"] = {  # some files are chart templates, in labels and comments
                "name": definition["metadata"]["name"],
                "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
            }
            found.append(definition)
    return found


@contextmanager
def finishing_jobs(server: ApiServer, namespace: str, *, well: bool = True) -> Iterator[list[Mapping[str, int]]]:
    """During the block, complete or fail each new Job of a namespace at once, as its controller would.

    Yields a list with an entry for each ended Job: the number of workloads of each kind when it was found.
    """
    seen: list[Mapping[str, int]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            for job in server.list("batch/v1", "Job", namespace):
                if not job.get("status", {}).get("conditions"):
                    kinds = ("Deployment", "StatefulSet")
                    seen.append({kind: len(server.list("apps/v1", kind, namespace)) for kind in kinds})
                    _finish(server, job, well)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _finish(server: ApiServer, job: Manifest, well: bool) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    names = ("SuccessCriteriaMet", "Complete") if well else ("FailureTarget", "Failed")
    conditions = [{"type": name, "status": "True", "lastTransitionTime": now, "lastProbeTime": now} for name in names]
    status: Manifest = {"startTime": now, "conditions": conditions}
    status |= {"completionTime": now, "succeeded": 1} if well else {"failed": 1}
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    response = server.client.patch(
        f"{server.path('batch/v1', 'Job', name, namespace)}/status",
        headers={"Content-Type": "application/merge-patch+json"},
        content=json.dumps({"status": status}),
    )
    if response.status_code != 404:  # deleted meanwhile
        response.raise_for_status()


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _json_documents(text: str) -> Iterator[Any]:
    decoder, text = json.JSONDecoder(), text.strip()
    while text:
        document, end = decoder.raw_decode(text)
        yield document
        text = text[end:].strip()


def _private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
