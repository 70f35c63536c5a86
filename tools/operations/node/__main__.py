"""The chart on a real Kubernetes node: controllers, scheduler, kubelet, proxy and DNS, in namespaces of this machine.

    python -m tools.operations.node [embedded] [distributed]

builds the programs (some minutes, once), and runs each named mode, or both: it is installed, used to chat, upgraded,
checked for its messages, and removed. It needs root and Linux.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tools.engines.engine import Engine, running
from tools.engines.install import Missing, exit_if_missing, install_lock, need_program
from tools.engines.kinds import KINDS
from tools.operations.containers import Containers
from tools.operations.helm import Helm
from tools.operations.kubernetes import ApiServer, Etcd
from tools.operations.node.distributed import run_distributed
from tools.operations.node.embedded import run_embedded
from tools.operations.node.machine import IMAGE, NODE, PAUSE, name_server, programs, start_node
from tools.operations.node.release import is_true
from tools.operations.node.waiting import timed, until

MODES = {"embedded": run_embedded, "distributed": run_distributed}

INSIDE = "--inside"

# ---- outside: installation, then everything else in namespaces that end with their first process


def prepare(folder: Path) -> None:
    """Install and build programs, and save images into files. Raises Missing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Missing("a node needs Linux and root")
    if groups_of_pods():
        raise Missing("there is a node on this machine already")
    need_program("containerd", "containerd")
    need_program("/usr/lib/cni/bridge", "containernetworking-plugins")
    need_program("iptables", "iptables")
    kinds: list[type[Engine]] = [Etcd, ApiServer, *KINDS.values()]
    for kind in kinds:
        kind.install()
    Helm.program()
    programs()
    name_server()
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
    """Control groups of a kubelet, which remain when it is killed."""
    return [*Path("/sys/fs/cgroup").glob("kubepods"), *Path("/sys/fs/cgroup").glob("*/kubepods")]


def outside(modes: list[str]) -> int:
    """Prepare, and run the modes in namespaces; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="rookery-node-") as name:
        folder = Path(name)
        print("building programs and images", flush=True)
        with exit_if_missing():
            prepare(folder)
        spaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        try:
            return subprocess.run(
                [*spaces, sys.executable, "-m", "tools.operations.node", INSIDE, name, *modes]
            ).returncode
        finally:
            for group in groups_of_pods():
                for each in sorted(group.glob("**/"), reverse=True):
                    each.rmdir()


# ---- inside: the first process of the namespaces, with which all others end


def inside(folder: Path, modes: list[str]) -> None:
    """Start a node, and run the modes on it. Raises AssertionError if a promise is broken."""
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
        with timed("the node is ready"):
            start_node(folder, server, stack)
            until("the node is Ready", lambda: is_true(server.get("v1", "Node", "node", ""), "Ready"))
        for mode in modes:
            print(f"---- {mode}", flush=True)
            MODES[mode](folder, server)


if __name__ == "__main__":
    if sys.argv[1:2] == [INSIDE]:
        inside(Path(sys.argv[2]), sys.argv[3:])
    elif unknown := set(sys.argv[1:]) - set(MODES):
        sys.exit(f"no such mode: {', '.join(sorted(unknown))}")
    else:
        sys.exit(outside(sys.argv[1:] or list(MODES)))
