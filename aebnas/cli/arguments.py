"""Arguments that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

RunFolder = Annotated[Path, typer.Argument(help="A run's folder, such as results/quickstart.")]
Pick = Annotated[
    str,
    typer.Option(
        help="A point's id, knee, best-accuracy, cheapest, or the most accurate within a bound such as 'avg_macs<=5e6'."
    ),
]
Space = Annotated[
    Path, typer.Argument(help="A search space: its file, or the name of a bundled one such as resnet_cifar.")
]
SpaceData = Annotated[
    Path | None, typer.Option("--spec", help="An experiment from whose data is taken what the space leaves out.")
]
