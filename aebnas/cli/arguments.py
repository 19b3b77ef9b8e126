"""Arguments that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

RunFolder = Annotated[Path, typer.Argument(help="A run's folder, such as results/quickstart.")]
MovedData = Annotated[
    Path | None, typer.Option("--data", help="Where the run's images lie now, if they were moved: a folder or a file.")
]
Verify = Annotated[
    bool, typer.Option("--verify", help="Compare the contents of image files, too, with those at the run's start.")
]
Pick = Annotated[
    str,
    typer.Option(
        help="A point's id, knee, best-accuracy, cheapest, or the most accurate within a bound such as 'avg_macs<=5e6'."
    ),
]


def check_images(run: Path, data: Path | None, verify: bool) -> None:
    """Compare a run's images with those at its start, and record where they lie now, if options say so."""
    if data is None and not verify:
        return
    from aebnas.run.checked_data import check_data

    check_data(run, data, verify)
