"""What a process shows and whom it trusts follows its files; handshakes are made in memory, without a socket."""

import os
import shutil
import signal
import ssl
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock

from shared.net.certificates import read_certificate
from shared.net.pem import UnusableCertificate
from shared.net.tls import RELOAD_SECONDS, SETTLE_SECONDS, WARN_AGAIN_SECONDS, ServerTls, Tls, open_tls
from shared.net.trust import client_context, trust, trust_itself
from shared.settings import TlsSettings
from tools.launch.certificates import Authority, Issued

DAY = 86_400.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue()


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str = "localhost") -> ssl.SSLObject:
    """Let both speak until they agree, and the server has said what it makes of the client. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = {ours.do_handshake, theirs.do_handshake}
    for _ in range(10):
        for step in tuple(waiting):
            try:
                step()
                waiting.remove(step)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    return ours


def server_of(settings: TlsSettings) -> ServerTls:
    assert settings.certificate_file is not None
    return ServerTls(settings, settings.certificate_file)


# ---- what the server speaks


@pytest.mark.parametrize(
    ("least", "most", "version"),
    [("1.2", "TLSv1_2", "TLSv1.2"), ("1.2", "TLSv1_3", "TLSv1.3"), ("1.3", "TLSv1_3", "TLSv1.3")],
)
def test_versions_that_are_spoken(authority: Authority, issued: Issued, least: str, most: str, version: str) -> None:
    client = authority.trusting()
    client.maximum_version = ssl.TLSVersion[most]
    server = server_of(issued.settings(minimum_version=least)).context("h2")
    assert shake_hands(client, server).version() == version


@pytest.mark.parametrize(("least", "most"), [("1.2", "TLSv1_1"), ("1.3", "TLSv1_2")])
def test_older_versions_are_refused(authority: Authority, issued: Issued, least: str, most: str) -> None:
    client = authority.trusting()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = client.maximum_version = ssl.TLSVersion[most]
    client.set_ciphers("DEFAULT@SECLEVEL=0")  # else OpenSSL does not even try TLS 1.1
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        shake_hands(client, server_of(issued.settings(minimum_version=least)).context("h2"))


@pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "h2"), (["http/1.1"], None), ([], None)])
def test_only_what_a_listener_speaks_is_chosen(
    authority: Authority, issued: Issued, offered: list[str], chosen: str | None
) -> None:
    server = server_of(issued.settings()).context("h2")
    assert shake_hands(authority.trusting(*offered), server).selected_alpn_protocol() == chosen


def test_a_listener_with_nothing_to_hide_asks_for_no_certificate(authority: Authority, issued: Issued) -> None:
    settings = issued.settings(client_ca_file=authority.file)
    shake_hands(authority.trusting(), server_of(settings).context("http/1.1"))


def test_clients_that_must_be_known_are(authority: Authority, issued: Issued, tmp_path: Path) -> None:
    server = server_of(issued.settings(client_ca_file=authority.file)).context("h2", trusted_clients_only=True)
    known, unknown, silent = authority.trusting(), authority.trusting(), authority.trusting()
    ours, theirs = authority.issue("ours"), Authority(tmp_path / "other").issue("theirs")
    known.load_cert_chain(ours.certificate, ours.key)
    unknown.load_cert_chain(theirs.certificate, theirs.key)
    shake_hands(known, server)
    for stranger in (unknown, silent):
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate"):
            shake_hands(stranger, server)


# ---- whom a client trusts


def test_a_client_trusts_the_authority_for_its_names_alone(
    authority: Authority, issued: Issued, tmp_path: Path
) -> None:
    server = server_of(issued.settings()).context("h2")
    client = client_context("h2")
    trust(client, authority.file)
    shake_hands(client, server)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(client, server, host="chat.example.org")
    stranger = client_context("h2")
    trust(stranger, Authority(tmp_path / "other").file)
    with pytest.raises(ssl.SSLCertVerificationError, match="local issuer"):
        shake_hands(stranger, server)


def test_without_a_file_the_system_decides(
    authority: Authority, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = server_of(issued.settings()).context("h2"), client_context("h2")
    trust(client, None)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    trust(client, None)
    shake_hands(client, server)


@pytest.mark.parametrize("ends", [4e9, 1.7e9], ids=["good", "ended"])
def test_a_process_trusts_its_own_certificate_whatever_it_is_for(authority: Authority, ends: float) -> None:
    settings = authority.issue("own", "chat.example.org", begins=1.6e9, ends=ends).settings()
    client = client_context("h2")
    trust_itself(client, settings)
    shake_hands(client, server_of(settings).context("h2"), host="127.0.0.1")


def test_a_process_trusts_no_other_certificate_of_its_authority(authority: Authority, issued: Issued) -> None:
    client = client_context("h2")
    trust_itself(client, issued.settings())
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server_of(authority.issue("other").settings()).context("h2"))


def test_a_process_gets_into_its_own_archive(authority: Authority, issued: Issued) -> None:
    tls = Tls(issued.settings(client_ca_file=authority.file))
    assert tls.server is not None
    shake_hands(tls.to_itself(), tls.server.context("h2", trusted_clients_only=True), host="127.0.0.1")


def test_archives_are_shown_the_certificate_that_is_for_them(authority: Authority, tmp_path: Path) -> None:
    inside = Authority(tmp_path / "inside")
    archive = server_of(inside.issue("archive").settings(client_ca_file=inside.file))
    caller = inside.issue("caller")
    public = authority.issue("public").settings(
        ca_file=inside.file, client_certificate_file=caller.certificate, client_key_file=caller.key
    )
    shake_hands(Tls(public).to_archives(), archive.context("h2", trusted_clients_only=True))


# ---- files that change


def shown(server: ServerTls, authority: Authority) -> bytes | None:
    """The certificate that a client sees that connects now."""
    return shake_hands(authority.trusting(), server.context("h2")).getpeercert(True)


def test_a_new_certificate_is_in_new_contexts_alone(authority: Authority, issued: Issued) -> None:
    server = server_of(issued.settings())
    before = server.context("h2")
    first = shown(server, authority)
    authority.issue()
    assert shown(server, authority) == first
    server.load()
    assert shown(server, authority) == issued.newest != first
    assert shake_hands(authority.trusting(), before).getpeercert(True) == first


@pytest.mark.parametrize("broken", ["certificate", "key"])
@pytest.mark.parametrize("how", [Path.unlink, lambda file: file.write_text("nonsense")], ids=["gone", "nonsense"])
def test_files_that_can_not_be_used_change_nothing(
    authority: Authority, issued: Issued, broken: str, how: Callable[[Path], object]
) -> None:
    tls = Tls(issued.settings(ca_file=authority.file))
    assert tls.server is not None
    client, first = tls.to_archives(), shown(tls.server, authority)
    how(getattr(issued, broken))
    with pytest.raises(UnusableCertificate, match=str(getattr(issued, broken))):
        tls.load()
    assert shown(tls.server, authority) == first
    shake_hands(client, tls.server.context("h2"))


def test_a_certificate_without_its_key_waits_for_it(authority: Authority, issued: Issued) -> None:
    server = server_of(issued.settings())
    first, key = shown(server, authority), issued.key.read_bytes()
    authority.issue()
    new_key = issued.key.read_bytes()
    issued.key.write_bytes(key)
    with pytest.raises(UnusableCertificate, match="not the certificate's"):
        server.load()
    assert shown(server, authority) == first
    issued.key.write_bytes(new_key)
    server.load()
    assert shown(server, authority) == issued.newest


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


async def test_files_are_looked_at_every_few_seconds(
    authority: Authority, issued: Issued, autojump_clock: MockClock
) -> None:
    async with open_tls(issued.settings()) as tls:
        assert tls.server is not None
        authority.issue()
        await trio.sleep(RELOAD_SECONDS + SETTLE_SECONDS + 1)
        assert shown(tls.server, authority) == issued.newest


async def test_a_link_to_another_folder_is_a_change(
    authority: Authority, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """As Kubernetes puts a secret in place of another: files, times and sizes of both stay what they are."""
    first, second = (authority.issue(f"{number}/server") for number in (1, 2))
    link = tmp_path / "mounted"
    link.symlink_to(authority.folder / "1")
    settings = TlsSettings(certificate_file=link / "server.pem", key_file=link / "server.key")
    async with open_tls(settings) as tls:
        assert tls.server is not None
        (tmp_path / "next").symlink_to(authority.folder / "2")
        (tmp_path / "next").replace(link)
        await trio.sleep(RELOAD_SECONDS + SETTLE_SECONDS + 1)
        assert shown(tls.server, authority) == second.newest != first.newest


async def test_a_hangup_has_them_looked_at_now(authority: Authority, issued: Issued, mock_clock: MockClock) -> None:
    async with open_tls(issued.settings()) as tls:
        assert tls.server is not None
        first = shown(tls.server, authority)
        authority.issue()
        os.kill(os.getpid(), signal.SIGHUP)
        with structlog.testing.capture_logs() as logs:
            while not logs:
                await trio.lowlevel.checkpoint()
        assert [line["event"] for line in logs] == ["tls_reloaded"]
        assert shown(tls.server, authority) == issued.newest != first


async def test_what_can_not_be_used_is_said_once_and_taken_when_it_is_mended(
    authority: Authority, issued: Issued, autojump_clock: MockClock
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_tls(issued.settings()) as tls:
            assert tls.server is not None
            first = shown(tls.server, authority)
            issued.certificate.write_text("nonsense")
            await trio.sleep(5 * RELOAD_SECONDS)
            assert shown(tls.server, authority) == first
            authority.issue()
            await trio.sleep(RELOAD_SECONDS + SETTLE_SECONDS + 1)
            assert shown(tls.server, authority) == issued.newest
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
            assert tls.server is not None
            certificate = issued.certificate.read_bytes()
            authority.issue()
            renewed = issued.certificate.read_bytes()
            issued.certificate.write_bytes(certificate)
            await trio.sleep(RELOAD_SECONDS + SETTLE_SECONDS / 2)  # the change was seen
            issued.certificate.write_bytes(renewed)
            await trio.sleep(RELOAD_SECONDS)
            assert shown(tls.server, authority) == issued.newest
    assert [line["event"] for line in logs] == ["tls_reloaded"]


async def test_without_files_nothing_is_looked_at(mock_clock: MockClock) -> None:
    before = signal.getsignal(signal.SIGHUP)
    async with open_tls(TlsSettings()) as tls:
        assert tls.server is None
        assert signal.getsignal(signal.SIGHUP) is before


# ---- the end of a certificate


@pytest.fixture
def rarely_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at the files all the time would make days take seconds."""
    monkeypatch.setattr("shared.net.tls.RELOAD_SECONDS", WARN_AGAIN_SECONDS / 8)


@pytest.mark.parametrize(
    ("life", "warned"), [(90 * DAY, 14 * DAY), (365 * DAY, 14 * DAY), (5 * DAY, DAY), (3_600, 720)]
)
def test_its_end_is_near_for_the_last_fifth_of_its_life(authority: Authority, life: float, warned: float) -> None:
    certificate = read_certificate(authority.issue(begins=1.7e9, ends=1.7e9 + life).certificate)
    assert (certificate.not_before, certificate.not_after) == (1.7e9, 1.7e9 + life)
    assert certificate.not_after - certificate.near_end == pytest.approx(warned)


def test_a_certificate_says_for_whom_it_is(authority: Authority) -> None:
    assert read_certificate(authority.issue("x", "chat.example.org", "192.0.2.1").certificate).names == (
        "chat.example.org",
        "192.0.2.1",
    )


@pytest.mark.parametrize(
    ("left", "event", "level"),
    [(3 * DAY, "tls_certificate_expires_soon", "warning"), (-DAY, "tls_certificate_expired", "error")],
)
async def test_its_end_is_said_each_day(
    authority: Authority, rarely_looked_at: None, autojump_clock: MockClock, left: float, event: str, level: str
) -> None:
    issued = authority.issue(begins=time.time() - 90 * DAY, ends=time.time() + left)
    with structlog.testing.capture_logs() as logs:
        async with open_tls(issued.settings()):
            await trio.sleep(1.5 * WARN_AGAIN_SECONDS)
    assert [(line["event"], line["log_level"]) for line in logs] == 2 * [(event, level)]
    assert logs[0]["names"] == ("127.0.0.1", "localhost")


async def test_a_certificate_that_is_good_is_not_talked_about(
    issued: Issued, rarely_looked_at: None, autojump_clock: MockClock
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_tls(issued.settings()):
            await trio.sleep(3 * WARN_AGAIN_SECONDS)
    assert logs == []
