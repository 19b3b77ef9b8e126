"""Scalars for TensorBoard, if it is installed (`pip install "aebnas[tensorboard]"`); else nothing is written."""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aebnas.training.task import Row

STEP_COLUMNS = ("lr", "loss", "images_per_second")
"""Columns of a validation row that don't depend on the validated subnet."""


class Scalars:
    """Writes scalars into one folder; they replace what an earlier session wrote there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: Any = None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add values (by tag) at a step; they are on disk within seconds."""
        if self.writer is None:
            if importlib.util.find_spec("tensorboard") is None:
                return
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder), purge_step=0, flush_secs=5)
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        """Write all values so far to disk."""
        if self.writer is not None:
            self.writer.flush()

    def close(self) -> None:
        """Close the file, if one was written."""
        if self.writer is not None:
            self.writer.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "writer": None}  # a worker writes a file of its own


class TrainingScalars:
    """Writes validation rows of one training; picklable."""

    def __init__(self, folder: Path) -> None:
        self.scalars = Scalars(folder)
        self.written = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Write those of `rows` (all so far) that are new."""
        for row in rows[self.written :]:
            self.scalars.write(int(row["epoch"]), _tagged(row))
        self.scalars.flush()
        self.written = len(rows)


def _tagged(row: Row) -> dict[str, float]:
    scalars = {f"train/{name}": float(row[name]) for name in STEP_COLUMNS}
    for name, value in row.items():
        if name.startswith(("accuracy", "avg_", "exit")):
            scalars[f"{row['subnet']}/{name}"] = float(value)
    return {tag: value for tag, value in scalars.items() if math.isfinite(value)}
