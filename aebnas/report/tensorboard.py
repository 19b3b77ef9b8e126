"""Scalars for TensorBoard, where it is installed (`pip install "aebnas[tensorboard]"`); else nothing is written."""

import importlib.util
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aebnas.training.task import Row

OF_THE_STEP = ("lr", "loss", "images_per_second")
"""Columns of a validation row that don't depend on the subnet looked at."""


class Scalars:
    """Writes scalars into one folder; what an earlier sitting wrote there is superseded, not shown twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: Any = None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add values (by tag) at a step, on disk within seconds."""
        if self.writer is None:
            if importlib.util.find_spec("tensorboard") is None:
                return
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder), purge_step=0, flush_secs=5)
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        """What was written is on disk when this returns."""
        if self.writer is not None:
            self.writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer is not None:
            self.writer.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "writer": None}  # a worker elsewhere writes a file of its own


class TrainingScalars:
    """Hands validation rows, all so far each time, on to `on_rows`, and writes those that are new as scalars.

    Can be sent to a worker that trains; a context that closes its files.
    """

    def __init__(self, folder: Path, on_rows: Callable[[list[Row]], None]) -> None:
        self.scalars = Scalars(folder.resolve())  # workers elsewhere have another working directory
        self.on_rows = on_rows
        self.told = 0

    def __call__(self, rows: list[Row]) -> None:
        self.on_rows(rows)
        for row in rows[self.told :]:
            self.scalars.write(int(row["epoch"]), _tagged(row))
        self.scalars.flush()
        self.told = len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.scalars.__exit__(kind, error, trace)


def _tagged(row: Row) -> dict[str, float]:
    scalars = {f"train/{name}": float(row[name]) for name in OF_THE_STEP}
    for name, value in row.items():
        if name.startswith(("accuracy", "avg_", "exit")):
            scalars[f"{row['subnet']}/{name}"] = float(value)
    return {tag: value for tag, value in scalars.items() if math.isfinite(value)}
