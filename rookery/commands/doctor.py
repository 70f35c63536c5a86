"""`rookery doctor`: checks a set-up and prints a remedy for each problem."""

import fcntl
import os
import shutil
import socket
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from secrets import token_hex
from typing import assert_never
from urllib.parse import quote, urlsplit

import click
import httpx
import trio

from bff.files.scanner import Scanner
from messaging.archive.store.sqlite import schema as chats_sqlite
from rookery.commands.backup import PARTS
from rookery.commands.errors import InvalidSettings
from rookery.commands.options import read_settings
from rookery.serve.engines import open_files as open_file_store
from rookery.serve.folder import DataFolder
from rookery.serve.process import url as url_of
from shared.accounts.sqlite import store as accounts_sqlite
from shared.backplane.sqlite import log as sqlite_log
from shared.configuration import sqlite as configuration_sqlite
from shared.contract.addresses import is_loopback, join_host_port
from shared.contract.errors import Unavailable
from shared.contract.ids import EPOCH_MS, wall_clock_ms
from shared.files.protocol import NotFound
from shared.net.certificates import Certificate, read_certificate
from shared.net.open_files import allow_most_open_files, open_files
from shared.net.pem import UnusableCertificate
from shared.net.tls import Tls
from shared.net.trust import client_context, trust_itself
from shared.settings import Settings

WEB_ROOT = Path(__file__).resolve().parents[2] / "bff/web"

OLDEST_PYTHON = (3, 11)

LOW_DISK = 1024**3
FULL_DISK = 64 * 1024**2
"""Bytes that are free: room for about four million messages of 256 bytes, and for a quarter of a million."""

FEW_FILES = 4_096
"""Open files; each session needs one."""

ENGINE_SECONDS = 3.0
"""Timeout of a connection to an engine."""

REDIS_PORT = 6379

CLOCK_LEEWAY_SECONDS = 60
"""How far the clock may be behind the newest file of the data folder."""


class Level(Enum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check; with a remedy if its level is not OK."""

    level: Level
    text: str
    remedy: str = ""


Check = Callable[[Settings, Set[str]], Iterator[Finding]]
"""Takes the settings, and the roles that are running with them, ready or not."""


async def examine() -> int:
    """Print a line per finding and return the exit status: 1 if there is a problem."""
    worst = Level.OK
    for finding in findings():
        worst = max(worst, finding.level, key=list(Level).index)
        remedy = f": {finding.remedy}" if finding.remedy else ""
        click.echo(f"{finding.level.value:8} {finding.text}{remedy}")
    return 1 if worst is Level.PROBLEM else 0


def findings() -> Iterator[Finding]:
    """Run all checks in order. Only the first ones run if the settings are invalid."""
    yield check_python(sys.version_info[:2])
    try:
        settings = read_settings()
    except InvalidSettings as error:
        for line in error.message.splitlines():
            yield Finding(Level.PROBLEM, line, "correct it in the environment or in rookery.toml")
        return
    yield Finding(Level.OK, "the settings are valid")
    running, roles = check_running(settings)
    yield from running
    for check in CHECKS:
        yield from check(settings, roles)


def check_python(version: tuple[int, ...]) -> Finding:
    number = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return Finding(Level.PROBLEM, f"this is Python {number}", "install Python 3.11 or newer")
    return Finding(Level.OK, f"Python {number}")


def check_running(settings: Settings) -> tuple[list[Finding], set[str]]:
    """Request the readiness of each role, and return the findings and the roles that respond, ready or not.

    While none responds, this machine may be meant for any of them, and another program on one of their ports is a
    problem.
    """
    roles, findings, others = set(), [], []
    for role, host, port, variable in _health_ports(settings):
        url = f"{url_of('http', host, port, secure=settings.tls.certificate_file is not None)}/readyz"
        try:
            failed = _failed_checks(settings, url)
        except (httpx.TransportError, UnusableCertificate):
            continue
        except (ValueError, KeyError, TypeError):
            text = f"another program responds on port {port}"
            others.append(Finding(Level.PROBLEM, text, f"stop it, or set {variable} to a free port"))
            continue
        roles.add(role)
        findings.append(_readiness(f"a Rookery is running on port {port} ({role})", failed, url))
    nothing = Finding(Level.OK, "no Rookery with these settings is running")
    return findings or others or [nothing], roles


def _readiness(running: str, failed: list[str], url: str) -> Finding:
    if failed:
        return Finding(Level.WARNING, f"{running}, but not ready ({'; '.join(failed)})", f"see {url}")
    return Finding(Level.OK, f"{running}, and ready")


def _failed_checks(settings: Settings, url: str) -> list[str]:
    """The name and the reason of each failed check in the report of a process.

    Raises httpx.TransportError or UnusableCertificate if no process responds, and ValueError, KeyError or TypeError if
    the response is no report.
    """
    tls = client_context("http/1.1")
    if settings.tls.certificate_file is not None:
        trust_itself(tls, settings.tls)
    report = httpx.get(url, timeout=3, verify=tls).json()
    return [f"{check['name']}: {check['reason']}" for check in report["checks"] if not check["ok"]]


def check_folder(settings: Settings, roles: Set[str]) -> Iterator[Finding]:
    """Check that the data folder can be written to, and the free space of its disk, if a process writes to it."""
    if not _uses_folder(settings, roles):
        return
    folder = _existing(settings.data)
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield Finding(Level.OK, f"{folder} can be written to")
    except OSError as error:
        remedy = f"give user id {os.getuid()} write permission, or set ROOKERY_DATA"
        yield Finding(Level.PROBLEM, f"{folder} can't be written to ({error.strerror})", remedy)
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GiB are free on the disk of {folder}"
    if free >= LOW_DISK:
        yield Finding(Level.OK, text)
    else:
        level = Level.WARNING if free >= FULL_DISK else Level.PROBLEM
        yield Finding(level, text, "free some space: on a full disk messages are refused")


def check_files(settings: Settings, roles: Set[str]) -> Iterator[Finding]:
    """Check that the store of files' bytes can be used: the object store, or hard links in the data folder."""
    if roles == {"gateway"}:
        return
    if settings.files.url:
        yield check_object_store(settings)
        return
    folder = _existing(settings.data)
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            link = Path(f"{file.name}-link")
            os.link(file.name, link)
            link.unlink()
    except OSError as error:
        remedy = "uploads of files need them: set ROOKERY_DATA to a folder on another disk, or ROOKERY_FILES__URL"
        yield Finding(Level.PROBLEM, f"the disk of {folder} has no hard links ({error.strerror})", remedy)
    else:
        yield Finding(Level.OK, f"the disk of {folder} has hard links, for uploads of files")


def check_object_store(settings: Settings) -> Finding:
    """Check that the bucket can be written, read, deleted from and listed, and takes uploads in parts."""
    url = settings.files.url
    try:
        with ThreadPoolExecutor(1) as threads:  # this thread may be one of Trio's already
            threads.submit(trio.run, _use_object_store, settings).result()
    except (NotFound, Unavailable, UnusableCertificate) as error:
        remedy = "create the bucket, correct its permissions, or the setting under `files` of its name, address or keys"
        return Finding(Level.PROBLEM, f"files can't be kept in {url} ({error})", remedy)
    return Finding(Level.OK, f"files can be kept in {url}")


async def _use_object_store(settings: Settings) -> None:
    key, content = f"doctor/{token_hex(8)}", b"rookery doctor"
    async with open_file_store(settings) as files:
        await files.put(key, content)
        async with files.read(key) as chunks:
            if b"".join([chunk async for chunk in chunks]) != content:
                raise Unavailable("it returns other bytes than were written")
        await files.delete([key])
        await files.cancel(key, await files.begin(key))
        # Without the last permission, files can be sent and read: only the sweep, an hour later, fails.
        with _needs("s3:ListBucket"):
            await files.keys(limit=1)
        with _needs("s3:ListBucketMultipartUploads"):
            await files.uploads(wall_clock_ms(), limit=1)


@contextmanager
def _needs(permission: str) -> Iterator[None]:
    """Name the permission of the access key that the block needs if it fails."""
    try:
        yield
    except Unavailable as error:
        raise Unavailable(f"{error}: the access key needs the permission {permission}") from error


def check_scanner(settings: Settings, _: Set[str]) -> Iterator[Finding]:
    """Check that the virus scanner of the settings answers, if there is one."""
    address = settings.files.scanner
    if not address:
        return
    try:
        with ThreadPoolExecutor(1) as threads:  # this thread may be one of Trio's already
            threads.submit(trio.run, Scanner(address, ENGINE_SECONDS).check).result()
    except Unavailable as error:
        remedy = "start clamd, or correct `files.scanner` (ROOKERY_FILES__SCANNER): until then no upload is complete"
        yield Finding(Level.PROBLEM, f"files can't be scanned for viruses ({error})", remedy)
    else:
        yield Finding(Level.OK, f"files are scanned for viruses by {address}")


def check_ports(settings: Settings, roles: Set[str]) -> Iterator[Finding]:
    """Check that the ports to listen on are free. Skipped while Rookery runs, which has them open itself."""
    if roles:
        return
    for host, port, variable in _ports(settings):
        family, shown = socket.AF_INET6 if ":" in host else socket.AF_INET, join_host_port(host, port)
        try:
            with socket.create_server((host, port), family=family):
                pass
        except OSError as error:
            text = f"can't listen on {shown} ({error.strerror})"
            yield Finding(Level.PROBLEM, text, f"stop the program that uses the port, or set {variable}")
        else:
            yield Finding(Level.OK, f"{shown} is free")


def check_reach(settings: Settings, roles: Set[str]) -> Iterator[Finding]:
    """Check that the clients of a BFF reach the gateway beside it. Before the start, the embedded engines are a sign
    of one process with both."""
    has_both = {"bff", "gateway"} <= roles or not (roles or settings.engines)
    gateway = settings.gateway
    if has_both and not is_loopback(settings.bff.host) and is_loopback(gateway.host) and not gateway.public_websocket:
        text = f"other machines reach the page on {settings.bff.host}, but not the gateway on {gateway.host}"
        remedy = "set ROOKERY_GATEWAY__HOST, or ROOKERY_GATEWAY__PUBLIC_WEBSOCKET behind a proxy"
        yield Finding(Level.PROBLEM, text, remedy)


def check_tls(settings: Settings, _: Set[str]) -> Iterator[Finding]:
    """Check the certificate and its key; without a certificate, whether plain text is allowed beyond this machine."""
    tls = settings.tls
    if tls.certificate_file is None:
        if tls.plaintext:
            remedy = "fine on a private network or behind a proxy with TLS; otherwise set ROOKERY_TLS__CERTIFICATE_FILE"
            yield Finding(Level.WARNING, "plain text is allowed beyond this machine", remedy)
        return
    try:
        loaded = Tls(tls)
        loaded.to_archives()
    except UnusableCertificate as error:
        yield Finding(Level.PROBLEM, str(error), "correct the file, or the setting under `tls` that names it")
        return
    yield check_certificate(read_certificate(tls.certificate_file), tls.certificate_file)
    key = tls.key_file or tls.certificate_file
    if key.stat().st_mode & stat.S_IROTH:
        yield Finding(Level.WARNING, f"every user of this machine can read the key in {key}", f"chmod o-r {key}")


def check_certificate(certificate: Certificate, file: Path) -> Finding:
    ends = time.strftime("%Y-%m-%d", time.gmtime(certificate.not_after))
    text = f"the certificate in {file}, for {', '.join(certificate.names) or 'no name'}, "
    if time.time() >= certificate.not_after:
        return Finding(Level.PROBLEM, f"{text}expired on {ends}", "renew it: no client can connect")
    if time.time() >= certificate.warn_from:
        return Finding(Level.WARNING, f"{text}expires on {ends}", "renew it; Rookery reloads it without a restart")
    return Finding(Level.OK, f"{text}is valid until {ends}")


def check_log_lock(settings: Settings, roles: Set[str]) -> Iterator[Finding]:
    """Check whether another process, which does not respond, has the log open."""
    lock = DataFolder(settings.data).log_lock
    if roles or not os.access(lock, os.F_OK):
        return
    if not os.access(lock, os.R_OK):
        yield _unreadable(lock)
        return
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            remedy = "a Rookery with other ports uses this folder, or one hangs: stop it, or set ROOKERY_DATA"
            yield Finding(Level.PROBLEM, f"another process has the log in {settings.data} open", remedy)
        else:
            yield Finding(Level.OK, "no other process has the log open")


def check_clock(settings: Settings, _: Set[str]) -> Iterator[Finding]:
    """Check the clock: message ids contain the time, so the ids of a clock that is behind are below the stored ones."""
    files = settings.data.glob("*") if _can_enter(settings.data) else ()
    newest = max((path.stat().st_mtime for path in files), default=0.0)
    behind = newest - time.time()
    if wall_clock_ms() < EPOCH_MS:
        yield Finding(Level.PROBLEM, "the clock is before 2026", "set it")
    elif behind > CLOCK_LEEWAY_SECONDS:
        text = f"the clock is {behind:.0f} s behind the newest file in {settings.data}"
        remedy = (
            "set it before the start: new messages would sort below the stored ones, and groups that changed since "
            "could not be written to"
        )
        yield Finding(Level.PROBLEM, text, remedy)
    elif newest:
        yield Finding(Level.OK, "the clock is not behind the stored data")


def check_schemas(settings: Settings, _: Set[str]) -> Iterator[Finding]:
    """Check that this release can read the files."""
    folder = DataFolder(settings.data)
    for path, newest in (
        (folder.log, len(sqlite_log.MIGRATIONS)),
        (folder.chats, len(chats_sqlite.MIGRATIONS)),
        (folder.accounts, len(accounts_sqlite.MIGRATIONS)),
        (folder.configuration, len(configuration_sqlite.MIGRATIONS)),
    ):
        if os.access(path, os.F_OK):
            yield check_schema(path, newest)


def check_schema(path: Path, newest: int) -> Finding:
    if not os.access(path, os.R_OK):
        return _unreadable(path)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        return Finding(Level.PROBLEM, f"{path} can't be read ({error})", "restore it from a backup")
    if version > newest:
        return Finding(Level.PROBLEM, f"{path} was written by a newer release", "start that release")
    if version < newest:
        return Finding(Level.OK, f"{path} is of an older release, and is migrated at the next start")
    return Finding(Level.OK, f"{path} is of this release")


def check_open_files(_: Settings, __: Set[str]) -> Iterator[Finding]:
    allow_most_open_files()
    files = open_files()
    if files is None or files >= FEW_FILES:
        yield Finding(Level.OK, f"up to {'any number of' if files is None else files} files may be open")
    else:
        remedy = "each session needs one: raise the hard limit of the system, for example LimitNOFILE=131072 in systemd"
        yield Finding(Level.WARNING, f"only {files} files may be open", remedy)


def check_page(_: Settings, __: Set[str]) -> Iterator[Finding]:
    if (WEB_ROOT / "index.html").is_file():
        yield Finding(Level.OK, "the browser client is installed")
    else:
        remedy = "start Rookery from a clone, or serve the folder web/ yourself"
        yield Finding(Level.WARNING, f"the browser client is not in {WEB_ROOT}", remedy)


def check_engines(settings: Settings, roles: Set[str]) -> Iterator[Finding]:
    """Check that each engine accepts connections."""
    for engine, address, variable in _engines(settings):
        host, _, number = address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(number)), timeout=ENGINE_SECONDS):
                yield Finding(Level.OK, f"{engine} listens on {address}")
        except (OSError, ValueError) as error:
            text = f"{engine} can't be reached at {address} ({error})"
            yield Finding(Level.PROBLEM, text, f"start it, or set {variable}; then `rookery migrate`")


CHECKS: tuple[Check, ...] = (
    check_folder,
    check_ports,
    check_reach,
    check_tls,
    check_log_lock,
    check_engines,
    check_files,
    check_scanner,
    check_clock,
    check_schemas,
    check_open_files,
    check_page,
)


def _uses_folder(settings: Settings, roles: Set[str]) -> bool:
    """Whether a process writes to the data folder: an embedded engine, or a BFF or archive that keeps files there."""
    is_embedded = any(part.engine not in settings.engines for part in PARTS)
    return is_embedded or not (settings.files.url or roles == {"gateway"})


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    while not os.access(folder, os.F_OK):
        folder = folder.parent
    return folder


def _can_enter(folder: Path) -> bool:
    """Whether the files of a folder can be found. `check_folder` reports a folder that can't be entered."""
    return os.access(folder, os.R_OK | os.X_OK)


def _unreadable(path: Path) -> Finding:
    text = f"user id {os.getuid()} can't read {path}"
    return Finding(Level.PROBLEM, text, "run this command as the user of Rookery")


def _health_ports(settings: Settings) -> Iterator[tuple[str, str, int, str]]:
    """Yield each role with the host and port where it answers probes, and the variable of the port; not for port 0."""
    of_bff = "ROOKERY_BFF__PORT" if settings.bff.health_port is None else "ROOKERY_BFF__HEALTH_PORT"
    for role, host, port, variable in (
        ("bff", settings.bff.host, settings.bff.probed_port, of_bff),
        ("gateway", settings.gateway.host, settings.gateway.health_port, "ROOKERY_GATEWAY__HEALTH_PORT"),
        ("archive", settings.archive.host, settings.archive.health_port, "ROOKERY_ARCHIVE__HEALTH_PORT"),
    ):
        if port:
            yield role, host, port, variable


def _ports(settings: Settings) -> Iterator[tuple[str, int, str]]:
    """Yield the host and port of each listener of `rookery up`, with its variable. Port 0 is always free: skipped."""
    for section in ("bff", "gateway", "archive"):
        part = getattr(settings, section)
        for name in type(part).model_fields:
            if name.endswith("port") and getattr(part, name):
                yield part.host, getattr(part, name), f"ROOKERY_{section}__{name}".upper()


def _engines(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield the name and the address of each engine in use, with its variable."""
    for engine in sorted(settings.engines):
        match engine:
            case "kafka":
                for address in settings.kafka.servers:
                    yield "Kafka", address, "ROOKERY_KAFKA__SERVERS"
            case "cassandra":
                for host in settings.cassandra.hosts:
                    yield "Cassandra", f"{host}:{settings.cassandra.port}", "ROOKERY_CASSANDRA__HOSTS"
            case "redis":
                url = urlsplit(settings.redis.url.get_secret_value())
                yield "Redis", f"{url.hostname}:{url.port or REDIS_PORT}", "ROOKERY_REDIS__URL"
            case _:
                assert_never(engine)
