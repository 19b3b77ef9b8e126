"""The table of `aebnas measure`. Imported inside the command, since its imports are slow."""

from aebnas.run.measured_rows import measured_rows, measured_where
from aebnas.selected.measure import Measured


def print_measured(measured: Measured) -> None:
    """Print measured values beside predicted ones."""
    record = measured.to_json()
    print(f"{measured.id}, weights {measured.source}; {measured_where(record)}")
    print(f"  {'':<40}{'measured':>16}  predicted")
    for what, real, predicted in measured_rows(record):
        print(f"  {what:<40}{real:>16}  {predicted}")
    if measured.note:
        print(f"  {measured.note}")
