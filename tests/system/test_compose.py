"""docker-compose.yml: its settings are valid, its start order holds. `python -m tools.operations.compose` runs it."""

import json
import os
import re
import subprocess
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import click
import pytest
import yaml

from rookery.commands.cli import main
from rookery.commands.options import read_settings
from shared.pictures.worker import MEMORY_BYTES, SMALL_MEMORY_BYTES
from shared.settings import FilesSettings, Settings
from tests.needed import needed
from tools.launch.process import Role
from tools.toolchains import go_tool

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy/Dockerfile"
DEPLOY_COMPOSE = ROOT / "deploy/compose"

Service = dict[str, Any]

SERVICES: dict[str, Service] = yaml.safe_load(COMPOSE.read_text())["services"]

PROFILE = "observability"

ENGINES = ("kafka", "cassandra", "redis")
ROLES: tuple[Role, ...] = ("archive", "gateway", "bff")
PLATFORM = [name for name in SERVICES if "profiles" not in SERVICES[name]]
OURS = [name for name in PLATFORM if name not in ENGINES]
OBSERVABILITY = [name for name in SERVICES if name not in PLATFORM]
SERVING = [name for name in OURS if name != "migrate"]
ONCE = ("migrate", "log-setup")
"""Services that run once."""

PORTS: dict[str, tuple[str, ...]] = {
    "archive": ("ARCHIVE__GRPC_PORT", "ARCHIVE__HEALTH_PORT"),
    "gateway": ("GATEWAY__WEBSOCKET_PORT", "GATEWAY__GRPC_PORT", "GATEWAY__HEALTH_PORT"),
    "bff": ("BFF__PORT", "BFF__HEALTH_PORT"),
}
"""Ports of each role."""


def role_of(name: str) -> Role:
    (command,) = SERVICES[name]["command"]
    return next(role for role in ROLES if role == command)


def environment_of(name: str) -> dict[str, str]:
    """Environment of a service, whose optional variables have the values of this process, or their defaults. A variable
    without a value is passed on if this process has it."""
    written: dict[str, Any] = SERVICES[name]["environment"]
    passed = {key: os.environ.get(key) if value is None else value for key, value in written.items()}
    values = {key: str(value) for key, value in passed.items() if value is not None}
    return {
        key: re.sub(r"^\$\{(\w+)-(.*)\}$", lambda match: os.environ.get(match[1], match[2]), value)
        for key, value in values.items()
    }


def settings_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that the service's process reads: from its own environment alone, and not from that of this process."""
    environment = environment_of(name)
    with monkeypatch.context() as patch:
        for key in [key for key in os.environ if key.startswith("ROOKERY_") and "__" in key]:
            patch.delenv(key)
        for key, value in environment.items():
            patch.setenv(key, value)
        return read_settings()


def port_in(settings: Settings, name: str) -> int:
    """The port in a setting such as `BFF__PORT`."""
    section, field = name.lower().split("__")
    port: int = getattr(getattr(settings, section), field)
    return port


# ---- the platform


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
    assert getattr(settings, role).host == "0.0.0.0"  # all addresses of its container
    kind, program, command, url = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program, command) == ("CMD", "rookery", "probe")
    assert (urlsplit(url).hostname, urlsplit(url).path) == ("127.0.0.1", "/readyz")
    assert urlsplit(url).port == port_in(settings, PORTS[role][-1])


@pytest.mark.parametrize("role", ROLES)
def test_there_are_two_of_each_role_with_names_and_ports_of_their_own(role: Role) -> None:
    environments = [environment_of(name) for name in SERVING if role_of(name) == role]
    assert len(environments) == 2
    own = ("KAFKA__INSTANCE", *PORTS[role], *(["GATEWAY__INTERNAL_GRPC"] if role == "gateway" else []))
    values = [environment[f"ROOKERY_{name}"] for environment in environments for name in own]
    assert len(set(values)) == len(values)
    shared = [{key: value for key, value in each.items() if key[8:] not in own} for each in environments]
    assert shared[0] == shared[1]


def test_our_services_connect_to_addresses_of_other_services(monkeypatch: pytest.MonkeyPatch) -> None:
    archives = {f"{name}:{environment_of(name)['ROOKERY_ARCHIVE__GRPC_PORT']}" for name in ("archive-1", "archive-2")}
    for name in SERVING:
        settings = settings_of(name, monkeypatch)
        assert settings.kafka.servers == ("kafka:9092",)
        assert (settings.cassandra.hosts, settings.cassandra.port) == (("cassandra",), 9042)
        assert settings.redis.url.get_secret_value() == "redis://redis:6379/0"
        if role_of(name) != "archive":
            assert set(settings.archives) == archives
        if role_of(name) == "gateway":
            assert settings.gateway.internal_grpc == f"{name}:{settings.gateway.grpc_port}"
    kafka = environment_of("kafka")
    assert kafka["KAFKA_ADVERTISED_LISTENERS"] == "CLIENT://kafka:9092"


def test_processes_that_use_files_have_the_object_store_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "url": "s3://rookery/files",
        "endpoint": "https://minio.example.org:9000",
        "public_endpoint": "https://files.example.org",
        "region": "eu-central-1",
        "access_key": "key",
        "secret_key": "secret",
        "ca_file": "/etc/rookery/store.crt",
        "connections": "64",
        "timeout_seconds": "20",
        "scanner": "clamd.example.org:3310",
        "scanner_seconds": "60",
    }
    assert values.keys() == FilesSettings.model_fields.keys()
    of_files = [name for name in SERVING if role_of(name) != "gateway"]
    assert [settings_of(name, monkeypatch).files for name in of_files] == [FilesSettings()] * 4
    for name, value in values.items():
        monkeypatch.setenv(f"ROOKERY_FILES__{name.upper()}", value)
    expected = FilesSettings.model_validate(values)
    assert [settings_of(name, monkeypatch).files for name in of_files] == [expected] * 4


def test_services_start_after_their_dependencies_are_healthy_or_done() -> None:
    order = list(
        TopologicalSorter({name: service.get("depends_on", {}) for name, service in SERVICES.items()}).static_order()
    )
    assert set(order) == set(SERVICES)  # no dependency is missing or circular
    for name, service in SERVICES.items():
        for earlier, how in service.get("depends_on", {}).items():
            condition = "service_completed_successfully" if earlier in ONCE else "service_healthy"
            assert how == {"condition": condition}, (name, earlier)
            assert ("healthcheck" in SERVICES[earlier]) == (earlier not in ONCE)
            assert name not in PLATFORM or earlier in PLATFORM  # the platform does not depend on the profile
    platform = [name for name in order if name in PLATFORM]
    assert set(platform[:3]) == set(ENGINES)
    assert platform[3] == "migrate"


def test_nothing_is_published_beyond_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == len(set(published)) == 6 + 5  # two gateways have two each, and BFFs one
    for port in published:
        host, outside, inside = port.split(":")
        assert host == "127.0.0.1"
        assert outside == inside  # gateways announce the port on which they listen
    assert not any("network_mode" in service or "privileged" in service for service in SERVICES.values())


def test_every_client_port_is_published() -> None:
    for name in SERVING:
        role = role_of(name)
        ports = [environment_of(name)[f"ROOKERY_{port}"] for port in PORTS[role] if "HEALTH" not in port]
        expected = [] if role == "archive" else [f"127.0.0.1:{port}:{port}" for port in ports]
        assert SERVICES[name].get("ports", []) == expected


def test_data_is_on_named_volumes_and_each_service_has_bounds() -> None:
    volumes = set(yaml.safe_load(COMPOSE.read_text())["volumes"])
    mounted = set()
    for name, service in SERVICES.items():
        assert service["deploy"]["resources"]["limits"].keys() == {"memory", "pids"}, name
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}
        assert "no-new-privileges:true" in service["security_opt"]
        kept = [each for each in service.get("volumes", []) if not each.startswith("./")]
        owned = ["files:/data"] if name.startswith(("bff-", "archive-")) else []  # the processes that use files
        assert kept == owned or [each.partition(":")[0] for each in kept] == [name]
        mounted |= {each.partition(":")[0] for each in kept}
    assert mounted == volumes == {*ENGINES, "files", "prometheus", "grafana", "elasticsearch", "fluent-bit"}


@pytest.mark.parametrize("name", [name for name in SERVING if role_of(name) == "gateway"])
def test_a_gateway_has_memory_for_two_pictures_of_link_previews_beside_its_own(name: str) -> None:
    limit = SERVICES[name]["deploy"]["resources"]["limits"]["memory"]
    assert limit.endswith("M")
    assert int(limit[:-1]) << 20 >= 2 * SMALL_MEMORY_BYTES + (512 << 20)


@pytest.mark.parametrize("name", [name for name in SERVING if role_of(name) == "bff"])
def test_a_bff_has_memory_for_two_pictures_of_uploads_beside_its_own(name: str) -> None:
    limit = SERVICES[name]["deploy"]["resources"]["limits"]["memory"]
    assert limit.endswith("M")
    assert int(limit[:-1]) << 20 >= 2 * MEMORY_BYTES + (512 << 20)


def test_our_containers_have_no_privileges() -> None:
    for name in OURS:
        service = SERVICES[name]
        assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, ["/tmp"], ["ALL"])
        assert not any(key in service for key in ("user", "cap_add"))  # the image's user has no privileges
        assert int(service["stop_grace_period"].removesuffix("s")) > Settings().stop_deadline


def test_images_are_pinned_to_the_versions_that_the_tests_run() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert {images[name] for name in OURS} == {f"rookery:{version}"}
    assert images["kafka"] == f"apache/kafka:{version_of_jar('kafka')}"
    assert images["cassandra"] == f"cassandra:{version_of_jar('cassandra')}"
    assert images["redis"].startswith("redis:7.")
    for image in images.values():
        assert image.rpartition(":")[2].count(".") == 2  # an exact version
    dockerfile = DOCKERFILE.read_text()
    assert re.search(r"^ARG PYTHON=docker\.io/library/python:3\.11\.\d+-slim-bookworm$", dockerfile, re.MULTILINE)
    assert f'org.opencontainers.image.version="{version}"' in dockerfile


def version_of_jar(name: str) -> str:
    """Version of the first dependency in the pom.xml of an engine."""
    pom = ElementTree.parse(ROOT / f"tools/engines/files/{name}/pom.xml")
    version = pom.findtext(".//{*}dependency/{*}version")
    assert version is not None
    return version


def test_the_image_is_built_from_committed_files_and_locks() -> None:
    dockerfile = DOCKERFILE.read_text()
    installs = re.findall(r"pip.* install (?:.|\\\n)*?(-r \S+|rookery)\n?", dockerfile)
    assert installs == ["-r requirements.lock", "-r build.lock", "-r node.lock", "rookery"]
    assert dockerfile.count("--require-hashes") == dockerfile.count("-r ")
    wanted = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {package.removesuffix("*") for package in packages} <= set(wanted)
    assert [name for name in wanted if not (ROOT / name).exists()] == []
    locked = dict(re.findall(r"^(\w+)==(\S+)", (ROOT / "deploy/build.lock").read_text(), re.MULTILINE))
    purerpc, setuptools = project["build-system"]["requires"]
    assert set(locked) == {"purerpc", "setuptools"}
    assert purerpc == f"purerpc=={locked['purerpc']}"
    assert int(locked["setuptools"].partition(".")[0]) >= int(setuptools.removeprefix("setuptools>="))


# ---- the profile


def test_requests_are_traced_only_with_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (DEPLOY_COMPOSE / f"{PROFILE}.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert variables["COMPOSE_PROFILES"] == PROFILE
    assert [(ROOT / name).exists() for name in variables["COMPOSE_FILE"].split(":")] == [True, True]
    assert settings_of("bff-1", monkeypatch).traces.endpoint == ""
    monkeypatch.setenv("ROOKERY_TRACES__ENDPOINT", variables["ROOKERY_TRACES__ENDPOINT"])
    endpoint = urlsplit(settings_of("bff-1", monkeypatch).traces.endpoint)
    assert (endpoint.hostname, endpoint.port) == ("jaeger", 4318)  # OTLP over HTTP
    assert endpoint.hostname in OBSERVABILITY


@pytest.mark.parametrize("file", ["docker-compose.yml", f"deploy/compose/{PROFILE}.env", "docs/containers.md"])
def test_the_profile_is_documented_for_a_platform_whose_settings_are_in_dot_env(file: str) -> None:
    """With `--env-file`, Compose reads no `.env` by itself: its settings, such as the store of files, would be lost."""
    assert f"--env-file .env --env-file deploy/compose/{PROFILE}.env" in (ROOT / file).read_text()


def test_only_logs_of_rookery_are_shipped() -> None:
    text = (DEPLOY_COMPOSE / f"{PROFILE}.yml").read_text().replace("!override", "")
    shipped: dict[str, Service] = yaml.safe_load(text)["services"]
    assert set(shipped) == set(OURS)
    for service in shipped.values():
        options = service["logging"]["options"]
        assert service["logging"]["driver"] == "fluentd"
        assert options["fluentd-async"] == "true"  # else nothing starts without Fluent Bit
        address = options["fluentd-address"]
        assert f"{address}:{address.partition(':')[2]}" in SERVICES["fluent-bit"]["ports"]


@pytest.mark.parametrize("name", OBSERVABILITY)
def test_mounted_files_of_the_repository_exist_and_are_read_only(name: str) -> None:
    service = SERVICES[name]
    assert service["profiles"] == [PROFILE]
    assert service["cap_drop"] == ["ALL"]
    for mounted in service.get("volumes", []):
        if mounted.startswith("./"):
            source, _, how = mounted.split(":")
            assert how == "ro"
            assert list((ROOT / source).iterdir())
    words = " ".join([*service.get("entrypoint", []), *service.get("command", [])])
    for file in re.findall(r"[\w-]+\.(?:json|ndjson|yaml)\b", words):
        assert (ROOT / "deploy/logs" / file).exists()
    if name not in (*ONCE, "fluent-bit"):  # whose image has no program for a check
        assert service["healthcheck"]["test"][0] == "CMD"


def test_the_log_store_is_fully_configured(tmp_path: Path) -> None:
    """Run the script of `log-setup` with a fake curl that records its input."""
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\n{ echo "$@"; cat; } > "$0.$$"\n')
    curl.chmod(0o755)
    shell, *options, script = SERVICES["log-setup"]["entrypoint"]
    script = script.replace("$$", "$").replace("cd /logs", f"cd {ROOT / 'deploy/logs'}")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([shell, *options, script], env=environment, stdin=subprocess.DEVNULL, check=True)
    recorded = [file.read_text().split("\n", 1) for file in tmp_path.iterdir() if file != curl]
    bodies = {path: body for request, body in recorded for path in re.findall(r"http://\w+:\d+/(\S+)", request)}
    assert len(recorded) == len(bodies) == 3
    assert json.loads(bodies["_ilm/policy/rookery-logs"])["policy"]["phases"]["delete"]
    settings = json.loads(bodies["_index_template/rookery-logs"])["template"]["settings"]
    assert settings["index.lifecycle.name"] == "rookery-logs"
    assert "api/saved_objects/_import?overwrite=true" in bodies


def test_provisioned_sources_exist() -> None:
    (source,) = (ROOT / "deploy/grafana/provisioning/datasources").iterdir()
    urls = [urlsplit(each["url"]) for each in yaml.safe_load(source.read_text())["datasources"]]
    assert [(url.hostname, url.port) for url in urls] == [("prometheus", 9090)]
    (provider,) = (ROOT / "deploy/grafana/provisioning/dashboards").iterdir()
    (folder,) = [each["options"]["path"] for each in yaml.safe_load(provider.read_text())["providers"]]
    assert f"./deploy/grafana:{folder}:ro" in SERVICES["grafana"]["volumes"]


@pytest.mark.slow
@pytest.mark.parametrize("files", [[], ["--env-file", f"deploy/compose/{PROFILE}.env"]], ids=["platform", PROFILE])
def test_docker_compose_accepts_the_file(files: list[str]) -> None:
    compose = needed(go_tool, "compose", "github.com/docker/compose/v2/cmd")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "ROOKERY_"))}
    output = subprocess.run(
        [compose, *files, "config", "--format", "json"], cwd=ROOT, env=clean, check=True, capture_output=True, text=True
    ).stdout
    config = json.loads(output)
    assert set(config["services"]) == set(SERVICES if files else PLATFORM)
    for name in OURS:
        assert config["services"][name]["environment"]["ROOKERY_TRACES__ENDPOINT"] == (
            "http://jaeger:4318" if files else ""
        )
        assert config["services"][name]["logging"]["driver"] == ("fluentd" if files else "json-file")
