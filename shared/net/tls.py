"""TLS of a process: the certificate that its listeners show, and whom it trusts when it calls other processes.

All of it is in files, which are looked at every few seconds and at SIGHUP. What they have become is taken once it
can be used as a whole; until then, what was there before goes on. Connections keep what they began with.
"""

import hashlib
import math
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from signal import SIGHUP
from typing import Final

import structlog
import trio

from shared.background import open_background
from shared.net.certificates import Certificate, read_certificate
from shared.net.pem import UnusableCertificate, load_authorities, load_pair
from shared.net.trust import Alpn, client_context, trust_archives, trust_itself
from shared.settings import TlsSettings
from shared.telemetry.metrics.catalogue import CERTIFICATE_END

Prepare = Callable[[ssl.SSLContext, TlsSettings], None]
"""Has a client's context trust whom it should, and show what it has. Raises UnusableCertificate."""

RELOAD_SECONDS = 9.0
"""How often to look at the files: a key that must go is gone soon, and reading a few KiB costs nothing."""

SETTLE_SECONDS = 1.0
"""From a change that was seen to its use: a certificate and its key are often replaced one after the other."""

WARN_AGAIN_SECONDS = 86_400.0
"""How often to say that the end of the certificate is near."""

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_log = structlog.get_logger(__name__)


class ServerTls:
    """The certificate and the key of a process, as its listeners use them."""

    def __init__(self, settings: TlsSettings, certificate_file: Path) -> None:
        """Raises UnusableCertificate."""
        self._settings = settings
        self._file = certificate_file
        self._contexts: dict[tuple[Alpn, bool], ssl.SSLContext] = {}
        self.certificate: Certificate
        self.load()

    def context(self, alpn: Alpn, *, trusted_clients_only: bool = False) -> ssl.SSLContext:
        """For connections that begin now. With `trusted_clients_only`, and a `client_ca_file` in the settings, clients
        without a certificate from there don't get in. Raises UnusableCertificate, but only at the first call."""
        use = alpn, trusted_clients_only
        if use not in self._contexts:
            self._contexts[use] = self._make(*use)
        return self._contexts[use]

    def load(self) -> None:
        """Take the files as they are now. Raises UnusableCertificate if that can't be, and then nothing has changed."""
        certificate = read_certificate(self._file)
        uses: list[tuple[Alpn, bool]] = [*self._contexts] or [("http/1.1", False)]
        self._contexts = {use: self._make(*use) for use in uses}
        self.certificate = certificate

    def _make(self, alpn: Alpn, trusted_clients_only: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = _VERSIONS[self._settings.minimum_version]
        context.options |= ssl.OP_NO_RENEGOTIATION  # of TLS 1.2, with which one client could keep us busy
        context.set_alpn_protocols([alpn])
        load_pair(context, self._file, self._settings.key_file)
        if trusted_clients_only and (authorities := self._settings.client_ca_file):
            load_authorities(context, authorities)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Tls:
    """What the roles of a process take of TLS. Made by `open_tls`."""

    def __init__(self, settings: TlsSettings) -> None:
        """Raises UnusableCertificate."""
        self._settings = settings
        self._clients: list[tuple[ssl.SSLContext, Prepare]] = []
        self.server = ServerTls(settings, settings.certificate_file) if settings.certificate_file else None
        """None if what listens speaks plain text."""

    def to_archives(self) -> ssl.SSLContext:
        """For gRPC with archives of other processes. Raises UnusableCertificate."""
        return self._client(trust_archives)

    def to_itself(self) -> ssl.SSLContext:
        """For gRPC with a listener of this process, whatever names its certificate has. Raises UnusableCertificate."""
        return self._client(trust_itself)

    def load(self) -> None:
        """Take the files as they are now. Raises UnusableCertificate if one can't be used."""
        for _, prepare in self._clients:
            prepare(client_context("h2"), self._settings)
        if self.server is not None:
            self.server.load()
        for context, prepare in self._clients:
            prepare(context, self._settings)  # which channels keep; whom it trusted it trusts until the process ends

    def _client(self, prepare: Prepare) -> ssl.SSLContext:
        context = client_context("h2")
        prepare(context, self._settings)
        self._clients.append((context, prepare))
        return context


@asynccontextmanager
async def open_tls(settings: TlsSettings) -> AsyncIterator[Tls]:
    """TLS as the settings have it, as fresh as its files while the block is open. Raises UnusableCertificate."""
    files = _files(settings)
    known = _digest(files)  # before they are loaded, so that no change is missed
    tls = Tls(settings)
    async with open_background() as nursery, AsyncExitStack() as stack:
        if tls.server is not None:
            stack.enter_context(CERTIFICATE_END.read_from(partial(_not_after, tls.server)))
            nursery.start_soon(_warn_of_the_end, tls.server)
        if files:
            await nursery.start(_keep_fresh, tls, files, known)
        yield tls


def _files(settings: TlsSettings) -> list[Path]:
    return [value for name in TlsSettings.model_fields if isinstance(value := getattr(settings, name), Path)]


async def _keep_fresh(tls: Tls, files: list[Path], known: list[bytes], *, task_status: trio.TaskStatus[None]) -> None:
    """Load the files again when they are not what is known, and at SIGHUP."""
    with trio.open_signal_receiver(SIGHUP) as signals:
        task_status.started()
        while True:
            asked = False
            with trio.move_on_after(RELOAD_SECONDS):
                await signals.__anext__()
                asked = True
            newest = _digest(files)
            if newest != known and not asked:
                await trio.sleep(SETTLE_SECONDS)
                newest = _digest(files)
            if asked or newest != known:
                known = newest
                _reload(tls)


def _reload(tls: Tls) -> None:
    try:
        tls.load()
    except UnusableCertificate as error:
        _log.error("tls_reload_failed", reason=str(error), effect="the files of before stay in use")
        return
    _log.info("tls_reloaded", **_facts(tls.server.certificate) if tls.server else {})


def _digest(files: list[Path]) -> list[bytes]:
    """Of what is in the files, wherever links lead to: dates and sizes can stay the same."""
    digests = []
    for file in files:
        try:
            digests.append(hashlib.sha256(file.read_bytes()).digest())
        except OSError:
            digests.append(b"")
    return digests


async def _warn_of_the_end(server: ServerTls) -> None:
    """Log it when the certificate nears its end, when it has ended, and each day from then on."""
    while True:
        now, certificate = time.time(), server.certificate
        if now >= certificate.not_after:
            _log.error("tls_certificate_expired", **_facts(certificate))
        elif now >= certificate.near_end:
            days = round((certificate.not_after - now) / 86_400, 1)
            _log.warning("tls_certificate_expires_soon", days=days, **_facts(certificate))
        until_next = min(date - now for date in (certificate.near_end, certificate.not_after, math.inf) if date > now)
        await trio.sleep(max(RELOAD_SECONDS, min(WARN_AGAIN_SECONDS, until_next)))


def _facts(certificate: Certificate) -> dict[str, object]:
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(certificate.not_after))
    return {"serial": certificate.serial, "names": certificate.names, "ends": ends}


def _not_after(server: ServerTls) -> float:
    return server.certificate.not_after
