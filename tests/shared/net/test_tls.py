"""The certificates of a process and the authorities that it trusts follow its files. Handshakes are in memory."""

import os
import shutil
import signal
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock

from shared.net.pem import UnusableCertificate
from shared.net.tls import RELOAD_SECONDS, SETTLE_SECONDS, WARN_AGAIN_SECONDS, Tls, open_tls
from shared.settings import TlsSettings
from tests.shared.net.handshakes import server_of, shake_hands
from tools.launch.certificates import Authority, Issued

DAY = 86_400.0


# ---- contexts of servers and clients


def test_a_minimum_version_of_13_rejects_12(authority: Authority, issued: Issued) -> None:
    client, server = authority.trusting(), server_of(issued.settings(minimum_version="1.3")).context("h2")
    assert shake_hands(client, server).version() == "TLSv1.3"
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        shake_hands(client, server)


def test_a_name_that_only_the_client_certificate_has_gets_that_certificate(
    authority: Authority, tmp_path: Path
) -> None:
    public = Authority(tmp_path / "public")
    shown = public.issue("public", "chat.example.org", "gateway-1.both")
    internal = authority.issue("internal", "*.gateways.svc", "gateway-1.both")
    pair = {"client_certificate_file": internal.certificate, "client_key_file": internal.key}
    server = server_of(shown.settings(**pair)).context("h2")
    for trusted, host in (
        (public, "chat.example.org"),
        (public, "gateway-1.both"),
        (authority, "gateway-1.gateways.svc"),
    ):
        assert shake_hands(trusted.trusting("h2"), server, host=host).selected_alpn_protocol() == "h2"
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(authority.trusting(), server, host="a.b.gateways.svc")


# ---- files that change


def shown(tls: Tls, authority: Authority) -> bytes | None:
    """The certificate that a new client gets."""
    assert tls.server is not None
    return shake_hands(authority.trusting(), tls.server.context("h2")).getpeercert(True)


@pytest.mark.parametrize("broken", ["certificate", "key"])
@pytest.mark.parametrize("how", [Path.unlink, lambda file: file.write_text("nonsense")], ids=["gone", "nonsense"])
def test_invalid_files_change_nothing(
    authority: Authority, issued: Issued, broken: str, how: Callable[[Path], object]
) -> None:
    tls = Tls(issued.settings(ca_file=authority.file))
    client, first = tls.to_archives(), shown(tls, authority)
    how(getattr(issued, broken))
    with pytest.raises(UnusableCertificate, match=str(getattr(issued, broken))):
        tls.load()
    assert shown(tls, authority) == first
    assert tls.server is not None
    shake_hands(client, tls.server.context("h2"))


def test_channels_that_are_open_trust_a_new_authority_and_show_a_new_certificate(tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    settings = old.issue().settings(ca_file=old.file, client_ca_file=old.file)
    tls = Tls(settings)
    context = tls.to_archives()
    for authority in (old, new):
        if authority is new:
            renewed = new.issue()
            for ours, theirs in (
                (settings.certificate_file, renewed.certificate),
                (settings.key_file, renewed.key),
                (old.file, new.file),
            ):
                assert ours is not None
                shutil.copy(theirs, ours)
            tls.load()
        archive = server_of(authority.issue("archive").settings(client_ca_file=authority.file))
        shake_hands(context, archive.context("h2", trusted_clients_only=True))


async def test_a_link_to_another_folder_is_a_change(
    authority: Authority, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """As Kubernetes replaces a secret by another: the files, times and sizes of both stay the same."""
    first, second = (authority.issue(f"{number}/server") for number in (1, 2))
    link = tmp_path / "mounted"
    link.symlink_to(authority.folder / "1")
    settings = TlsSettings(certificate_file=link / "server.pem", key_file=link / "server.key")
    async with open_tls(settings) as tls:
        (tmp_path / "next").symlink_to(authority.folder / "2")
        (tmp_path / "next").replace(link)
        await trio.sleep(RELOAD_SECONDS + SETTLE_SECONDS + 1)
        assert shown(tls, authority) == second.newest != first.newest


async def test_sighup_loads_the_files_at_once(authority: Authority, issued: Issued, mock_clock: MockClock) -> None:
    async with open_tls(issued.settings()) as tls:
        first = shown(tls, authority)
        authority.issue()
        os.kill(os.getpid(), signal.SIGHUP)
        with structlog.testing.capture_logs() as logs:
            while not logs:
                await trio.lowlevel.checkpoint()
        assert [line["event"] for line in logs] == ["tls_reloaded"]
        assert shown(tls, authority) == issued.newest != first


async def test_an_invalid_file_is_logged_once_and_loaded_when_it_is_valid(
    authority: Authority, issued: Issued, autojump_clock: MockClock
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_tls(issued.settings()) as tls:
            first = shown(tls, authority)
            issued.certificate.write_text("nonsense")
            await trio.sleep(5 * RELOAD_SECONDS)
            assert shown(tls, authority) == first
            authority.issue()
            await trio.sleep(RELOAD_SECONDS + SETTLE_SECONDS + 1)
            assert shown(tls, authority) == issued.newest
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("tls_reload_failed", "error"),
        ("tls_reloaded", "info"),
    ]
    assert "server.pem" in logs[0]["reason"]


async def test_a_key_that_is_replaced_a_moment_before_its_certificate_is_no_fault(
    authority: Authority, issued: Issued, autojump_clock: MockClock
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_tls(issued.settings()) as tls:
            certificate = issued.certificate.read_bytes()
            authority.issue()
            renewed = issued.certificate.read_bytes()
            issued.certificate.write_bytes(certificate)
            await trio.sleep(RELOAD_SECONDS + SETTLE_SECONDS / 2)  # the change was seen
            issued.certificate.write_bytes(renewed)
            await trio.sleep(RELOAD_SECONDS)
            assert shown(tls, authority) == issued.newest
    assert [line["event"] for line in logs] == ["tls_reloaded"]


async def test_without_files_no_signal_handler_is_installed(mock_clock: MockClock) -> None:
    before = signal.getsignal(signal.SIGHUP)
    async with open_tls(TlsSettings()) as tls:
        assert tls.server is None
        assert signal.getsignal(signal.SIGHUP) is before


# ---- the end of a certificate


@pytest.fixture
def rare_reloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks of the files every 9 s would make a day take seconds."""
    monkeypatch.setattr("shared.net.tls.RELOAD_SECONDS", WARN_AGAIN_SECONDS / 8)


@pytest.mark.parametrize(
    ("left", "event", "level"),
    [
        (60 * DAY, "", ""),
        (3 * DAY, "tls_certificate_expires_soon", "warning"),
        (-DAY, "tls_certificate_expired", "error"),
    ],
)
async def test_a_near_or_past_expiry_is_logged_each_day(
    authority: Authority, rare_reloads: None, autojump_clock: MockClock, left: float, event: str, level: str
) -> None:
    issued = authority.issue(begins=time.time() - 90 * DAY, ends=time.time() + left)
    with structlog.testing.capture_logs() as logs:
        async with open_tls(issued.settings()):
            await trio.sleep(1.5 * WARN_AGAIN_SECONDS)
    assert [(line["event"], line["log_level"]) for line in logs] == 2 * [(event, level)] * bool(event)
    assert all(line["names"] == ("127.0.0.1", "localhost") for line in logs)
