"""Live configuration: validated values that change while Rookery runs, with notifications.

`LiveConfiguration` is the typed model, `ConfigurationStore` the protocol of its engines, `Live` the current values in a
process, and `validate` and `check_change` the checks before a value is stored.
"""

from shared.configuration.live import Live, check_change, open_live, validate
from shared.configuration.model import LiveConfiguration
from shared.configuration.protocol import Change, ConfigurationStore, InvalidConfiguration, StoredValue

__all__ = [
    "Change",
    "ConfigurationStore",
    "InvalidConfiguration",
    "Live",
    "LiveConfiguration",
    "StoredValue",
    "check_change",
    "open_live",
    "validate",
]
