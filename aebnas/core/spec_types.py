"""Types of values that specs share."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

MOST_PROCESSES = 1024
"""Of workers, loaders, threads: more is a slip of the finger that would bring the machine down."""


def _usable(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("must be a path without null characters")
    try:
        path.expanduser()
    except RuntimeError:
        raise ValueError("must be a path, but its '~' stands for nobody known here") from None
    return path


UserPath = Annotated[Path, AfterValidator(_usable)]
"""A path that may begin with `~`."""
Processes = Annotated[int, Field(strict=True, ge=0, le=MOST_PROCESSES)]
Threads = Annotated[int, Field(strict=True, ge=1, le=MOST_PROCESSES)]
Epochs = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Side = Annotated[int, Field(strict=True, ge=1, le=8192)]
"""Of an image or a map, in pixels."""
