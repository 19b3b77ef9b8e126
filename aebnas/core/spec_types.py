"""Types of values that several specs use."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from aebnas.core.resolution import MAX_SIDE

MAX_PROCESSES = 1024
"""Upper limit of workers, loaders, threads: a larger number is a typing error that would overload the machine."""


def _usable(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("must be a path without null characters")
    try:
        path.expanduser()
    except RuntimeError:
        raise ValueError("must be a path whose '~user' is a user of this machine") from None
    return path


UserPath = Annotated[Path, AfterValidator(_usable)]
"""A path that may begin with `~`."""
Processes = Annotated[int, Field(strict=True, ge=0, le=MAX_PROCESSES)]
Threads = Annotated[int, Field(strict=True, ge=1, le=MAX_PROCESSES)]
Epochs = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
MaxPflop = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
"""A bound of compute in PFLOP."""
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Side = Annotated[int, Field(strict=True, ge=1, le=MAX_SIDE)]
"""Of a window, in pixels."""
