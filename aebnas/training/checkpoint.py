"""Where a training stands, as a file: all that it needs to go on as if it had not been stopped."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aebnas.core.atomic_files import write_bytes
from aebnas.core.errors import UserError
from aebnas.training.ranks import Ranks
from aebnas.training.task import Row


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
        # in memory first: torch's own writer tells of a full disk in words of its own
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(path, buffer.getbuffer())

    def load(self, path: Path | None, ranks: Ranks) -> tuple[list[Row], int]:
        """Validation rows and epochs done; none where nothing was saved. Raises UserError for a file of another kind.

        The precision becomes that of the first sitting.
        """
        if path is None:
            return [], 0
        try:
            # rank 0 reads for all, so that no rank on another machine begins elsewhere
            content = ranks.from_first(
                lambda: torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
            )
            if content is None:
                return [], 0
            for key, part in self.parts.items():
                if part is not None:
                    part.load_state_dict(content[key])
            self.precision = content["precision"]
            return content["rows"], content["epochs_done"]
        except Exception as error:
            raise UserError(
                f"{path}: must be a checkpoint of this run, but cannot be read "
                f"({type(error).__name__}); delete it to start this phase anew"
            ) from error
