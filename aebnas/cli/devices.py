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
    batch: Annotated[int, typer.Option(help="Images of a batch.", min=1)] = 1,
    dtype: Annotated[str, typer.Option(help="Number format: fp32, bf16 or fp16.")] = "fp32",
    memory_format: Annotated[str, typer.Option(help="contiguous or channels_last.")] = "contiguous",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile each layer by torch.compile.")] = False,
    rounds: Annotated[int, typer.Option(help="How often each layer is measured.", min=1)] = 9,
    networks: Annotated[
        int | None, typer.Option(help="Whole networks, to fit what sums of layers miss (60; 200 with --whole).", min=0)
    ] = None,
    max_layers: Annotated[
        int,
        typer.Option(help="Of more layers, a random part of this size is measured.", min=20),
    ] = 20_000,
    whole: Annotated[bool, typer.Option("--whole", help="Networks alone: latency is learned from them.")] = False,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Learn from networks measured elsewhere: lines of architecture and latency_ms."),
    ] = None,
    device_name: Annotated[str | None, typer.Option(help="With --pairs: what the device is called.")] = None,
    helper: Annotated[
        list[Path] | None, typer.Option(help="With --whole or --pairs: another device's profile; may be repeated.")
    ] = None,
    emit: Annotated[Path | None, typer.Option(help="Write a folder that measures on a device without aebnas.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="With --emit: for ONNX Runtime instead of PyTorch.")] = False,
    from_file: Annotated[Path | None, typer.Option("--import", help="The result of such a folder.")] = None,
) -> None:
    """Measure every layer of a space on this device. Given again, a stopped profile goes on."""
    from aebnas.cost.latency import job as jobs
    from aebnas.cost.latency import profiling
    from aebnas.space.genome import SearchSpace

    if onnx and emit is None:
        raise UserError("--onnx must go with --emit, but got it alone")
    if sum(option is not None for option in (emit, from_file, pairs)) > 1:
        raise UserError("--emit, --import and --pairs must be given one at a time, but got several")
    if pairs is not None and device_name is None:
        raise UserError("--pairs needs --device-name, what the device is called, but got none")
    if helper and not (whole or pairs or from_file):
        raise UserError("--helper must go with --whole, --pairs or --import, but got it alone")
    loaded = SearchSpace.load(space)
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
            print(f"{emit} is written; there: python measure.py; then: {then}")
            return
        found = profiling.profile_space(job, out, helpers=helpers)
    profiling.print_profile(found)
    print(f"{out} is written.")
