"""TLS of a process: the certificate of its listeners, and the contexts with which it calls other processes.

Both come from files, which are checked for changes every few seconds and at SIGHUP. Changed files are loaded together;
if one can't be used, the former contents stay in use. Existing connections keep the certificate they began with.
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
from shared.contract.errors import Unavailable
from shared.net.certificates import Certificate, read_certificate
from shared.net.identity import ProcessIdentity
from shared.net.pem import UnusableCertificate, load_authorities, load_pair
from shared.net.trust import Alpn, client_context, trust_archives, trust_own_certificate
from shared.settings import TlsSettings
from shared.telemetry.health import Health
from shared.telemetry.metrics.catalogue import CERTIFICATE_END

Prepare = Callable[[ssl.SSLContext, TlsSettings], None]
"""Loads the trusted authorities and the client certificate into a context. Raises UnusableCertificate."""

RELOAD_SECONDS = 9.0
"""Interval of the checks for changed files: a revoked key is out of use soon, and reading a few KiB costs nothing."""

SETTLE_SECONDS = 1.0
"""Pause between a change and its loading: a certificate and its key are often replaced one after the other."""

WARN_AGAIN_SECONDS = 86_400.0
"""Interval of the warnings before and after the expiry."""

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_log = structlog.get_logger(__name__)


class ServerTls:
    """The certificate and key of a process's listeners."""

    def __init__(self, settings: TlsSettings, certificate_file: Path) -> None:
        """Raises UnusableCertificate."""
        self._settings = settings
        self._file = certificate_file
        self._contexts: dict[tuple[Alpn, bool], ssl.SSLContext] = {}
        self.identity = ProcessIdentity() if settings.client_ca_file else None
        """A client that `trusted_clients_only` accepts too: this process. None if it accepts any client."""
        self.certificate: Certificate
        self.load()

    def context(self, alpn: Alpn, *, trusted_clients_only: bool = False) -> ssl.SSLContext:
        """Return the context for new connections. With `trusted_clients_only`, and a `client_ca_file` in the settings,
        it rejects clients without a certificate of that authority, except `identity`. Raises UnusableCertificate, at
        the first call only."""
        use = alpn, trusted_clients_only
        if use not in self._contexts:
            self._contexts[use] = self._make(*use)
        return self._contexts[use]

    @property
    def rejects_strangers(self) -> bool:
        """Whether contexts with `trusted_clients_only` require a certificate of the client."""
        return self._settings.client_ca_file is not None

    def load(self) -> None:
        """Load the files again. If it raises UnusableCertificate, the former certificate stays in use."""
        certificate = read_certificate(self._file)
        uses: list[tuple[Alpn, bool]] = [*self._contexts] or [("http/1.1", False)]
        self._contexts = {use: self._make(*use) for use in uses}
        self.certificate = certificate

    def _make(self, alpn: Alpn, trusted_clients_only: bool) -> ssl.SSLContext:
        context = self._showing(alpn, self._file, self._settings.key_file)
        if trusted_clients_only:
            if authorities := self._settings.client_ca_file:
                load_authorities(context, authorities)
                if self.identity is not None:
                    self.identity.accept(context)
                context.verify_mode = ssl.CERT_REQUIRED
        elif internal := self._settings.client_certificate_file:
            names = {*read_certificate(internal).names} - {*read_certificate(self._file).names}
            other = self._showing(alpn, internal, self._settings.client_key_file)

            def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
                """Show the client certificate to a client that asks for a name which that certificate alone has: to
                another process of the platform, which may not trust the authority of the public one."""
                if name is not None and {name, f"*.{name.partition('.')[2]}"} & names:
                    connection.context = other

            context.sni_callback = choose
        return context

    def _showing(self, alpn: Alpn, certificate_file: Path, key_file: Path | None) -> ssl.SSLContext:
        """Return a context of a server with this certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = _VERSIONS[self._settings.minimum_version]
        context.options |= ssl.OP_NO_RENEGOTIATION  # in TLS 1.2 a client could use it to exhaust the CPU
        context.set_alpn_protocols([alpn])
        load_pair(context, certificate_file, key_file)
        return context


class Tls:
    """TLS for the roles of a process. Made by `open_tls`."""

    def __init__(self, settings: TlsSettings) -> None:
        """Raises UnusableCertificate."""
        self._settings = settings
        self._clients: list[tuple[ssl.SSLContext, Prepare]] = []
        self.server = ServerTls(settings, settings.certificate_file) if settings.certificate_file else None
        """None if the listeners use plain text."""

    def to_archives(self) -> ssl.SSLContext:
        """Return a context for gRPC with archives and gateways of other processes. Raises UnusableCertificate."""
        return self._client(trust_archives)

    def to_itself(self) -> ssl.SSLContext:
        """Return a context for gRPC with a listener of this process. Names, authority and expiry of the listener's
        certificate do not matter. Raises UnusableCertificate."""
        context = self._client(trust_own_certificate)
        if self.server is not None and self.server.identity is not None:
            self.server.identity.show(context)
        return context

    def load(self) -> None:
        """Load the files again. Raises UnusableCertificate if one can't be used."""
        for _, prepare in self._clients:
            prepare(client_context("h2"), self._settings)
        if self.server is not None:
            self.server.load()
        for context, prepare in self._clients:
            # Channels hold the context, so it is changed in place. It trusts its former authorities until the end.
            prepare(context, self._settings)

    def _client(self, prepare: Prepare) -> ssl.SSLContext:
        context = client_context("h2")
        prepare(context, self._settings)
        self._clients.append((context, prepare))
        return context


def add_certificate_check(health: Health, server: ServerTls | None) -> None:
    """Make the process unready while its server certificate is expired. Without TLS there is no check."""
    if server is None:
        return

    async def check() -> None:
        await trio.lowlevel.checkpoint()
        certificate = server.certificate  # read at each run: a reload replaces it
        if time.time() >= certificate.not_after:
            raise Unavailable(f"the server certificate {certificate.serial} expired at {certificate.expiry}")

    health.add("certificate", "the server certificate has not expired", check)


@asynccontextmanager
async def open_tls(settings: TlsSettings) -> AsyncIterator[Tls]:
    """Load the files of the settings, and load them again when they change while the block is open. Raises
    UnusableCertificate."""
    files = _files(settings)
    known = _digests(files)  # before they are loaded, so that no change is missed
    tls = Tls(settings)
    async with open_background() as nursery, AsyncExitStack() as stack:
        if tls.server is not None:
            stack.enter_context(CERTIFICATE_END.read_from(partial(_not_after, tls.server)))
            nursery.start_soon(_warn_before_expiry, tls.server)
        if files:
            await nursery.start(_reload_on_change, tls, files, known)
        yield tls


def _files(settings: TlsSettings) -> list[Path]:
    return [value for name in TlsSettings.model_fields if isinstance(value := getattr(settings, name), Path)]


async def _reload_on_change(
    tls: Tls, files: list[Path], known: list[bytes], *, task_status: trio.TaskStatus[None]
) -> None:
    """Load the files when their digests differ from the known ones, and at SIGHUP."""
    with trio.open_signal_receiver(SIGHUP) as signals:
        task_status.started()
        while True:
            was_signalled = False
            with trio.move_on_after(RELOAD_SECONDS):
                await anext(signals)
                was_signalled = True
            newest = _digests(files)
            if newest != known and not was_signalled:
                await trio.sleep(SETTLE_SECONDS)
                newest = _digests(files)
            if was_signalled or newest != known:
                known = newest
                _reload(tls)


def _reload(tls: Tls) -> None:
    try:
        tls.load()
    except UnusableCertificate as error:
        _log.error("tls_reload_failed", reason=str(error), effect="the former files stay in use")
        return
    _log.info("tls_reloaded", **_log_fields(tls.server.certificate) if tls.server else {})


def _digests(files: list[Path]) -> list[bytes]:
    """Return digests of the contents, through links: times and sizes may stay the same when a file is replaced."""
    digests = []
    for file in files:
        try:
            digests.append(hashlib.sha256(file.read_bytes()).digest())
        except OSError:
            digests.append(b"")
    return digests


async def _warn_before_expiry(server: ServerTls) -> None:
    """Log a warning each day before the expiry, and an error each day from then on."""
    while True:
        now, certificate = time.time(), server.certificate
        if now >= certificate.not_after:
            _log.error("tls_certificate_expired", **_log_fields(certificate))
        elif now >= certificate.warn_from:
            days = round((certificate.not_after - now) / 86_400, 1)
            _log.warning("tls_certificate_expires_soon", days=days, **_log_fields(certificate))
        until_next = min(date - now for date in (certificate.warn_from, certificate.not_after, math.inf) if date > now)
        await trio.sleep(max(RELOAD_SECONDS, min(WARN_AGAIN_SECONDS, until_next)))


def _log_fields(certificate: Certificate) -> dict[str, object]:
    return {"serial": certificate.serial, "names": certificate.names, "ends": certificate.expiry}


def _not_after(server: ServerTls) -> float:
    return server.certificate.not_after
