"""The chart on a real Kubernetes node: controllers, scheduler, kubelet and containerd, in namespaces of this machine.

    python -m tests.operations.node

builds what it takes (some minutes, once), installs the embedded platform, chats with it, upgrades it, finds what was
said, and removes it. It needs root and Linux. There is no kube-proxy and no DNS: pods are reached by their addresses.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trio
import yaml

from rookery.client import open_client
from tests.backends.backend import running
from tests.backends.install import Missing, install_lock, need_program
from tests.operations.chart.manifests import CHART, values_of
from tests.operations.containers import Containers
from tests.operations.helm import Helm
from tests.operations.kubernetes import ApiServer, Etcd, Manifest
from tests.system.people import PASSWORD
from tests.toolchains import OPERATIONS, go_programs

PROGRAMS = ("kube-controller-manager", "kube-scheduler", "kubelet")

NODE = "192.0.2.10"
"""The node's address in its own network: of those that are for documentation."""

NAMESPACE, RELEASE, POD = "people", "chat", "chat-rookery-0"

IMAGE, PAUSE = "localhost/rookery:node", "localhost/pause:node"

INSIDE = "--inside"

PATIENCE = 300.0
"""Seconds for what must happen: it only ends a run that has failed."""

POLL_SECONDS = 0.2

CONTAINERD = """
version = 2
root = "{folder}/containerd"
state = "/run/rookery-node"
oom_score = 0
[grpc]
address = "/run/rookery-node.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""

ADDRESSES = {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "dataDir": "/run/rookery-addresses"}

BRIDGE = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [{"type": "bridge", "bridge": "pods", "isGateway": True, "ipam": ADDRESSES}],
}

KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "address": "127.0.0.1",
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},  # on loopback of a network that nobody else has
    "cgroupDriver": "cgroupfs",
    "failSwapOn": False,
    "failCgroupV1": False,
    "oomScoreAdj": 0,
    "containerRuntimeEndpoint": "unix:///run/rookery-node.sock",
    "resolvConf": "",
    "healthzPort": 0,
    "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
    "imageGCHighThresholdPercent": 100,
}

# ---- outside: what it takes, then everything else in namespaces that end with their first process


def prepare(folder: Path) -> None:
    """Install, build, and put images into files. Raises Missing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Missing("a node needs Linux, and root there")
    if groups_of_pods():
        raise Missing("there is a node on this machine already")
    need_program("containerd", "containerd")
    need_program("/usr/lib/cni/bridge", "containernetworking-plugins")
    Etcd.install()
    ApiServer.install()
    Helm.program()
    programs()
    containers = Containers()
    containers.install()
    pause = folder / "pause"
    pause.mkdir()
    (pause / "Dockerfile").write_text(f'FROM {IMAGE}\nENTRYPOINT ["sleep", "infinity"]\n')
    words = ["--multi-image-archive", "--format=docker-archive", f"--output={folder / 'images.tar'}"]
    with install_lock():
        containers.build(IMAGE)
        containers.podman("build", "--quiet", "--network=host", f"--tag={PAUSE}", str(pause))
        containers.podman("save", *words, IMAGE, PAUSE)
        containers.podman("untag", PAUSE)
        containers.podman("untag", IMAGE)


def groups_of_pods() -> list[Path]:
    """The control groups that a kubelet makes, and leaves behind when it is killed."""
    return [*Path("/sys/fs/cgroup").glob("kubepods"), *Path("/sys/fs/cgroup").glob("*/kubepods")]


def programs() -> Path:
    """The folder of those that make a node of this machine. Raises Missing."""
    return go_programs(OPERATIONS / "go/kubernetes-node", *(f"k8s.io/kubernetes/cmd/{name}" for name in PROGRAMS))


def outside() -> int:
    """Exit status."""
    with tempfile.TemporaryDirectory(prefix="rookery-node-") as name:
        folder = Path(name)
        print("building what it takes", flush=True)
        try:
            prepare(folder)
        except Missing as missing:
            print(missing, file=sys.stderr)
            return os.EX_UNAVAILABLE
        spaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        try:
            return subprocess.run([*spaces, sys.executable, "-m", __spec__.name, INSIDE, name]).returncode
        finally:
            for group in groups_of_pods():
                for each in sorted(group.glob("**/"), reverse=True):
                    each.rmdir()


# ---- inside: the first process of the namespaces, with which all others end


def inside(folder: Path) -> None:
    """Be a node, and use it. Raises AssertionError for what is not as promised."""
    for command in (
        ["mount", "--make-rshared", "/"],
        ["mount", "-t", "tmpfs", "tmpfs", "/run"],
        ["mount", "-t", "tmpfs", "tmpfs", "/var/log"],
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "add", "node", "type", "veth", "peer", "name", "outside"],
        ["ip", "address", "add", f"{NODE}/24", "dev", "node"],
        ["ip", "link", "set", "node", "up"],
        ["ip", "link", "set", "outside", "up"],
        ["ip", "route", "add", "default", "dev", "node"],
    ):
        subprocess.run(command, check=True)
    with ExitStack() as stack:
        etcd = stack.enter_context(running(Etcd(folder / "etcd")))
        options = {"disable-admission-plugins": None, "allow-privileged": "true"}
        server = stack.enter_context(running(ApiServer(folder / "server", etcd, options)))
        start_node(folder, server, stack)
        told("the node is ready", lambda: is_true(server.get("v1", "Node", "node", ""), "Ready"))
        use(folder, server)


def start_node(folder: Path, server: ApiServer, stack: ExitStack) -> None:
    """Containerd with the images, then what makes a node of it; they end with the stack."""
    (folder / "cni").mkdir()
    (folder / "cni/pods.conflist").write_text(json.dumps(BRIDGE))
    (folder / "containerd.toml").write_text(CONTAINERD.format(folder=folder, pause=PAUSE))
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(KUBELET))
    stack.enter_context(started(folder, "containerd", "--config", str(folder / "containerd.toml")))
    tool = ["ctr", "--address", "/run/rookery-node.sock", "--namespace", "k8s.io"]
    until("containerd answers", lambda: subprocess.run([*tool, "version"], capture_output=True).returncode == 0)
    subprocess.run([*tool, "images", "import", str(folder / "images.tar")], check=True, stdout=subprocess.DEVNULL)
    built, configuration = programs(), f"--kubeconfig={server.kubeconfig}"
    for name in ("kube-controller-manager", "kube-scheduler"):
        words = [configuration, "--leader-elect=false", "--bind-address=127.0.0.1"]
        stack.enter_context(started(folder, str(built / name), *words))
    words = [configuration, f"--config={folder / 'kubelet.yaml'}", f"--root-dir={folder / 'kubelet'}"]
    words += ["--hostname-override=node", f"--node-ip={NODE}"]
    stack.enter_context(started(folder, str(built / "kubelet"), *words))


def use(folder: Path, server: ApiServer) -> None:
    """A release in its life: installed, chatted with, upgraded, found as it was, removed."""
    server.make_namespace(NAMESPACE, **{"pod-security.kubernetes.io/enforce": "restricted"})
    server.apply(volume(folder)).raise_for_status()
    helm = Helm(folder / "helm", server.kubeconfig)
    repository, tag = IMAGE.split(":")
    words = ["upgrade", "--install", RELEASE, str(CHART), "-n", NAMESPACE, "-f", str(values_of("embedded"))]
    words += ["--set", f"image.repository={repository},image.tag={tag}", "--wait", "--timeout", f"{PATIENCE:g}s"]

    def run(what: str, *more: str) -> None:
        began = time.monotonic()
        done = helm.run(*(more if more[:1] == ("uninstall",) else (*words, *more)))
        assert done.returncode == 0, (done.stderr, server.list("v1", "Event", NAMESPACE))
        print(f"{what} ({time.monotonic() - began:.1f} s)", flush=True)

    run("installed: the pod has passed its probes")
    first = pod(server)
    text = f"said to {first['metadata']['uid']}"
    chat_id = trio.run(say, address_of(first), text)
    run("upgraded: another pod, ready, on the same volume", "--set", "logLevel=debug")
    second = pod(server)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    trio.run(hear, address_of(second), chat_id, text)
    print("what was said is found", flush=True)
    run("removed", "uninstall", RELEASE, "-n", NAMESPACE, "--wait")
    told("the pod is gone", lambda: server.get("v1", "Pod", POD, NAMESPACE) is None)
    assert server.get("v1", "PersistentVolumeClaim", f"data-{POD}", NAMESPACE) is not None
    print("its data is kept")


async def say(url: str, text: str) -> str:
    """One registers and writes to another; their chat."""
    async with (
        open_client(url, "ada", PASSWORD, register=True) as ada,
        open_client(url, "grace", PASSWORD, register=True, transport="websocket"),
    ):
        (grace,) = await ada.api.find_users("grace")
        sent = await ada.send(grace.user_id, text)
        return sent.chat_id


async def hear(url: str, chat_id: str, text: str) -> None:
    """The other signs in, and finds what was said."""
    async with open_client(url, "grace", PASSWORD) as grace:
        history = await grace.api.history(chat_id)
        assert [item.message.text.body for item in history.messages] == [text]


def volume(folder: Path) -> Manifest:
    """A folder that the pods' user may write."""
    data = folder / "data"
    data.mkdir()
    os.chown(data, 10001, 10001)
    spec = {"capacity": {"storage": "20Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(data)}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "data"}, "spec": spec}


def pod(server: ApiServer) -> Manifest:
    found = server.get("v1", "Pod", POD, NAMESPACE)
    assert found is not None
    return found


def address_of(found: Manifest) -> str:
    return f"http://{found['status']['podIP']}:8080"


def is_true(found: Manifest | None, condition: str) -> bool:
    """Whether an object's status says so."""
    conditions = (found or {}).get("status", {}).get("conditions", [])
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)


def told(what: str, is_so: Callable[[], bool]) -> None:
    """Wait for it, and say so."""
    began = time.monotonic()
    until(what, is_so)
    print(f"{what} ({time.monotonic() - began:.1f} s)", flush=True)


def until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE:g} s: {what}")
        time.sleep(POLL_SECONDS)


@contextmanager
def started(folder: Path, program: str, *words: str) -> Iterator[None]:
    """A process that is there while the block is open; its log is in the folder."""
    with (folder / f"{Path(program).name}.log").open("wb") as log:
        process = subprocess.Popen([program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == [INSIDE]:
        inside(Path(sys.argv[2]))
    else:
        sys.exit(outside())
