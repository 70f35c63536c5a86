"""The findings of `rookery doctor`; each that is not OK has a remedy."""

import fcntl
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import get_args

import pytest
import trio
from pydantic import SecretStr

from bff.files.scanner import Scanner
from rookery.commands import doctor
from rookery.commands.backup import PARTS
from rookery.commands.doctor import Check, Finding, Level
from rookery.serve.folder import DataFolder
from shared.contract.errors import Unavailable
from shared.contract.ids import SnowflakeGenerator, wall_clock_ms
from shared.files.folder import FolderFiles, open_folder_files
from shared.net.health_server import serve_health
from shared.settings import (
    ArchiveSettings,
    BffSettings,
    Engine,
    FilesSettings,
    GatewaySettings,
    KafkaSettings,
    RedisSettings,
    Settings,
    TlsSettings,
)
from shared.telemetry.health import Health
from tests.rookery.commands.conftest import Invoke
from tools.launch.certificates import Authority

HEALTH_PORTS = {
    "bff": "ROOKERY_BFF__PORT",
    "gateway": "ROOKERY_GATEWAY__HEALTH_PORT",
    "archive": "ROOKERY_ARCHIVE__HEALTH_PORT",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


def found(check: Check, settings: Settings, *roles: str) -> list[Level]:
    findings = list(check(settings, frozenset(roles)))
    assert all(finding.remedy for finding in findings if finding.level is not Level.OK)
    return [finding.level for finding in findings]


def test_an_old_python_is_a_problem() -> None:
    assert doctor.check_python((3, 10)) == Finding(Level.PROBLEM, "this is Python 3.10", "install Python 3.11 or newer")
    assert doctor.check_python((3, 13)).level is Level.OK


def test_a_folder_is_writable_or_a_problem(tmp_path: Path) -> None:
    assert found(doctor.check_folder, Settings(data=tmp_path / "new" / "folder"))[0] is Level.OK
    # In /proc even root can't write.
    assert found(doctor.check_folder, Settings(data=Path("/proc/rookery")))[0] is Level.PROBLEM


def test_a_disk_without_hard_links_is_a_problem(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(doctor.check_files, settings) == [Level.OK]
    assert list(settings.data.iterdir()) == []

    def refuse(source: str, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    assert found(doctor.check_files, settings) == [Level.PROBLEM]


def test_a_virus_scanner_that_does_not_answer_is_a_problem(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(doctor.check_scanner, settings) == []
    scanned = Settings(files=FilesSettings(scanner="127.0.0.1:1"))
    assert found(doctor.check_scanner, scanned) == [Level.PROBLEM]

    async def answer(_: Scanner) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Scanner, "check", answer)
    assert found(doctor.check_scanner, scanned) == [Level.OK]


def test_an_object_store_that_can_not_be_used_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = FilesSettings(
        url="s3://bucket", endpoint="http://127.0.0.1:1", access_key="key", secret_key=SecretStr("sesame")
    )
    settings = Settings(files=files)
    (finding,) = doctor.check_files(settings, frozenset())
    assert finding.level is Level.PROBLEM
    assert "s3://bucket" in finding.text
    assert "sesame" not in str(finding)
    monkeypatch.setattr(doctor, "open_file_store", lambda _: open_folder_files(tmp_path))
    assert found(doctor.check_files, settings) == [Level.OK]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("listing", "permission"), [("keys", "s3:ListBucket"), ("uploads", "s3:ListBucketMultipartUploads")]
)
def test_a_permission_to_list_that_the_access_key_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: str, permission: str
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise Unavailable("the object store answers GET with 403 AccessDenied")

    monkeypatch.setattr(FolderFiles, listing, refuse)
    monkeypatch.setattr(doctor, "open_file_store", lambda _: open_folder_files(tmp_path))
    files = FilesSettings(url="s3://bucket", access_key="key", secret_key=SecretStr("sesame"))
    finding = doctor.check_object_store(Settings(files=files))
    assert finding.level is Level.PROBLEM
    assert f"403 AccessDenied: the access key needs the permission {permission})" in finding.text


def test_a_full_disk_is_a_problem(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, level in ((1, Level.PROBLEM), (500 * 1024**2, Level.WARNING), (10 * 1024**3, Level.OK)):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        assert found(doctor.check_folder, settings)[1] is level


def test_a_port_in_use_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(data=tmp_path, bff=BffSettings(port=taken.getsockname()[1]))
        first = next(doctor.check_ports(settings, frozenset()))
    assert first.level is Level.PROBLEM
    assert "ROOKERY_BFF__PORT" in first.remedy


def test_a_port_of_an_ipv6_address_is_free_or_in_use(tmp_path: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        settings = Settings(data=tmp_path, bff=BffSettings(host="::1", port=taken.getsockname()[1]))
        assert next(doctor.check_ports(settings, frozenset())).level is Level.PROBLEM
    free = next(doctor.check_ports(settings, frozenset()))
    assert (free.level, free.text) == (Level.OK, f"[::1]:{settings.bff.port} is free")


def test_a_log_that_another_process_has_open_is_a_problem(settings: Settings) -> None:
    lock = DataFolder(settings.data).log_lock
    assert found(doctor.check_log_lock, settings) == []
    with lock.open("w") as file:
        assert found(doctor.check_log_lock, settings) == [Level.OK]
        fcntl.flock(file, fcntl.LOCK_EX)
        assert found(doctor.check_log_lock, settings) == [Level.PROBLEM]
        assert found(doctor.check_log_lock, settings, "gateway") == []
    assert found(doctor.check_ports, settings, "gateway") == []


def test_an_engine_that_is_down_is_a_problem_and_named() -> None:
    assert found(doctor.check_engines, Settings()) == []
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"127.0.0.1:{server.getsockname()[1]}"
        settings = Settings(
            engines=frozenset({"kafka", "redis"}),
            kafka=KafkaSettings(servers=(there, "127.0.0.1:1")),
            redis=RedisSettings(url=SecretStr("redis://:sesame@127.0.0.1:1/0")),
        )
        findings = list(doctor.check_engines(settings, frozenset()))
    assert [finding.level for finding in findings] == [Level.OK, Level.PROBLEM, Level.PROBLEM]
    assert findings[0].text == f"Kafka listens on {there}"
    assert "Redis can't be reached at 127.0.0.1:1" in findings[2].text
    assert "sesame" not in str(findings)


def test_a_clock_behind_the_data_is_a_problem(settings: Settings) -> None:
    assert found(doctor.check_clock, settings) == []
    file = settings.data / "log.db"
    file.touch()
    assert found(doctor.check_clock, settings) == [Level.OK]
    os.utime(file, (time.time() + 3600, time.time() + 3600))
    assert found(doctor.check_clock, settings) == [Level.PROBLEM]


def test_the_remedy_for_a_clock_behind_the_data_is_to_set_it_before_ids_are_generated(settings: Settings) -> None:
    now_ms = wall_clock_ms() + 3_600_000
    stored = SnowflakeGenerator(1, lambda: now_ms).next_nowait()
    slow = SnowflakeGenerator(1)
    assert stored is not None
    assert not slow.follow(stored)
    new = slow.next_nowait()
    assert new is not None
    assert new < stored  # it is not generated above the stored ones, and not refused either
    file = settings.data / "log.db"
    file.touch()
    os.utime(file, (now_ms / 1000, now_ms / 1000))
    (finding,) = doctor.check_clock(settings, frozenset())
    assert finding.remedy.startswith("set it before the start: new messages would sort below the stored ones")


def test_a_file_of_a_newer_release_or_a_broken_one_is_a_problem(settings: Settings) -> None:
    path = DataFolder(settings.data).configuration
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert found(doctor.check_schemas, settings) == [Level.PROBLEM]
    path.write_bytes(b"not a database" * 100)
    assert found(doctor.check_schemas, settings) == [Level.PROBLEM]


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "a#b?c%41")
    settings.data.mkdir()
    for part in PARTS:
        with closing(sqlite3.connect(settings.data / part.name)) as connection:
            connection.execute(f"PRAGMA user_version = {len(part.migrations)}")
    texts = [finding.text for finding in doctor.check_schemas(settings, frozenset())]
    assert sorted(texts) == sorted(f"{settings.data / part.name} is of this release" for part in PARTS)
    assert list(tmp_path.iterdir()) == [settings.data]


def test_a_file_of_another_user_is_no_reason_to_restore_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    data = DataFolder(settings.data)
    for path in (data.log, data.log_lock):
        path.touch()
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: mode == os.F_OK and access(path, mode))
    for check, path in ((doctor.check_schemas, data.log), (doctor.check_log_lock, data.log_lock)):
        (finding,) = check(settings, frozenset())
        assert finding.level is Level.PROBLEM
        assert finding.text.endswith(f"can't read {path}")
        assert finding.remedy == "run this command as the user of Rookery"


def test_a_folder_that_can_not_be_entered_is_examined_no_further(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataFolder(settings.data)
    for path in (data.log, data.log_lock):
        path.touch()
    monkeypatch.setattr("os.access", lambda *_: False)
    for check in (doctor.check_log_lock, doctor.check_clock, doctor.check_schemas):
        assert found(check, settings) == []


def test_few_open_files_are_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "allow_most_open_files", lambda: None)
    for files, level in ((256, Level.WARNING), (65_536, Level.OK), (None, Level.OK)):
        monkeypatch.setattr(doctor, "open_files", lambda files=files: files)
        assert found(doctor.check_open_files, settings) == [level]


@pytest.mark.parametrize(
    ("gateway", "roles", "engines", "levels"),
    [
        ({}, {"bff", "gateway"}, {"kafka"}, [Level.PROBLEM]),
        ({}, set(), set(), [Level.PROBLEM]),
        ({}, set(), {"kafka"}, []),
        ({}, {"bff"}, {"kafka"}, []),
        ({"host": "0.0.0.0"}, {"bff", "gateway"}, set(), []),
        ({"public_websocket": "wss://chat.example.org/session"}, {"bff", "gateway"}, set(), []),
    ],
)
def test_a_gateway_that_the_clients_of_its_bff_can_not_reach_is_a_problem(
    gateway: dict[str, str], roles: set[str], engines: set[Engine], levels: list[Level]
) -> None:
    listening = GatewaySettings.model_validate(gateway)
    tls, bff = TlsSettings(plaintext=True), BffSettings(host="0.0.0.0")
    settings = Settings(bff=bff, gateway=listening, engines=frozenset(engines), tls=tls)
    assert found(doctor.check_reach, settings, *roles) == levels
    on_loopback = settings.model_copy(update={"bff": BffSettings()})
    assert found(doctor.check_reach, on_loopback, *roles) == []


def test_an_invalid_or_expiring_certificate_and_a_readable_key_are_reported(tmp_path: Path) -> None:
    authority, now = Authority(tmp_path), time.time()
    for days, level in ((60, Level.OK), (5, Level.WARNING), (-1, Level.PROBLEM)):
        issued = authority.issue(begins=now - 60 * 86_400, ends=now + days * 86_400)
        issued.key.chmod(0o640)
        settings = Settings(data=tmp_path, tls=issued.settings())
        assert found(doctor.check_tls, settings) == [level]
    issued.key.chmod(0o644)
    assert found(doctor.check_tls, settings) == [Level.PROBLEM, Level.WARNING]
    issued.key.write_text("nonsense")
    assert found(doctor.check_tls, settings) == [Level.PROBLEM]


def test_plain_text_beyond_this_machine_is_a_warning(tmp_path: Path) -> None:
    assert found(doctor.check_tls, Settings(data=tmp_path)) == []
    assert found(doctor.check_tls, Settings(data=tmp_path, tls=TlsSettings(plaintext=True))) == [Level.WARNING]


def test_a_missing_page_is_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "WEB_ROOT", settings.data)
    assert found(doctor.check_page, settings) == [Level.WARNING]


@pytest.fixture
def http_server() -> Iterator[tuple[int, dict[str, bytes]]]:
    """The port of an HTTP server that responds to every request with `body`."""
    answer = {"body": b""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer["body"])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port, answer
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("body", "level", "words"),
    [
        (json.dumps({"checks": [{"name": "log", "ok": True, "reason": ""}]}), Level.OK, "(bff), and ready"),
        (json.dumps({"checks": [{"name": "log", "ok": False, "reason": "down"}]}), Level.WARNING, "log: down"),
        ("<html>", Level.PROBLEM, "another program"),
        ("[]", Level.PROBLEM, "another program"),
    ],
)
def test_a_rookery_and_another_program_on_the_port_are_distinguished(
    tmp_path: Path, http_server: tuple[int, dict[str, bytes]], body: str, level: Level, words: str
) -> None:
    port, answer = http_server
    answer["body"] = body.encode()
    gateway, archive = GatewaySettings(health_port=0), ArchiveSettings(health_port=0)
    settings = Settings(data=tmp_path, bff=BffSettings(port=port), gateway=gateway, archive=archive)
    (finding,), roles = doctor.check_running(settings)
    assert finding.level is level
    assert words in finding.text
    assert roles == ({"bff"} if "a Rookery" in finding.text else set())


@pytest.mark.parametrize(("role", "variable"), [*HEALTH_PORTS.items(), ("bff", "ROOKERY_BFF__HEALTH_PORT")])
async def test_a_stopping_process_is_running_and_its_ports_are_no_problem(
    invoke: Invoke, nursery: trio.Nursery, role: str, variable: str
) -> None:
    health = Health()
    health.mark_started()
    health.mark_draining()
    port = await nursery.start(serve_health, health, "127.0.0.1", 0)
    ports = dict.fromkeys(HEALTH_PORTS.values(), "0") | {variable: str(port)}
    result = await trio.to_thread.run_sync(lambda: invoke("doctor", **ports))
    assert f"warning  a Rookery is running on port {port} ({role}), but not ready (draining: stopping)" in result.output
    assert "can't listen" not in result.output
    assert result.exit_code == 0, result.output


def test_a_gateway_without_embedded_engines_needs_no_folder_and_no_files() -> None:
    embedded = Settings(data=Path("/proc/rookery"))
    distributed = embedded.model_copy(update={"engines": frozenset(get_args(Engine))})
    for check in (doctor.check_folder, doctor.check_files):
        assert found(check, distributed, "gateway") == []
        assert Level.PROBLEM in found(check, distributed, "bff")
        assert Level.PROBLEM in found(check, distributed)
    assert Level.PROBLEM in found(doctor.check_folder, embedded, "gateway")


def test_invalid_settings_are_a_problem_and_exit_1(invoke: Invoke) -> None:
    result = invoke("doctor", ROOKERY_BFF__PROT="1")
    assert result.exit_code == 1
    assert "problem  there is no setting `bff.prot`" in result.output


def test_no_part_of_the_password_of_an_invalid_url_is_shown(invoke: Invoke) -> None:
    result = invoke("doctor", ROOKERY_ENGINES="redis", ROOKERY_REDIS__URL="redis://:sec/ret@host:6379/0")
    assert result.exit_code == 1
    assert "problem  the setting `redis.url`" in result.output
    assert "sec" not in result.output


def test_every_line_begins_with_its_level(invoke: Invoke) -> None:
    levels = [line.split()[0] for line in invoke("doctor").output.splitlines()]
    assert len(levels) > 6
    assert set(levels) <= {"ok", "warning", "problem"}
