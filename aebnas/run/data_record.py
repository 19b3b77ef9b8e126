"""`images/` of a run: which images the run rests on, and what an export needs of them.

Written when a search starts: names of the classes, normalisation, membership and fingerprint of each split, for images
in files a table of them, and some images whose outputs an export records. So the data can be compared with what they
were, and an export needs none. Runs of version 0.1 have no such folder.
"""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aebnas.core.atomic_files import write_atomically, write_bytes, write_json
from aebnas.core.errors import UserError
from aebnas.data.fingerprint import FileFacts, FileTable, rows
from aebnas.run.run_directory import Run
from aebnas.runtime.preprocessing import Preprocessing

FOLDER = "images"
RECORD, MEMBERSHIP, FILES, SAMPLES = "record.json", "splits.npz", "files.csv.gz", "samples.npz"


@dataclass(frozen=True)
class DataRecord:
    """What a run keeps of its images; tables and arrays are read when first used.

    `fingerprints` maps each split, and `test` where it is known, to a digest. `location` is where the data lie,
    relative to the run's folder, if that isn't what `config.json` says. `in_files` is whether the images are files.
    """

    run: Run
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    fingerprints: Mapping[str, str]
    in_files: bool
    location: str | None = None

    @cached_property
    def membership(self) -> dict[str, Tensor]:
        """The indices `[n]` (int64) of each split in the official training part; raises UserError for a bad file."""
        splits = _arrays(self.run.folder / FOLDER / MEMBERSHIP)
        return {name: torch.from_numpy(part.astype(np.int64)) for name, part in splits.items()}

    @cached_property
    def files(self) -> dict[str, FileTable]:
        """Tables of the image files of each split and of `test`, empty if the images aren't files; raises UserError for
        a bad file."""
        return _read_tables(self.run.folder / FOLDER / FILES) if self.in_files else {}

    @cached_property
    def samples(self) -> Tensor:
        """Images of the search split, uint8 `[n, c, h, w]`; raises UserError for a bad file."""
        return torch.from_numpy(_arrays(self.run.folder / FOLDER / SAMPLES)["images"])

    @classmethod
    def read(cls, run: Run) -> "DataRecord | None":
        """The record of a run; None if it has none. Raises UserError, naming the file, if it can't be read."""
        path = run.folder / FOLDER / RECORD
        if not path.exists():
            return None
        value = run.read_json(f"{FOLDER}/{RECORD}")
        try:
            preprocessing = Preprocessing.from_json(value["preprocessing"])
            names, prints = tuple(value["classes"]), dict(value["fingerprints"])
            return cls(run, names, preprocessing, prints, value["files"], value["location"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UserError(f"{path}: cannot be read: {why}") from None

    def save(self, membership: Mapping[str, Tensor], samples: Tensor, files: Mapping[str, FileTable]) -> None:
        """Write the folder; `record.json` comes last, so that a kill leaves a whole record or none."""
        folder = self.run.folder / FOLDER
        _write_arrays(folder / MEMBERSHIP, {name: part.numpy().astype(np.int32) for name, part in membership.items()})
        _write_arrays(folder / SAMPLES, {"images": samples.numpy()})
        self.save_files(files)

    def save_files(self, files: Mapping[str, FileTable]) -> None:
        """Write the tables of files, then `record.json`."""
        folder = self.run.folder / FOLDER
        if self.in_files:
            write_bytes(folder / FILES, _table_bytes(files))
        value = {
            "classes": list(self.class_names),
            "preprocessing": self.preprocessing.to_json(),
            "fingerprints": dict(self.fingerprints),
            "files": self.in_files,
            "location": self.location,
        }
        write_json(folder / RECORD, value)


def _write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    write_atomically(path, lambda partial: np.savez_compressed(partial, allow_pickle=False, **arrays))


def _arrays(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None


def _table_bytes(files: Mapping[str, FileTable]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("split", "name", "size_bytes", "time_ns", "label", "content"))
    for split, table in files.items():
        writer.writerows((split, json.dumps(name), *facts) for name, *facts in rows(table))
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _read_tables(path: Path) -> dict[str, FileTable]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))[1:]
        tables: dict[str, dict[str, FileFacts]] = {}
        for split, name, size, time_ns, label, content in lines:
            tables.setdefault(split, {})[json.loads(name)] = FileFacts(int(size), int(time_ns), int(label), content)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None
    return dict(tables)
