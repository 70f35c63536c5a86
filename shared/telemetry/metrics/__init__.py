"""Metrics of a process, served at `/metrics` in the text format of Prometheus.

Instruments are plain numbers (`instruments.py`), all of them defined in `catalogue.py`: an increment costs a tenth of a
microsecond and needs no set-up. `exposition.py` formats them for a listener, twice a second at most.
"""

from shared.telemetry.metrics.exposition import CONTENT_TYPE, Exposition, serve_role
from shared.telemetry.metrics.instruments import Reading, Readings, lag_reading, register_readings

__all__ = [
    "CONTENT_TYPE",
    "Exposition",
    "Reading",
    "Readings",
    "lag_reading",
    "register_readings",
    "serve_role",
]
