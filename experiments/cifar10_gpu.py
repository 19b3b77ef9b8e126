"""The whole pipeline on one GPU within minutes: search, retrain one pick from scratch, evaluate it on the test set.

    python experiments/cifar10_gpu.py [--pick "avg_macs<=20e6"] [--out results/cifar10_gpu] [--dry-run]

Prints minutes and PFLOP of each phase and the accuracy at the pick's average MACs; no test-time averaging. `--dry-run`
does two steps of each training and scores four candidates, to see that everything runs. `--npz FILE` reads the images
from an array file instead of the folder that torchvision keeps.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

import aebnas

SPEC = Path(__file__).with_suffix(".yaml")
TWO_STEPS: dict[str, dict[str, Any]] = {
    "supernet": {"steps": 2, "batch_size": 32},
    "strategy": {"name": "random", "population": 4, "generations": 1},
    "evaluate": {"calibration_images": 64},
    "retrain": {"steps": 2, "batch_size": 32, "weights": "scratch"},
}


def spec_of(options: argparse.Namespace) -> dict[str, Any]:
    """The experiment, shortened for a dry run, with absolute paths."""
    value: dict[str, Any] = yaml.safe_load(SPEC.read_text(encoding="utf-8"))
    value["space"] = str((SPEC.parent / value["space"]).resolve())
    value["data"]["root"] = str((SPEC.parent / value["data"]["root"]).resolve())
    if options.npz:
        del value["data"]["root"]
        value["data"] |= {"name": "npz", "path": str(options.npz.resolve()), "augment": "shift_flip"}
    if options.dry_run:
        value |= TWO_STEPS | {"constraints": []}
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pick", default="avg_macs<=20e6")
    parser.add_argument("--out", type=Path, default=Path("results/cifar10_gpu"))
    parser.add_argument("--npz", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "cifar10_gpu.yaml"
        spec.write_text(yaml.safe_dump(spec_of(options)), encoding="utf-8")
        run = aebnas.search(spec, out=options.out)
    picked = run.pick("best-accuracy" if options.dry_run else options.pick).retrain()
    test = picked.evaluate()
    summary = json.loads((options.out / "summary.json").read_text(encoding="utf-8"))
    for phase, seconds in summary["seconds"].items():
        pflop = (summary["pflop"].get(phase) or 0.0) if summary.get("pflop") else 0.0
        print(f"{phase:32} {seconds / 60:8.2f} minutes {pflop:10.4g} PFLOP")
    print(f"{'all':32} {(time.monotonic() - started) / 60:8.2f} minutes")
    print(f"test accuracy {100 * test['accuracy']:.2f} % at {test['avg_macs'] / 1e6:.2f}M average MACs")


if __name__ == "__main__":
    main()
