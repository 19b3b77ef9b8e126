"""A network's outputs for a set of images, from which every ExitTable is made without running the network again.

Legend: n samples, e exits, k early exits, c classes.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aebnas.core.atomic_files import write_atomically
from aebnas.core.errors import UserError
from aebnas.cost.exit_costs import Costs
from aebnas.policies.exit_table.exit_table import ExitTable

NAMES = ("logits", "labels", "stop_logits")
IMAGES = "images"
CHOSEN = "chosen."
"""Prefix of the arrays that hold the candidate of an edge selected for each sample."""


@dataclass(frozen=True)
class RecordedLogits:
    """Logits of every exit, the labels, and the outputs of stop heads where there are any; `chosen` maps every
    edge whose op depends on the image to the candidate of each sample, int64 `[n]`.

    Logits are stored in 32 bits: with 16 bits a decision near a threshold could change. `images` is the fingerprint of
    the images, "" if it isn't known. Raises ValueError where shapes disagree.
    """

    logits_nec: Tensor
    labels_n: Tensor
    stop_logits_nk: Tensor | None = None
    chosen: Mapping[str, Tensor] = field(default_factory=dict)
    images: str = ""

    def __post_init__(self) -> None:
        if self.logits_nec.ndim != 3 or self.labels_n.shape != self.logits_nec.shape[:1]:
            got = f"{tuple(self.logits_nec.shape)} and {tuple(self.labels_n.shape)}"
            raise ValueError(f"logits and labels must be [n, e, c] and [n], but got {got}")
        want = (self.samples, self.logits_nec.shape[1] - 1)
        if self.stop_logits_nk is not None and self.stop_logits_nk.shape != want:
            raise ValueError(f"stop logits must be {want}, but got {tuple(self.stop_logits_nk.shape)}")

    @property
    def samples(self) -> int:
        """Number of samples n."""
        return len(self.labels_n)

    def table(
        self,
        criteria: Sequence[str],
        costs: Mapping[str, Costs],
        keep_logits: bool = False,
        temperatures: tuple[float, ...] = (),
    ) -> ExitTable:
        """The ExitTable; see `ExitTable.from_logits`."""
        return ExitTable.from_logits(
            self.logits_nec, self.labels_n, criteria, costs, keep_logits, self.stop_logits_nk, temperatures
        )

    def rows(self, indices_n: Tensor) -> "RecordedLogits":
        """The outputs for the samples `indices_n`, indices or bool `[n]`."""
        stops = None if self.stop_logits_nk is None else self.stop_logits_nk[indices_n]
        chosen = {name: chosen_n[indices_n] for name, chosen_n in self.chosen.items()}
        return RecordedLogits(self.logits_nec[indices_n], self.labels_n[indices_n], stops, chosen)

    def save(self, path: Path) -> None:
        """Write an .npz file atomically."""
        arrays = {"logits": self.logits_nec.numpy(), "labels": self.labels_n.numpy(), IMAGES: np.array(self.images)}
        if self.stop_logits_nk is not None:
            arrays["stop_logits"] = self.stop_logits_nk.numpy()
        arrays |= {CHOSEN + name: chosen_n.numpy() for name, chosen_n in self.chosen.items()}
        write_atomically(path, lambda partial: np.savez_compressed(partial, allow_pickle=False, **arrays))

    @classmethod
    def load(cls, path: Path) -> "RecordedLogits":
        """Read what `save` wrote; raises UserError for a damaged file."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                images = str(file[IMAGES]) if IMAGES in file.files else ""
                arrays = {name: torch.from_numpy(file[name]) for name in NAMES if name in file.files}
                chosen = {
                    name.removeprefix(CHOSEN): torch.from_numpy(file[name])
                    for name in file.files
                    if name.startswith(CHOSEN)
                }
            return cls(arrays["logits"].float(), arrays["labels"].long(), arrays.get("stop_logits"), chosen, images)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            why = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: cannot be read: {why}; delete it, and the next command makes it again") from None
