"""The state of a training as a file: everything that a resumed training needs to give the same results."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aebnas.core.atomic_files import write_bytes
from aebnas.core.errors import UserError
from aebnas.training.compute.compute_meter import ComputeMeter
from aebnas.training.ranks import Ranks
from aebnas.training.task import Row


@dataclass(frozen=True)
class SavedTraining:
    """The content of a checkpoint file, and the precision that the training started with."""

    path: Path
    content: dict[str, Any]
    precision: torch.dtype


def read_checkpoint(path: Path | None, ranks: Ranks) -> SavedTraining | None:
    """The training saved at `path`; None where there is no file. Raises UserError for a file that cannot be read.

    Call it before creating anything that depends on the precision, such as the gradient scaler.
    """
    if path is None:
        return None
    with _readable(path):
        # rank 0 reads for all ranks, so that all of them resume from the same epoch on any machine
        content = ranks.from_first(
            lambda: torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
        )
        if content is None:
            return None
        precision = content["precision"]
        if not isinstance(precision, torch.dtype):
            raise TypeError("precision")
        return SavedTraining(path, content, precision)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn any exception raised while a checkpoint is read into a UserError with the remedy."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{path}: must be a checkpoint of this run, but cannot be read "
            f"({type(error).__name__}); delete it to start this phase again"
        ) from error


class Checkpoint:
    """The stateful parts of a training, and the compute that it has used.

    `stateful` maps names to the task's further stateful parts (see `Task.stateful`).
    """

    def __init__(
        self,
        precision: torch.dtype,
        module: nn.Module,
        averaged: nn.Module | None,
        optimiser: Any,
        schedule: Any,
        scaler: Any,
        stateful: Mapping[str, Any],
        compute: ComputeMeter,
    ) -> None:
        self.precision, self.compute = precision, compute
        self.parts = {"module": module, "averaged": averaged, **stateful}
        self.parts |= {"optimiser": optimiser, "schedule": schedule, "scaler": scaler}

    def save(self, path: Path, rows: list[Row], epochs_done: int) -> None:
        """Write the parts' states atomically."""
        content: dict[str, Any] = {k: part.state_dict() for k, part in self.parts.items() if part is not None}
        content |= {"rows": rows, "epochs_done": epochs_done, "precision": self.precision}
        content |= {"compute": self.compute.state_dict()}
        # in memory first: torch's own writer doesn't report a full disk as an OSError
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(path, buffer.getbuffer())

    def load(self, saved: SavedTraining) -> tuple[list[Row], int]:
        """Restore the parts' states; returns the validation rows and the number of epochs done.

        The precision must be the one saved. Raises UserError for a checkpoint of another training.
        """
        with _readable(saved.path):
            for key, part in self.parts.items():
                if part is not None:
                    part.load_state_dict(saved.content[key])
            # not known where an earlier version wrote the checkpoint
            self.compute.load_state_dict(saved.content.get("compute", {"flop": None}))
            return saved.content["rows"], saved.content["epochs_done"]
