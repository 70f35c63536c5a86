"""What the routes of the BFF work with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bff.archive import ArchiveClient
from bff.http.proxy_headers import Network
from shared.accounts.store import AccountStore
from shared.accounts.tokens import PasswordHasher, TokenIssuer, TokenVerifier
from shared.backplane import Backplane
from shared.configuration import ConfigurationStore
from shared.configuration.live import Live
from shared.contract.ids import SnowflakeGenerator
from shared.coordination.ownership import Directory
from shared.coordination.processes import ProcessBoard
from shared.telemetry.health import Health


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a request may need. `clock_ms` gives milliseconds since 1970."""

    accounts: AccountStore
    archive: ArchiveClient
    directory: Directory
    live: Live
    configuration: ConfigurationStore
    processes: ProcessBoard
    publisher: Backplane
    health: Health
    ids: SnowflakeGenerator
    passwords: PasswordHasher
    issuer: TokenIssuer
    verifier: TokenVerifier
    clock_ms: Callable[[], int]
    websocket_origins: tuple[str, ...] = ()
    """Where the page may connect to, besides the gateways that own something now."""
    strict_transport_seconds: int = 0
    """For which browsers that came by HTTPS are to use nothing else; 0 for not at all."""
    trusted_proxies: Sequence[Network] = ()
    """Who is believed about where a request came from."""
