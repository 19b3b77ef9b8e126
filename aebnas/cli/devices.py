"""Devices: `profile`."""

from pathlib import Path
from typing import Annotated

import typer


def profile(
    space: Annotated[Path, typer.Argument(help="A search space, such as search_spaces/resnet_cifar.yaml.")],
    out: Annotated[Path, typer.Option(help="The profile to write.")] = Path("profile.json"),
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    threads: Annotated[int, typer.Option(min=1)] = 1,
    batch: Annotated[int, typer.Option(min=1)] = 1,
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or fp16")] = "fp32",
    memory_format: Annotated[str, typer.Option(help="contiguous or channels_last")] = "contiguous",
    compiled: Annotated[bool, typer.Option("--compile", help="Each layer by torch.compile.")] = False,
    rounds: Annotated[int, typer.Option(help="How often each layer is measured.", min=1)] = 9,
    networks: Annotated[int, typer.Option(help="Whole networks, to fit what sums of layers miss.", min=0)] = 60,
    max_layers: Annotated[int, typer.Option(help="Beyond it a random part is measured.", min=20)] = 20_000,
    emit: Annotated[Path | None, typer.Option(help="Write a folder that measures on a device without aebnas.")] = None,
    from_file: Annotated[Path | None, typer.Option("--import", help="The result of such a folder.")] = None,
) -> None:
    """Measure every layer of a space on this device. Given again, a stopped profile goes on."""
    from aebnas.cost import profiling
    from aebnas.space.genome import SearchSpace

    loaded = SearchSpace.load(space)
    if from_file is not None:
        found = profiling.import_result(from_file, loaded, out)
    else:
        setting = profiling.make_setting(device, threads, batch, dtype, memory_format, compiled)
        job = profiling.make_job(loaded, setting, rounds, networks, max_layers)
        if emit is not None:
            profiling.emit_job(job, emit)
            print(f"{emit} is written; there: python measure.py; then: aebnas profile {space} --import result.json")
            return
        found = profiling.profile_space(job, out)
    profiling.print_profile(found)
    print(f"{out} is written.")
