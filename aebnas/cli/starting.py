"""Starting with own data: `init`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aebnas.data.survey import Survey
    from aebnas.search.starter.files import Starter

CLASSES_SHOWN = 20


def init(
    folder: Annotated[Path, typer.Argument(help="The folder to write spec.yaml and space.yaml into.")],
    data: Annotated[
        Path, typer.Option(help="The images: a folder of them, a CSV file of paths and labels, or an .npz file.")
    ],
    budget: Annotated[
        list[str] | None,
        typer.Option(help="A bound that networks must satisfy, such as avg_macs=20e6; may be repeated."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace spec.yaml and space.yaml.")] = False,
) -> None:
    """Look at your images, and write a spec and a search space that are scaled to them."""
    from aebnas.search.starter.files import write_starter

    written = write_starter(folder, data, budget or (), force)
    _print_survey(written.spec.survey)
    _print_choices(written)
    print(f"{written.spec_file} and {written.space_file} are written. Next:")
    for command in written.next_commands:
        print(f"  {command}")


def _print_survey(seen: "Survey") -> None:
    print(f"{seen.path}: {seen.train:,} training and {sum(seen.test_k):,} test images of {seen.classes:,} classes")
    rows = list(zip(seen.class_names, seen.train_k, seen.test_k, strict=True))
    names = [name if len(name) <= 40 else f"{name[:37]}..." for name, _, _ in rows[:CLASSES_SHOWN]]
    width = max(len(name) for name in ["class", *names])
    print(f"  {'class':<{width}}  {'train':>9}  {'test':>9}")
    for name, (_, train, test) in zip(names, rows, strict=False):
        print(f"  {name:<{width}}  {train:>9,}  {test:>9,}")
    if len(rows) > CLASSES_SHOWN:
        least, most = min(seen.train_k), max(seen.train_k)
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        print(f"  and {len(rows) - CLASSES_SHOWN:,} more classes; all have {each} training images")
    small, large = min(seen.sizes), max(seen.sizes)
    sizes = f"{small[0]} x {small[1]}" + (f" to {large[0]} x {large[1]}" if small != large else "")
    kind = {1: "grey", 3: "colour"}.get(seen.channels, f"{seen.channels} channels")
    print(f"  size      {sizes} pixels (height x width), median of the shorter side {seen.median_side}; {kind}")
    for finding in seen.findings:
        print(f"  note      {finding}")


def _print_choices(written: "Starter") -> None:
    spec, space = written.spec, written.spec.space
    macs = f"{space.minimum('macs') / 1e6:.3g} to {space.most_macs / 1e6:.3g} million MACs"
    print(f"  networks  {macs} on {space.size.height} x {space.size.width} pixels, whole and without early exits")
    splits = ", ".join(f"{name} {size}" for name, size in spec.splits.items())
    length = f"{spec.epochs} epochs of {spec.steps_per_epoch} steps"
    print(f"  training  {length} in batches of {spec.batch_size}; splits: {splits}, the rest train")
