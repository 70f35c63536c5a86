"""docker-compose.yml is a platform: its settings are ours, its order holds, and what it starts serves people."""

import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import click
import pytest
import yaml

from rookery.cli import main
from rookery.client import open_client
from rookery.options import read_settings
from shared.settings import Settings
from tests.backends.backend import HOST, free_port
from tests.backends.cassandra import Cassandra
from tests.backends.kafka import Kafka
from tests.backends.redis import Redis
from tests.live import UNLIMITED, configure
from tests.process import ROOKERY, Process, Role, stop_all, wait_until
from tests.system.people import PASSWORD, read_history, sign_up

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy/Dockerfile"

Service = dict[str, Any]

SERVICES: dict[str, Service] = yaml.safe_load(COMPOSE.read_text())["services"]

ENGINES = ("kafka", "cassandra", "redis")
ROLES: tuple[Role, ...] = ("archive", "gateway", "bff")
OURS = [name for name in SERVICES if name not in ENGINES]
SERVING = [name for name in OURS if name != "migrate"]

PORTS: dict[str, tuple[str, ...]] = {
    "archive": ("ARCHIVE__GRPC_PORT", "ARCHIVE__HEALTH_PORT"),
    "gateway": ("GATEWAY__WEBSOCKET_PORT", "GATEWAY__GRPC_PORT", "GATEWAY__HEALTH_PORT"),
    "bff": ("BFF__PORT",),
}
"""What each role listens on."""

MIGRATE_SECONDS = 120.0
"""Only ends a test that has failed."""


def role_of(name: str) -> Role:
    (command,) = SERVICES[name]["command"]
    return next(role for role in ROLES if role == command)


def environment_of(name: str) -> dict[str, str]:
    return {key: str(value) for key, value in SERVICES[name]["environment"].items()}


def settings_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As the service's process reads them."""
    for key, value in environment_of(name).items():
        monkeypatch.setenv(key, value)
    return read_settings()


def port_in(settings: Settings, name: str) -> int:
    """The port in a setting such as `BFF__PORT`."""
    section, field = name.lower().split("__")
    port: int = getattr(getattr(settings, section), field)
    return port


# ---- what is written


@pytest.mark.parametrize("name", OURS)
def test_each_variable_is_a_setting_and_each_command_is_ours(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(name, monkeypatch)
    assert settings.engines == set(ENGINES)
    assert isinstance(main, click.Group)
    assert list(main.commands.keys() & SERVICES[name]["command"]) == SERVICES[name]["command"]


@pytest.mark.parametrize("name", SERVING)
def test_each_service_listens_for_the_others_and_is_probed_where_it_listens(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, role = settings_of(name, monkeypatch), role_of(name)
    assert getattr(settings, role).host == "0.0.0.0"  # of its container
    kind, program, command, url = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program, command) == ("CMD", "rookery", "probe")
    assert (urlsplit(url).hostname, urlsplit(url).path) == ("127.0.0.1", "/readyz")
    assert urlsplit(url).port == port_in(settings, PORTS[role][-1])


@pytest.mark.parametrize("role", ROLES)
def test_there_are_two_of_each_role_with_names_and_ports_of_their_own(role: Role) -> None:
    environments = [environment_of(name) for name in SERVING if role_of(name) == role]
    assert len(environments) == 2
    own = ("KAFKA__INSTANCE", *PORTS[role])
    values = [environment[f"ROOKERY_{name}"] for environment in environments for name in own]
    assert len(set(values)) == len(values)
    shared = [{key: value for key, value in each.items() if key[8:] not in own} for each in environments]
    assert shared[0] == shared[1]


def test_what_our_services_connect_to_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    archives = {f"{name}:{environment_of(name)['ROOKERY_ARCHIVE__GRPC_PORT']}" for name in ("archive-1", "archive-2")}
    for name in SERVING:
        settings = settings_of(name, monkeypatch)
        assert settings.kafka.servers == ("kafka:9092",)
        assert (settings.cassandra.hosts, settings.cassandra.port) == (("cassandra",), 9042)
        assert settings.redis.url.get_secret_value() == "redis://redis:6379/0"
        if role_of(name) != "archive":
            assert set(settings.archives) == archives
    kafka = environment_of("kafka")
    assert kafka["KAFKA_ADVERTISED_LISTENERS"] == "CLIENT://kafka:9092"


def test_all_start_in_an_order_after_what_is_healthy_or_done() -> None:
    order = list(
        TopologicalSorter({name: service.get("depends_on", {}) for name, service in SERVICES.items()}).static_order()
    )
    assert set(order) == set(SERVICES)  # none depends on what is not there, or on itself
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            condition = "service_completed_successfully" if needed == "migrate" else "service_healthy"
            assert how == {"condition": condition}, (name, needed)
            assert ("healthcheck" in SERVICES[needed]) == (needed != "migrate")
    assert [name for name in order if name in ENGINES] == order[:3]
    assert order[3] == "migrate"


def test_nothing_is_published_beyond_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == len(set(published)) == 6  # WebSocket and gRPC of two gateways, and two BFFs
    for port in published:
        host, outside, inside = port.split(":")
        assert host == "127.0.0.1"
        assert outside == inside  # the gateways tell clients the port that they listen on
    assert not any("network_mode" in service or "privileged" in service for service in SERVICES.values())


def test_every_client_port_is_published() -> None:
    for name in SERVING:
        role = role_of(name)
        ports = [environment_of(name)[f"ROOKERY_{port}"] for port in PORTS[role] if "HEALTH" not in port]
        expected = [] if role == "archive" else [f"127.0.0.1:{port}:{port}" for port in ports]
        assert SERVICES[name].get("ports", []) == expected


def test_what_is_kept_is_on_named_volumes_and_everything_has_bounds() -> None:
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for name, service in SERVICES.items():
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
        mounted = [volume.partition(":")[0] for volume in service.get("volumes", [])]
        assert mounted == ([name] if name in ENGINES else [])
    assert set(volumes) == set(ENGINES)


def test_images_are_pinned_to_the_versions_that_the_tests_run() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert {images[name] for name in OURS} == {f"rookery:{version}"}
    assert images["kafka"] == f"apache/kafka:{version_of_jar('kafka')}"
    assert images["cassandra"] == f"cassandra:{version_of_jar('cassandra')}"
    assert images["redis"].startswith("redis:7.")
    bases = [line.split()[1] for line in DOCKERFILE.read_text().splitlines() if line.startswith("FROM")]
    assert len(set(bases)) == 1
    assert bases[0].count(".") == 2  # a whole version


def version_of_jar(name: str) -> str:
    """Of the first dependency in the pom.xml of a backend."""
    pom = ElementTree.parse(ROOT / f"tests/backends/files/{name}/pom.xml")
    version = pom.findtext(".//{*}dependency/{*}version")
    assert version is not None
    return version


def test_the_image_is_made_of_what_git_has_and_runs_as_nobody_special() -> None:
    lines = DOCKERFILE.read_text().splitlines()
    assert "RUN pip install --require-hashes --no-deps -r requirements.lock" in lines
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001"]
    assert lines[-1] == 'ENTRYPOINT ["rookery"]'
    wanted = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {package.removesuffix("*") for package in packages} <= set(wanted)
    assert [name for name in wanted if not (ROOT / name).exists()] == []


@pytest.mark.skipif(
    subprocess.run([shutil.which("docker") or "false", "compose", "version"], capture_output=True).returncode != 0,
    reason="there is no docker compose",
)
def test_docker_compose_accepts_it() -> None:
    subprocess.run(["docker", "compose", "-f", str(COMPOSE), "config", "-q"], check=True)


# ---- what it does


@pytest.fixture
def platform(
    tmp_path: Path, kafka_server: Kafka, cassandra_server: Cassandra, redis_server: Redis
) -> Iterator[dict[str, Process]]:
    """The services of the file as processes of this machine, in the file's order: commands and settings are the file's,
    but for hosts and ports."""
    hosts = {
        "kafka:9092": kafka_server.address,
        "redis:6379": redis_server.address,
        "0.0.0.0": HOST,
    }
    environments = {name: environment_of(name) for name in OURS}
    for name in SERVING:
        for port in PORTS[role_of(name)]:
            theirs, ours = environments[name][f"ROOKERY_{port}"], str(free_port())
            hosts[f"{name}:{theirs}"] = f"{HOST}:{ours}"
            environments[name][f"ROOKERY_{port}"] = ours
    here = {
        "ROOKERY_DATA": str(tmp_path),
        "ROOKERY_KAFKA__TOPIC": "compose",
        "ROOKERY_KAFKA__DEAD_LETTER_TOPIC": "compose-dead-letters",
        "ROOKERY_KAFKA__PARTITIONS": "4",
        "ROOKERY_CASSANDRA__HOSTS": cassandra_server.host,
        "ROOKERY_CASSANDRA__PORT": str(cassandra_server.port),
        "ROOKERY_CASSANDRA__KEYSPACE": "compose",
        "ROOKERY_REDIS__PREFIX": "compose:",
    }
    environments = {name: replaced(each, hosts) | here for name, each in environments.items()}
    processes = {name: Process(role_of(name), tmp_path / f"{name}.log", environments[name]) for name in SERVING}
    migrate(processes["archive-1"].environment)
    configure(environments["bff-1"], UNLIMITED)
    try:
        for name in SERVING:
            processes[name].start()
            assert wait_until(processes[name].is_ready), name
        yield processes
    finally:
        stop_all(processes.values())


def replaced(environment: Mapping[str, str], hosts: Mapping[str, str]) -> dict[str, str]:
    result = {}
    for key, value in environment.items():
        for host, here in hosts.items():
            value = value.replace(host, here)
        result[key] = value
    return result


def migrate(environment: Mapping[str, str]) -> None:
    """What the service of that name does."""
    command = [ROOKERY, *SERVICES["migrate"]["command"]]
    subprocess.run(command, env=dict(environment), check=True, timeout=MIGRATE_SECONDS, stdout=subprocess.DEVNULL)


async def test_its_services_started_in_its_order_are_a_platform(platform: dict[str, Process]) -> None:
    first, second = platform["bff-1"].url, platform["bff-2"].url
    async with open_client(first, "ada", PASSWORD, register=True) as ada:
        grace = await sign_up(second, "grace")
        async with open_client(second, grace.name, PASSWORD, transport="websocket") as there:
            sent = await ada.send(grace.user_id, "hello")
            answer = await there.send(sent.chat_id, "hello to you")
    for url in (first, second):
        history = await read_history(url, grace, sent.chat_id, until=lambda messages: len(messages) == 2)
        assert [item.message.message_id for item in history] == [sent.message_id, answer.message_id]
