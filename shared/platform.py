"""The engines and services that the BFF and the gateway of a process use; the composition opens each of them once."""

from dataclasses import dataclass, field

from shared.accounts.store import AccountStore
from shared.backplane import Backplane
from shared.configuration import ConfigurationStore
from shared.configuration.live import Live
from shared.contract.ids import SnowflakeGenerator
from shared.coordination.ownership import Directory
from shared.coordination.processes import ProcessRegistry
from shared.net.admission import ConnectionBudget
from shared.net.tls import ServerTls
from shared.signals.protocol import Signals


@dataclass(frozen=True, slots=True)
class Platform:
    """One typed field per engine or service. Each stays open longer than any role that uses it."""

    backplane: Backplane
    accounts: AccountStore
    configuration: ConfigurationStore
    directory: Directory
    ids: SnowflakeGenerator
    live: Live
    processes: ProcessRegistry
    signals: Signals
    tls: ServerTls | None = None
    """The TLS of listeners; None without TLS."""
    connections: ConnectionBudget = field(default_factory=ConnectionBudget)
    """The budget of the connections of all listeners of the process."""
