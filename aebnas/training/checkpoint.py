"""The state of a training as a file: all that it needs to go on as if it had not been stopped."""

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
from aebnas.training.ranks import Ranks
from aebnas.training.task import Row


@dataclass(frozen=True)
class SavedTraining:
    """What a checkpoint's file holds, and the precision that the training began with."""

    path: Path
    content: dict[str, Any]
    precision: torch.dtype


def read_checkpoint(path: Path | None, ranks: Ranks) -> SavedTraining | None:
    """The training saved at `path`; None where there is none. Raises UserError for a file that cannot be read.

    Read before anything is made that depends on the precision, such as the gradient scaler.
    """
    if path is None:
        return None
    with _readable(path):
        # rank 0 reads for all, so that no rank on another machine begins elsewhere
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
    """Whatever goes wrong while a checkpoint is read is a UserError that says what to do."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{path}: must be a checkpoint of this run, but cannot be read "
            f"({type(error).__name__}); delete it to start this phase anew"
        ) from error


class Checkpoint:
    """The parts of a training that change with it; `others` are optimiser, schedule and gradient scaler.

    `stateful` is what else the task says changes.
    """

    def __init__(
        self,
        precision: torch.dtype,
        module: nn.Module,
        averaged: nn.Module | None,
        *others: Any,
        stateful: Mapping[str, Any],
    ) -> None:
        self.precision = precision
        self.parts = {"module": module, "averaged": averaged, **stateful}
        self.parts |= dict(zip(("optimiser", "schedule", "scaler"), others, strict=True))

    def save(self, path: Path, rows: list[Row], epochs_done: int) -> None:
        """Write the parts' states, whole or not at all."""
        content: dict[str, Any] = {k: part.state_dict() for k, part in self.parts.items() if part is not None}
        content |= {"rows": rows, "epochs_done": epochs_done, "precision": self.precision}
        # in memory first: torch's own writer reports a full disk in words of its own
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(path, buffer.getbuffer())

    def load(self, saved: SavedTraining) -> tuple[list[Row], int]:
        """Put the parts into the states saved; returns validation rows and epochs done.

        The precision must be the one saved. Raises UserError for a checkpoint of another kind.
        """
        with _readable(saved.path):
            for key, part in self.parts.items():
                if part is not None:
                    part.load_state_dict(saved.content[key])
            return saved.content["rows"], saved.content["epochs_done"]
