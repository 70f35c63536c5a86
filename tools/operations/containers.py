"""Build and run Rookery's image with buildah and podman, which share nothing with other containers of the machine.

Images are kept in the cache folder, so that a build repeats only the changed steps. No registry of images is used,
so Debian's packages stand in for the base image of deploy/Dockerfile, under its name.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tools.engines.install import Missing, cache_folder, install_lock, need_program, run_quietly
from tools.engines.kinds import Engines
from tools.launch.cluster import Cluster
from tools.launch.process import READY_SECONDS, Process, Role

ROOT = Path(__file__).resolve().parents[2]

DOCKERFILE = ROOT / "deploy/Dockerfile"

PROGRAMS = {
    "podman": "podman",
    "buildah": "buildah",
    "runc": "runc",
    "iptables": "iptables",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    "mmdebstrap": "mmdebstrap",
}
"""Programs, and the Debian package of each."""

STAND_IN = """
set -e
cp /authorities.crt /etc/ssl/certs/ca-certificates.crt
python3 -m venv /pip
mkdir -p /usr/local/lib/python3.11/dist-packages
mv /pip/lib/python3.11/site-packages/* /usr/local/lib/python3.11/dist-packages/
ln -s /usr/bin/python3 /usr/local/bin/python
ln -s /usr/bin/python3 /usr/local/bin/python3
rm -r /authorities.crt /pip /usr/lib/python3.11/EXTERNALLY-MANAGED /usr/share/doc /usr/share/locale /usr/share/man
"""
"""Turns Debian's Python into a stand-in for Docker's Python image: `python` with pip. It trusts the authorities of this
machine, so that pip can use this machine's package index."""

STAND_IN_PACKAGES = "python3,python3-venv,ca-certificates"

AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

CONFIGURATION = """
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[network]
network_backend = "netavark"
"""
"""Configuration of podman that also works without systemd."""

INDICES = ("PIP_INDEX_URL", "NPM_CONFIG_REGISTRY")
"""Variables with the addresses of package indices other than the public ones."""

CONFINED = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--tmpfs=/tmp",
    "--memory=512m",
    "--pids-limit=256",
)
"""Options with which docker-compose.yml runs the image."""

USER = 10001
"""The user id of the image."""

PODMAN = ("podman", "--log-level=fatal")
"""Without it, podman warns of a missing systemd."""


class Containers:
    """Runs podman and buildah. Call `install` first."""

    def __init__(self) -> None:
        self.home = cache_folder() / "containers"
        self.environment = os.environ | {
            "CONTAINERS_CONF": str(self.home / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.home / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.home / "registries.conf"),
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_FORMAT": "docker",
            "TMPDIR": str(self.home / "tmp"),
        }

    def install(self) -> None:
        """Install and configure podman and buildah. Raises Missing."""
        if os.geteuid() != 0:
            raise Missing("containers need root here: another user's podman has no network of its own on every machine")
        with install_lock():
            for program, package in PROGRAMS.items():
                need_program(program, package)
            self._configure()
            self._make_stand_in()
            if (tried := self.try_podman("run", "--rm", "--network=none", base_image(), "true")).returncode != 0:
                raise Missing(f"podman can't run containers here: {tried.stderr.strip()}")

    def build(self, tag: str, *options: str, folder: Path = ROOT) -> str:
        """Build the image of the Dockerfile from the files of a folder; return its id.

        Steps that have not changed since the last build are not repeated, unless an option requires it.
        """
        indices = [f"--build-arg={name}={os.environ[name]}" for name in INDICES if os.environ.get(name)]
        file = f"--file={folder / 'deploy/Dockerfile'}"
        return self.buildah("--timestamp=0", f"--tag={tag}", *indices, *(options or ["--layers"]), file, str(folder))

    def buildah(self, *words: str) -> str:
        """Build an image with options of `buildah build`; return its id."""
        done = self._run(["buildah", "build", "--quiet", "--network=host", *words])
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout.split()[-1]

    @contextmanager
    def building(self) -> Iterator[None]:
        """Hold the build lock during the block; then remove all images without a name."""
        with (self.home / "lock").open("w") as lock:  # not the lock of installations, which must not wait for a build
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            self._run(["buildah", "rm", "--all"])
            self.podman("image", "prune", "--force")

    @contextmanager
    def built(self) -> Iterator["Image"]:
        """Build the image for the block. Layers that do not depend on the sources are kept for the next build."""
        tag = f"localhost/rookery:{secrets.token_hex(4)}"
        with self.building():
            for stage in ("dependencies", "bundler", "system"):
                self.build(f"localhost/rookery-{stage}", "--layers", f"--target={stage}")
            made = self.build(tag)
        try:
            yield Image(self, made)
        finally:
            self.podman("untag", tag)

    def podman(self, *words: str) -> str:
        """Run a command of podman; return its output."""
        done = self.try_podman(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def try_podman(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of podman that may fail."""
        return self._run([*PODMAN, *words])

    def inspect(self, name: str, kind: str = "image") -> dict[str, Any]:
        """Podman's description of an image or a container."""
        (found,) = json.loads(self.podman("inspect", "--type", kind, name))
        return dict(found)

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )

    def _configure(self) -> None:
        """Configure storage in the cache; the state of containers ends with a reboot, as on a /run in memory."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        seen = self.home / "boot_id"
        if not seen.exists() or seen.read_text() != boot:
            shutil.rmtree(self.home / "run", ignore_errors=True)
        (self.home / "tmp").mkdir(parents=True, exist_ok=True)
        seen.write_text(boot)
        storage = {"driver": "overlay", "runroot": str(self.home / "run"), "graphroot": str(self.home / "graph")}
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in storage.items())
        (self.home / "storage.conf").write_text("[storage]\n" + lines)
        network = f"network_config_dir = {json.dumps(str(self.home / 'networks'))}\n"
        (self.home / "containers.conf").write_text(CONFIGURATION + network)
        (self.home / "registries.conf").write_text("unqualified-search-registries = []\n")

    def _make_stand_in(self) -> None:
        recipe = sha256((STAND_IN + STAND_IN_PACKAGES).encode() + AUTHORITIES.read_bytes()).hexdigest()[:16]
        name = f"localhost/rookery-stand-in:{recipe}"
        if self.try_podman("image", "exists", name).returncode != 0:
            archive, script = self.home / "stand-in.tar", self.home / "stand-in.sh"
            script.write_text(STAND_IN)
            hook = f'cp {AUTHORITIES} "$1/authorities.crt" && chroot "$1" sh < {script}'
            options = ["--quiet", "--variant=minbase", f"--include={STAND_IN_PACKAGES}", f"--customize-hook={hook}"]
            run_quietly(
                ["mmdebstrap", *options, "bookworm", str(archive)],
                "mmdebstrap can't make a base image of Debian's packages",
            )
            self.podman("import", "--quiet", str(archive), name)
            archive.unlink()
        self.podman("tag", name, base_image())


def base_image() -> str:
    """Base image in the Dockerfile."""
    found = re.search(r"^ARG PYTHON=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


class Containerised(Process):
    """A process in a container with the machine's network, confined as in docker-compose.yml.

    Its arguments, output and exit code pass through podman, which runs in place of the process.
    """

    def __init__(self, role: Role, log: Path, settings: Mapping[str, str], image: "Image", data: Path | None) -> None:
        """`data`: its data folder, if any."""
        super().__init__(role, log, settings)
        self._image = image
        self._data = data
        self.container = f"rookery-{self.name}-{secrets.token_hex(4)}"

    def launch(self) -> None:
        assert not self.is_running, f"{self.name} runs already"
        self._began = time.monotonic()
        command = self._command(f"--name={self.container}", self._image.id, self.role)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._image.containers.environment, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def kill(self) -> None:
        self._image.containers.podman("kill", "--signal=KILL", self.container)
        self.wait()

    def run(self, *words: str, typed: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in another container, with the settings of the process and further ones."""
        own = [f"--env={name}={value}" for name, value in settings.items()]
        return subprocess.run(
            self._command("--interactive", *own, self._image.id, *words),
            env=self._image.containers.environment,
            input=typed,
            text=True,
            capture_output=True,
            timeout=READY_SECONDS,
        )

    def execute(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in its container, as health checks do."""
        return self._image.containers.try_podman("exec", self.container, *words)

    def _command(self, *words: str) -> list[str]:
        settings = {name: value for name, value in self.environment.items() if name.startswith("ROOKERY_")}
        environment = [f"--env={name}={value}" for name, value in (settings | {"ROOKERY_DATA": "/data"}).items()]
        mounts = [f"--volume={self._data}:/data"] if self._data else []
        return [*PODMAN, "run", "--rm", "--network=host", *CONFINED, *mounts, *environment, *words]


@dataclass(frozen=True, slots=True)
class Image:
    """An image, and podman to run it."""

    containers: Containers
    id: str

    def run(self, *words: str) -> str:
        """Run a program in a confined container without a network; return its output."""
        program, *arguments = words
        options = [*CONFINED, "--network=none", f"--entrypoint={program}"]
        return self.containers.podman("run", "--rm", *options, self.id, *arguments)


class ContainerCluster(Cluster):
    """The distributed platform with each process in a container."""

    def __init__(self, folder: Path, engines: Engines, image: Image, **how: Any) -> None:
        self._image = image
        super().__init__(folder, engines, **how)

    def _make(self, folder: Path, role: Role, number: int) -> Process:
        plain = super()._make(folder, role, number)
        data = folder / "data"  # of files, which BFFs and archives share
        data.mkdir(exist_ok=True)
        os.chown(data, USER, USER)
        return Containerised(role, plain.log, plain.environment, self._image, data)
