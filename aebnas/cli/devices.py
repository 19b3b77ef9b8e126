"""Devices: `profile`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from aebnas.core.errors import UserError


def profile(
    space: Annotated[Path, typer.Argument(help="A search space, such as search_spaces/resnet_cifar.yaml.")],
    out: Annotated[Path, typer.Option(help="The profile to write.")] = Path("profile.json"),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
    batch: Annotated[int, typer.Option(help="Batch size.", min=1)] = 1,
    dtype: Annotated[str, typer.Option(help="Number format: fp32, bf16 or fp16.")] = "fp32",
    memory_format: Annotated[str, typer.Option(help="contiguous or channels_last.")] = "contiguous",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile each layer by torch.compile.")] = False,
    rounds: Annotated[int, typer.Option(help="Number of measurements of each layer.", min=1)] = 9,
    networks: Annotated[
        int | None,
        typer.Option(help="Whole networks that are measured to correct sums of layers (60; 200 with --whole).", min=0),
    ] = None,
    max_layers: Annotated[
        int,
        typer.Option(help="Maximum number of measured layers; of more, a random subset is measured.", min=20),
    ] = 20_000,
    whole: Annotated[
        bool, typer.Option("--whole", help="Measure whole networks only, and learn latency from them.")
    ] = False,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Learn from other measurements: a file with lines of architecture and latency_ms."),
    ] = None,
    device_name: Annotated[str | None, typer.Option(help="With --pairs: name of the device.")] = None,
    helper: Annotated[
        list[Path] | None, typer.Option(help="With --whole or --pairs: another device's profile; may be repeated.")
    ] = None,
    emit: Annotated[Path | None, typer.Option(help="Write a folder that measures on a device without aebnas.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="With --emit: for ONNX Runtime instead of PyTorch.")] = False,
    from_file: Annotated[Path | None, typer.Option("--import", help="The result of such a folder.")] = None,
) -> None:
    """Measure every layer of a space on this device. The same command resumes a stopped measurement."""
    from aebnas.cost.latency import job as jobs
    from aebnas.cost.latency import profiling
    from aebnas.space.genome import SearchSpace
    from aebnas.space.min_exits import without_named_classes

    if onnx and emit is None:
        raise UserError("--onnx must be combined with --emit, but got no --emit")
    if sum(option is not None for option in (emit, from_file, pairs)) > 1:
        raise UserError("--emit, --import and --pairs cannot be combined, but got several of them")
    if pairs is not None and device_name is None:
        raise UserError("--device-name, the name of the device, is required when --pairs is given")
    if helper and not (whole or pairs or from_file):
        raise UserError("--helper must be combined with --whole, --pairs or --import, but got none of them")
    loaded = SearchSpace(without_named_classes(SearchSpace.load(space).spec))
    helpers = profiling.load_helpers(helper or [], loaded)
    setting = jobs.make_setting(device, threads, batch, dtype, memory_format, compiled)
    if from_file is not None:
        found = profiling.import_result(from_file, loaded, out, helpers)
    elif pairs is not None:
        assert device_name is not None
        found = profiling.profile_of_pairs(pairs, loaded, setting, device_name, out, helpers)
    else:
        count = networks if networks is not None else jobs.WHOLE if whole else jobs.NETWORKS
        job = jobs.make_job(loaded, setting, rounds, count, max_layers, whole=whole)
        if emit is not None:
            profiling.emit_job(job, emit, onnx=onnx)
            then = f"aebnas profile {shlex.quote(str(space))} --import result.json"
            print(f"{emit} is written; run python measure.py there, then {then}")
            return
        found = profiling.profile_space(job, out, helpers=helpers)
    profiling.print_profile(found)
    print(f"{out} is written.")
