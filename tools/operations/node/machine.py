"""Turn this machine into a node: containerd, kubelet, control plane, DNS and Services."""

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path

import yaml

from tools.operations.kubernetes import ApiServer, Manifest
from tools.operations.node.waiting import started, until
from tools.toolchains import OPERATIONS, go_programs

PROGRAMS = ("kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet")

NODE = "192.0.2.10"
"""Address of the node in its own network, from a documentation range."""

IMAGE, PAUSE = "localhost/rookery:node", "localhost/pause:node"

PODS, DOMAIN = "10.244.0.0/24", "cluster.local"

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

CTR = ("ctr", "--address", "/run/rookery-node.sock", "--namespace", "k8s.io")
"""Command of a client of that containerd."""

ADDRESSES = {
    "type": "host-local",
    "ranges": [[{"subnet": PODS}]],
    "routes": [{"dst": "0.0.0.0/0"}],  # through the node, which has the DNS and the engines
    "dataDir": "/run/rookery-addresses",
}

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
    "authorization": {"mode": "AlwaysAllow"},  # on loopback of a private network
    "cgroupDriver": "cgroupfs",
    "failSwapOn": False,
    "failCgroupV1": False,
    "oomScoreAdj": 0,
    "containerRuntimeEndpoint": "unix:///run/rookery-node.sock",
    "resolvConf": "",
    "clusterDNS": [NODE],
    "clusterDomain": DOMAIN,
    "healthzPort": 0,
    "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
    "imageGCHighThresholdPercent": 100,
}

PROXY = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "mode": "iptables",
    "clusterCIDR": PODS,
    "bindAddress": NODE,
    "hostnameOverride": "node",
    "oomScoreAdj": 0,
    "conntrack": {
        "maxPerCore": 0,
        "tcpEstablishedTimeout": "0s",
        "tcpCloseWaitTimeout": "0s",
    },  # they are the machine's
}

NAMES = """
{domain} {{
    bind {node}
    errors
    kubernetes {domain} {{
        kubeconfig {kubeconfig}
        pods insecure
    }}
}}
"""
"""CoreDNS' configuration. It answers for `10-244-0-7.people.pod` too: each pod has such a name besides a Service's."""


def programs() -> Path:
    """Build Kubernetes' programs; return their folder. Raises Missing."""
    return go_programs(OPERATIONS / "go/kubernetes-node", *(f"k8s.io/kubernetes/cmd/{name}" for name in PROGRAMS))


def name_server() -> Path:
    """Build CoreDNS. Raises Missing."""
    return go_programs(OPERATIONS / "go/coredns") / "coredns"


def start_node(folder: Path, server: ApiServer, stack: ExitStack) -> None:
    """Start containerd with the images, then the node's programs; the stack stops them."""
    (folder / "cni").mkdir()
    (folder / "cni/pods.conflist").write_text(json.dumps(BRIDGE))
    (folder / "containerd.toml").write_text(CONTAINERD.format(folder=folder, pause=PAUSE))
    stack.enter_context(started(folder, "containerd", "--config", str(folder / "containerd.toml")))
    until("containerd answers", lambda: subprocess.run([*CTR, "version"], capture_output=True).returncode == 0)
    images = str(folder / "images.tar")
    subprocess.run([*CTR, "images", "import", images], check=True, stdout=subprocess.DEVNULL)
    built, configuration = programs(), f"--kubeconfig={server.kubeconfig}"
    for name in ("kube-controller-manager", "kube-scheduler"):
        words = [configuration, "--leader-elect=false", "--bind-address=127.0.0.1"]
        stack.enter_context(started(folder, str(built / name), *words))
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(KUBELET))
    words = [configuration, f"--config={folder / 'kubelet.yaml'}", f"--root-dir={folder / 'kubelet'}"]
    words += ["--hostname-override=node", f"--node-ip={NODE}"]
    stack.enter_context(started(folder, str(built / "kubelet"), *words))
    proxy = PROXY | {"clientConnection": {"kubeconfig": str(server.kubeconfig)}}
    (folder / "proxy.yaml").write_text(yaml.safe_dump(proxy))
    stack.enter_context(started(folder, str(built / "kube-proxy"), f"--config={folder / 'proxy.yaml'}"))
    start_names(folder, server, stack)


def start_names(folder: Path, server: ApiServer, stack: ExitStack) -> None:
    """Start the cluster's DNS, and use it in this process, as pods do."""
    (folder / "Corefile").write_text(NAMES.format(domain=DOMAIN, node=NODE, kubeconfig=server.kubeconfig))
    stack.enter_context(started(folder, str(name_server()), "-conf", str(folder / "Corefile")))
    (folder / "resolv.conf").write_text(f"nameserver {NODE}\nsearch svc.{DOMAIN} {DOMAIN}\noptions ndots:5\n")
    subprocess.run(["mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf"], check=True)


def kill_container(pod: Manifest) -> None:
    """Send SIGKILL to the process in the pod's only container."""
    (status,) = statuses(pod)
    name = status["containerID"].removeprefix("containerd://")
    subprocess.run([*CTR, "tasks", "kill", "--signal", "SIGKILL", name], check=True)


def statuses(pod: Manifest) -> list[Manifest]:
    """Statuses of its containers."""
    found: list[Manifest] = pod["status"]["containerStatuses"]
    return found
