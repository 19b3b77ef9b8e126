"""Comparing a run's images with those that it was started with, and recording these when it starts."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from aebnas.core.errors import UserError
from aebnas.core.spec_base import updated
from aebnas.data.class_names import location
from aebnas.data.data_spec import DataSpec
from aebnas.data.fingerprint import (
    Changes,
    FileTable,
    changes,
    file_table,
    fingerprint,
    renamed_classes,
    with_contents,
)
from aebnas.data.image_set import ImageSet
from aebnas.run.data_record import DataRecord
from aebnas.run.run_directory import Run

TEST = "test"
DOUBTED = -1
"""Time of a recorded image that was found to have changed although its time had not."""
CONTENTS_LIMIT_BYTES = 2**30
"""Files of at most this size together are read for their contents when a search starts; larger sets on demand."""


@dataclass(frozen=True)
class DataCheck:
    """Compares the images at `place` with the record of a run.

    If they have `moved` there, times don't count. `verify` compares the contents of files, too.
    """

    record: DataRecord
    place: Path | None
    moved: bool = False
    verify: bool = False

    def check_classes(self, names: list[str]) -> None:
        """Raise UserError if the names of the classes differ."""
        if how := renamed_classes(self.record.class_names, names):
            raise UserError(f"{self._data}: must have the classes that the run was started with, but {how}")

    def divide(self, images: ImageSet) -> Mapping[str, Tensor]:
        """The splits of the official training part; raises UserError, which says what differs, if it has changed."""
        splits = self.record.membership
        table = file_table(images, self._root)
        if self.record.in_files and table is not None:
            known = {name: facts for split in splits for name, facts in self.record.files.get(split, {}).items()}
            if found := self._changes(known, table):
                raise UserError(self._refusal(str(found), in_place=not any(found.certain)))
            # the order of files may depend on names alone, but a recorded split is one of names
            number_of = {name: number for number, name in enumerate(table)}
            return {
                split: torch.tensor([number_of[name] for name in self.record.files.get(split, {})], dtype=torch.int64)
                for split in splits
            }
        total = sum(map(len, splits.values()))
        if table is not None or total != len(images):
            raise UserError(self._refusal(f"{len(images):,} training images instead of {total:,}"))
        differing = [s for s in splits if fingerprint(images.subset(splits[s]), None) != self.record.fingerprints[s]]
        if differing:
            raise UserError(self._refusal(f"other pixels or labels in {', '.join(differing)}"))
        return splits

    def test_fingerprint(self, images: ImageSet) -> tuple[str, str]:
        """The fingerprint of the test set, and in words how it differs from that at the run's start ("" if it doesn't,
        or isn't known, as for images in memory)."""
        table, known = file_table(images, self._root), self.record.fingerprints.get(TEST)
        if known is None or table is None:
            return fingerprint(images, table), ""
        if not (found := self._changes(self.record.files.get(TEST, {}), table)):
            return known, ""
        if found.rewritten:  # of names, sizes and times that may be the same
            table = with_contents(table, self._root)
            self._doubt(found.rewritten)
        return fingerprint(images, table), str(found)

    def _doubt(self, names: Sequence[str]) -> None:
        """Forget the times of test images of other content, so that it is compared from now on."""
        known = self.record.files[TEST]
        if all(known[name].time_ns == DOUBTED for name in names):
            return
        table = {n: replace(facts, time_ns=DOUBTED) if n in names else facts for n, facts in known.items()}
        with self.record.run.update_lock():
            self.record.save_files({**self.record.files, TEST: table})

    def save_moved(self, splits: Mapping[str, ImageSet], test: ImageSet) -> None:
        """Record that the same images lie at `place` from now on."""
        run = self.record.run
        files = _tables({**splits, TEST: test}, self._root) if self.record.in_files else {}
        for split, table in files.items():
            old = self.record.files.get(split, {})
            files[split] = {n: replace(f, content=old[n].content if n in old else "") for n, f in table.items()}
        with run.update_lock():
            replace(self.record, location=location_in(run, self.place)).save_files(files)

    @property
    def _root(self) -> Path:
        return names_root(self.place)

    @property
    def _data(self) -> str:
        return "data" if self.place is None else str(self.place)

    def _changes(self, old: FileTable, new: FileTable) -> Changes:
        found = changes(old, new)
        if any(found.certain):
            return found
        names = list(new) if self.verify or self.moved else list(found.touched)
        if all(old[name].content for name in names):
            return changes({n: old[n] for n in names}, with_contents({n: new[n] for n in names}, self._root))
        if self.verify:
            raise UserError(
                f"{self.record.run.folder}: must hold a record of the images' contents to be verified, but has none; "
                "aebnas search --verify makes it when a search starts"
            )
        return Changes() if self.moved else found

    def _refusal(self, how: str, in_place: bool = False) -> str:
        advice = "--data says that they are the same" if in_place else "point the spec, or --data, at a copy of those"
        return (
            f"{self._data}: must hold the images that the run was started with, but got {how}; {advice}, or start a "
            "new run"
        )


def new_record(
    record: DataRecord, place: Path | None, splits: Mapping[str, ImageSet], test: ImageSet | None, verify: bool
) -> tuple[DataRecord, dict[str, FileTable]]:
    """The record with fingerprints, and the tables of files; `test` is None where reading it takes reading images."""
    root = names_root(place)
    sets = {**splits} if test is None else {**splits, TEST: test}
    files = _tables(sets, root)
    size = sum(facts.size for table in files.values() for facts in table.values())
    if files and (verify or size <= CONTENTS_LIMIT_BYTES):
        files = {split: with_contents(table, root) for split, table in files.items()}
    prints = {split: fingerprint(images, files.get(split)) for split, images in sets.items()}
    return replace(record, fingerprints=prints, in_files=bool(files)), files


def _tables(sets: Mapping[str, ImageSet], root: Path) -> dict[str, FileTable]:
    tables = {split: file_table(images, root) for split, images in sets.items()}
    return {split: table for split, table in tables.items() if table is not None}


def location_in(run: Run, place: Path | None) -> str | None:
    """A place of images as a record states it."""
    return None if place is None else Path(os.path.relpath(place.resolve(), run.folder.resolve())).as_posix()


def names_root(place: Path | None) -> Path:
    """The folder that names of files start from: that of the data, or the one that holds a listing of them."""
    if place is None:
        return Path()
    return place if place.is_dir() else place.parent


def placed(spec: DataSpec, base: Path, path: Path) -> DataSpec:
    """The spec with its images at `path`; raises UserError for a set that is part of a library."""
    if location(spec, base) is None:
        raise UserError(f"--data must be absent, since {spec.name} needs no files, but got {path}")
    return updated(spec, {"path" if spec.path is not None else "root": str(path.absolute())})
