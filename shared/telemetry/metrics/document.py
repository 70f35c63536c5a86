"""Writes the table of docs/metrics.md from the catalogue: `make metrics`."""

from pathlib import Path

from shared.telemetry.metrics.catalogue import CATALOGUE
from shared.telemetry.metrics.instruments import ROLES, Histogram, Instrument

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"

BEGIN, END = "<!-- generated from shared/telemetry/metrics/catalogue.py -->", "<!-- end of the generated part -->"


def table() -> str:
    """The lines between `BEGIN` and `END`."""
    head = ["| metric | kind | labels | roles | meaning |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *map(_row, CATALOGUE)])


def with_table(page: str) -> str:
    """The page with the current table."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _row(instrument: Instrument) -> str:
    meaning = instrument.help
    if instrument.needs:
        meaning += f". With {instrument.needs} only"
    if isinstance(instrument, Histogram):
        meaning += f". Buckets from {instrument.bounds[0] * 1000:g} ms to {instrument.bounds[-1]:g} s"
    roles = "all" if instrument.roles == ROLES else ", ".join(instrument.roles)
    labels = ", ".join(f"`{label}`" for label in instrument.labels)
    kind = f"{instrument.kind}, {instrument.unit}" if instrument.unit else instrument.kind
    return f"| `{instrument.name}` | {kind} | {labels} | {roles} | {meaning}. |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
