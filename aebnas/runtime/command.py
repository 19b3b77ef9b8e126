"""The command of an exported model, `python model.py`."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from .preprocessing import silence_size_warnings
from .self_check import CheckResult

PROBLEMS_SHOWN = 10


def run(load: Callable[[str], Any], arguments: Sequence[str] | None) -> int:
    """Parse `arguments`, load the model on the device they name and print; returns 0, or 1 where a check failed.

    Exits with code 2 for invalid arguments; what `load` and the model raise isn't caught.
    """
    parser = argparse.ArgumentParser(
        prog="model.py",
        description="Classify images with an early-exit network, or check that its outputs equal the recorded ones.",
        epilog="One line per image: file, class, probability, exit taken, share of the full network's "
        "multiply-adds. Exit code: 0 success, 1 check failed, 2 bad input.",
    )
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="image file, of any size, or .npy file")
    parser.add_argument("--check", action="store_true", help="run the recorded images and compare outputs")
    parser.add_argument("--device", default="cpu", help="PyTorch device that runs the network (default: cpu)")
    options = parser.parse_args(arguments)
    silence_size_warnings()
    if options.check == bool(options.images):
        parser.error("give one or more images, or --check")
    model = load(options.device)
    return _print_check(model.check()) if options.check else _print_predictions(model, options.images)


def _print_check(result: CheckResult) -> int:
    if not result.problems:
        undecided = f", {result.undecided} on a threshold left at another exit" if result.undecided else ""
        print(f"check passed: {result.samples} samples give the recorded outputs{undecided}")
        return 0
    print(f"check failed: {len(result.problems)} of {result.samples} samples differ from the recorded outputs")
    print("\n".join(result.problems[:PROBLEMS_SHOWN]))
    if len(result.problems) > PROBLEMS_SHOWN:
        print(f"and {len(result.problems) - PROBLEMS_SHOWN} more")
    return 1


def _print_predictions(model: Any, files: Sequence[str]) -> int:
    exits = len(model.macs_to_exit)
    for file, p in zip(files, model.predict(files), strict=True):
        share = p.macs / model.full_macs
        print(
            f"{file}: {p.class_name}, probability {p.probability:.4f}, "
            f"exit {p.exit_taken} of {exits}, {share:.1%} of full MACs"
        )
    return 0
