"""Metrics: what a process counts and measures, read at `/metrics` in the text format of Prometheus.

Instruments are plain numbers (`instruments.py`), all of them named in `catalogue.py`: to count costs a tenth of a
microsecond, needs no set-up, and nothing is formatted before someone asks. `exposition.py` answers who asks.
"""

from shared.telemetry.metrics.exposition import CONTENT_TYPE, exposition, serve_role
from shared.telemetry.metrics.instruments import Reading, Readings, lag_reading, register_readings

__all__ = ["CONTENT_TYPE", "Reading", "Readings", "exposition", "lag_reading", "register_readings", "serve_role"]
