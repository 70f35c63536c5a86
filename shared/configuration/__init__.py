"""Live configuration: what may change while Rookery runs, validated, with notifications.

`LiveConfiguration` is the typed model; `ConfigurationStore` the protocol that its engines keep; `Live` what a process
holds: always the last good value; `validate` what every value goes through before it is stored.
"""

from shared.configuration.live import Live, open_live, validate
from shared.configuration.model import LiveConfiguration
from shared.configuration.protocol import Change, ConfigurationStore, InvalidConfiguration, StoredValue

__all__ = [
    "Change",
    "ConfigurationStore",
    "InvalidConfiguration",
    "Live",
    "LiveConfiguration",
    "StoredValue",
    "open_live",
    "validate",
]
