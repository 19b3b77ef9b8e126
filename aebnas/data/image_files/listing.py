"""Which images a set in files has in its training or test part, and of which class they are. No image is read."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from aebnas.data.class_names import data_path
from aebnas.data.data_spec import IN_FILES, DataSpec
from aebnas.data.image_files.csv_listing import list_csv
from aebnas.data.image_files.files_found import TEST, TRAIN, some
from aebnas.data.image_files.folder_layout import list_folder
from aebnas.data.stratified import cut_stratified

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Listing:
    """The images of one part of a set in files.

    `paths` start from `root`, with `/` between their parts; names that aren't UTF-8 are as `os.fsdecode` gives them.
    `labels` are indices into `class_names`, which are those of the training part for either part. `left_out` counts, by
    reason, what was met and isn't read as an image; `notes` say what isn't plain about the parts.
    """

    root: Path
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    left_out: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The paths by which images are opened."""
        return tuple(os.path.join(self.root, path) for path in self.paths)  # noqa: PTH118 - a Path for each takes seconds


def list_images(spec: DataSpec, base: Path, part: Part) -> Listing:
    """The images of a part of a set in files; relative paths of `spec` start from `base`.

    With the training part the names of the test part are checked, too, so that a fault shows before a long search.
    Where the set has no test part, `spec.splits.test` is cut from all images: stratified, by the split seed, and the
    same for any order in which the files are found. Raises UserError for files that aren't laid out as they must be,
    ValueError for a set that isn't in files.
    """
    if not spec.in_files:
        raise ValueError(f"spec must be of a set in files ({', '.join(IN_FILES)}), but got {spec.name}")
    path, test_share = data_path(spec, base), spec.splits.test
    if spec.name == "csv":
        found = list_csv(path, test_share)
    else:
        found = list_folder(path, test_share, spec.follow_links, part == TRAIN)
    images, notes = dict(found.images), list(found.notes)
    if TEST not in images:
        everything = images[TRAIN]
        cut = cut_stratified(torch.tensor([label for _, label in everything]), {TEST: test_share}, spec.splits.seed)
        images = {name: [everything[index] for index in rows.tolist()] for name, rows in cut.items()}
        notes.append(f"{len(images[TEST]):,} of {len(everything):,} images are the test set (data.splits.test)")
    tested = {label for _, label in images[TEST]}
    untested = [name for label, name in enumerate(found.class_names) if label not in tested]
    if untested:
        share = f"{len(untested)} of {len(found.class_names)} classes"
        notes.append(f"the test set has no image of {share} ({some(untested)})")
    listed = images[part]
    return Listing(
        found.root,
        tuple(path for path, _ in listed),
        tuple(label for _, label in listed),
        found.class_names,
        found.left_out,
        tuple(notes),
    )
