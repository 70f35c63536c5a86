"""Run docker-compose.yml with Docker's Compose, on podman instead of Docker's engine.

    python -m tools.operations.compose

Builds the image twice, with equal results; starts the platform of the file; lets users chat on it; and stops it.
No registry of images is used: the file's images of Kafka, Cassandra and Redis are replaced by images of the tests'
programs, started by the settings that the file has for the real images (`stand_ins/`).

All this is in a network namespace of its own, as the file's ports are fixed, and podman has rules for the firewall.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio
import yaml

from rookery.client import open_client
from tools.engines.cassandra import Cassandra
from tools.engines.engine import HOST
from tools.engines.install import Missing, need_program
from tools.engines.kafka import CLUSTER_ID, Kafka
from tools.launch.people import PASSWORD, read_history, sign_up
from tools.launch.process import wait_until
from tools.operations.containers import ROOT, Containers, base_image
from tools.toolchains import copy_together, go_tool

PACKAGE = "github.com/docker/compose/v2/cmd"

STAND_INS = Path(__file__).with_name("stand_ins")

ENGINES = ("kafka", "cassandra", "redis")

SERVICES: dict[str, dict[str, Any]] = {
    name: service
    for name, service in yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].items()
    if "profiles" not in service
}
"""Services of the platform, without the services of a profile."""

UP_SECONDS = 1200.0
"""Only ends a run that has failed: alone it takes a minute or two, on a busy machine ten."""

PROBE_SECONDS = 1.0
"""Between health checks, which this module runs: podman leaves them to systemd."""

PATIENCE = {"ROOKERY_CASSANDRA__TIMEOUT_SECONDS": "20", "ROOKERY_REDIS__TIMEOUT_SECONDS": "20"}
"""Settings for a busy machine: with the defaults, requests may be refused as unavailable."""

RESET = "RESET"
"""Placeholder for Compose's tag that removes a value, which YAML's writer lacks."""

INSIDE = "--inside"
"""Option: images and network namespace are prepared. The path of Docker's Compose follows."""


# ---- images


def prepare(containers: Containers) -> str:
    """Install all programs; return the path of Docker's Compose. Raises Missing."""
    containers.install()
    need_program("catatonit", "catatonit")  # `init: true`
    for engine in (Kafka, Cassandra):
        engine.install()
    return str(go_tool("compose", PACKAGE))


def build_twice(containers: Containers) -> str:
    """Build the image twice, with other times of the sources; return the id, which must be the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = ("bff", "deploy", "messaging", "rookery", "shared", "tools/page", "tools/wheel", "web")
        copy_together(folder, *(ROOT / name for name in folders))
        files = ("LICENSE", "README.md", "package-lock.json", "package.json", "pyproject.toml", "requirements.lock")
        for file in (*files, ".dockerignore"):
            shutil.copyfile(ROOT / file, folder / file)
        tag = qualified(SERVICES["migrate"]["image"])
        options = (
            "--layers=false",
            "--format=oci",
        )  # Docker's format has the name of the build container
        first = containers.build(tag, *options, folder=folder)
        for path in folder.rglob("*"):
            os.utime(path)
        second = containers.build(tag, *options, folder=folder)
    assert first == second, f"two builds of the same sources are {first} and {second}"
    return first


def build_stand_ins(containers: Containers) -> None:
    """Build images of the engines with the names in the file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(STAND_INS, folder, dirs_exist_ok=True)
        patience = "".join(f"{name}_timeout: 20s\n" for name in ("read_request", "write_request", "cas_contention"))
        config = Cassandra.render("cassandra.yaml", host=HOST, port=9042, storage_port=7000)
        (folder / "cassandra.yaml").write_text(config + patience)
        for engine in ENGINES:
            tag = qualified(SERVICES[engine]["image"])
            containers.buildah(
                f"--build-arg=BASE={base_image()}", "--layers", f"--target={engine}", f"--tag={tag}", name
            )


def qualified(image: str) -> str:
    """Name of an image that Docker and podman both accept."""
    return f"docker.io/{image}" if "/" in image else f"docker.io/library/{image}"


# ---- the platform


def stand_in_settings() -> str:
    """Return a file for compose that adds settings of the stand-ins and resets options that podman's API lacks.

    Health checks run each second, so failed checks of a slow start must not count.
    """
    services: dict[str, Any] = {name: {} for name in SERVICES}
    for name, service in SERVICES.items():
        if "healthcheck" in service:
            services[name]["healthcheck"] = {"start_interval": RESET, "start_period": f"{UP_SECONDS:.0f}s"}
        if name not in ENGINES:
            services[name]["environment"] = PATIENCE
    agents = [f"-javaagent:{jar}" for jar in (Cassandra.installed() / "lib").glob(f"{Cassandra.agent}*.jar")]
    kafka = Kafka.java(f"-Dlog4j2.configurationFile={Kafka.source() / 'log4j2.properties'}")
    cassandra = Cassandra.java(f"-Dlogback.configurationFile={Cassandra.source() / 'logback.xml'}", *agents)
    for engine, java in ((Kafka, kafka), (Cassandra, cassandra)):
        services[engine.name] |= {
            "volumes": [f"{folder}:{folder}:ro" for folder in (engine.installed(), engine.source())],
            "environment": {"STAND_IN_JAVA": shlex.join(java), "STAND_IN_CLUSTER": CLUSTER_ID},
        }
    return yaml.safe_dump({"services": services}).replace(RESET, "!reset null")


@contextmanager
def engine_of_docker(containers: Containers, folder: Path) -> Iterator[str]:
    """Serve Docker's API with podman during the block; yield its address."""
    socket = folder / "docker.sock"
    command = ["podman", "system", "service", "--time=0", f"unix://{socket}"]
    with (folder / "podman.log").open("wb") as log:
        service = subprocess.Popen(command, env=containers.environment, stdout=log, stderr=log)
    try:
        assert wait_until(socket.exists), (folder / "podman.log").read_text()
        yield f"unix://{socket}"
    finally:
        service.terminate()
        service.wait()


@contextmanager
def health_checks(containers: Containers) -> Iterator[None]:
    """Run the health checks of running containers during the block."""
    over = threading.Event()

    def check() -> None:
        while not over.wait(PROBE_SECONDS):
            for container in containers.try_podman("ps", "--quiet").stdout.split():
                containers.try_podman("healthcheck", "run", container)

    thread = threading.Thread(target=check)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run_platform(containers: Containers, program: str) -> None:
    """Start the services with Docker's Compose, chat, and stop them.

    Raises the first error, after printing the log of each container.
    """
    with tempfile.TemporaryDirectory() as name, engine_of_docker(containers, Path(name)) as address:
        settings = Path(name) / "stand-ins.yml"
        settings.write_text(stand_in_settings())

        def compose(*words: str) -> str:
            command = [program, "-f", str(ROOT / "docker-compose.yml"), "-f", str(settings), *words]
            environment = containers.environment | {"DOCKER_HOST": address, "DOCKER_BUILDKIT": "0"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=UP_SECONDS)
            if done.returncode != 0:
                print(done.stdout, done.stderr, file=sys.stderr)
            assert done.returncode == 0, words
            return done.stdout

        try:
            with health_checks(containers):
                began = time.monotonic()
                compose("up", "--no-build", "--pull", "never", "--wait")
                print_now(f"docker compose up --wait: all healthy after {time.monotonic() - began:.0f} s")
                trio.run(chat)
                print_now("users have chatted on both BFFs, over gRPC and WebSocket")
            compose("stop")
            judge(containers)
        except Exception:
            print(containers.try_podman("ps", "--all").stdout, file=sys.stderr)
            for service in SERVICES:
                logs = containers.try_podman("logs", "--tail=20", container_of(service))
                print(f"== {service}\n{logs.stdout}{logs.stderr}", file=sys.stderr)
            raise
        finally:
            compose("down", "--volumes", "--timeout", "1")


async def chat() -> None:
    """Chat as two users on different BFFs and transports; both then read the history."""
    first, second = (
        f"http://127.0.0.1:{SERVICES[name]['environment']['ROOKERY_BFF__PORT']}" for name in ("bff-1", "bff-2")
    )
    async with open_client(first, "ada", PASSWORD, register=True) as ada:
        grace = await sign_up(second, "grace")
        async with open_client(second, grace.name, PASSWORD, transport="websocket") as there:
            sent = await ada.send(grace.user_id, "hello")
            answer = await there.send(sent.chat_id, "hello to you")
    for url in (first, second):
        history = await read_history(url, grace, sent.chat_id, until=lambda messages: len(messages) == 2)
        assert [item.message.message_id for item in history] == [sent.event_id, answer.event_id]


def judge(containers: Containers) -> None:
    """Check our stopped containers: each has exit code 0, and changed no file."""
    for service in SERVICES.keys() - set(ENGINES):
        state = containers.inspect(container_of(service), "container")
        assert state["State"]["ExitCode"] == 0, (service, state["State"])
        assert state["HostConfig"]["ReadonlyRootfs"], service
        assert not state["EffectiveCaps"], (service, state["EffectiveCaps"])
        changed = containers.podman("diff", container_of(service)).split("\n")
        assert set(changed) <= {"C /etc", ""}, (service, changed)  # podman writes host names there
    print_now("docker compose stop: each of our containers ended with 0 and changed no file")


def container_of(service: str) -> str:
    return f"rookery-{service}-1"


def print_now(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    containers = Containers()
    if INSIDE in sys.argv:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        run_platform(containers, sys.argv[-1])
        return 0
    try:
        program = prepare(containers)
    except Missing as missing:
        print_now(f"missing: {missing}")
        return os.EX_UNAVAILABLE
    with containers.building():
        print_now(f"two builds of the image are the same: {build_twice(containers)[:12]}")
        build_stand_ins(containers)
    inside = ["unshare", "--net", sys.executable, "-m", "tools.operations.compose", INSIDE, program]
    return subprocess.run(inside, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
