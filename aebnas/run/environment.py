"""The files that record how and where a run was made, without user names, hosts or paths."""

import os
import platform
import re
from importlib import metadata

import torch

from aebnas.core.atomic_files import write_json, write_text
from aebnas.core.ray_cluster import cores
from aebnas.core.version import __version__
from aebnas.cost.latency.rounds import processor
from aebnas.data.splits import CALIBRATE, SEARCH, SPLITS
from aebnas.run.data_record import DataRecord
from aebnas.run.device_facts import device_record
from aebnas.run.session import RunSession

LIBRARIES = ("torch", "torchvision", "pymoo", "moocore", "ray", "numpy", "pandas")


def write_environment(session: RunSession) -> None:
    """Write `protocol.json`, `env_info.json` and `pip_freeze.txt`."""
    folder = session.run.folder
    write_json(folder / "protocol.json", _protocol(session))
    write_json(folder / "env_info.json", _environment())
    write_text(folder / "pip_freeze.txt", "\n".join(_installed()) + "\n")


def _protocol(session: RunSession) -> dict[str, object]:
    experiment, splits, record = session.experiment, session.images.splits, DataRecord.read(session.run)
    learns_on_arch = experiment.relaxed is not None and experiment.relaxed.bilevel != "joint"
    read = ["train", *(["arch"] if learns_on_arch else [])]
    read += [CALIBRATE, SEARCH]
    return {
        "data": experiment.data.name,
        "split_seed": experiment.data.splits.seed,
        "images": {name: len(getattr(splits, name)) for name in SPLITS},
        "fingerprints": None if record is None else dict(record.fingerprints),
        "data_notes": list(splits.notes) or None,
        "left_out": session.images.left_out or None,
        "classes_without_images": session.images.missing_classes() or None,
        "seed": experiment.seed,
        "objectives": list(experiment.objectives),
        "constraints": list(experiment.constraints),
        "splits_read_by_search": read,
        "front_figures_from": "search",
        "temperatures": "one for each exit, fitted on `calibrate` before thresholds are applied or found",
        "test_set": "used only by `aebnas evaluate`; a search checks when it starts that it can be read",
        "macs": "one multiply-add is one MAC; convolutions and linear layers only",
        "avg_macs": "backbone to the exit and every branch passed, averaged over samples",
        "avg_macs_taken_only": "backbone to the exit and the branch taken (in boosted networks also those whose logits "
        "it adds), averaged over samples",
        "device": None if session.profile is None else device_record(session.profile),
        "weights": experiment.source,
        "deterministic": experiment.deterministic,
        "training_threads": experiment.training_threads if experiment.deterministic else None,
        "scoring": f"fp32, {experiment.evaluate.threads} thread(s), norms from "
        f"{experiment.evaluate.calibration_images} training images",
    }


def _environment() -> dict[str, object]:
    return {
        "aebnas": __version__,
        "python": platform.python_version(),
        "system": _system(),
        "machine": platform.machine(),
        "processor": processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "cores_usable": cores(),
        "memory_gib": _memory_gib(),
        "accelerators": [_accelerator(index) for index in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }


def _installed() -> list[str]:
    """Names and versions only; `pip freeze` would also print the paths and servers that packages came from."""
    about_all = [distribution.metadata for distribution in metadata.distributions()]  # each access parses a file
    known = {f"{about['Name']}=={about['Version']}" for about in about_all if about["Name"]}
    return sorted(known, key=str.lower)


def _system() -> str:
    """The operating system and its version; only the numbers of the kernel's release, since the rest may name the
    host that built it."""
    release = re.match(r"[0-9.]*[0-9]|", platform.release())
    assert release is not None
    kernel = f"{platform.system()} {release.group()}".strip()
    try:
        about = platform.freedesktop_os_release()
    except OSError:
        return kernel
    return f"{about['NAME']} {about.get('VERSION_ID', '')}".strip() + f", {kernel}"


def _memory_gib() -> float | None:
    """Main memory in GiB; None where the platform doesn't report it."""
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _accelerator(index: int) -> str:
    about = torch.cuda.get_device_properties(index)
    return f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
