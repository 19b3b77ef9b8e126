"""Which images a set in files has in its training or test part, and of which class they are. No image is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aebnas.data.class_names import data_path
from aebnas.data.data_spec import DataSpec
from aebnas.data.folder_layout import list_folder

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Listing:
    """The images of one part of a set in files.

    `paths` start from `root`, with `/` between their parts; names that aren't UTF-8 are as `os.fsdecode` gives them.
    `labels` are indices into `class_names`, which are those of the training part for either part. `left_out` counts, by
    reason, what was met and isn't read as an image.
    """

    root: Path
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    left_out: Mapping[str, int]

    @property
    def files(self) -> tuple[str, ...]:
        """The paths by which images are opened."""
        return tuple(str(self.root / path) for path in self.paths)


def list_images(spec: DataSpec, base: Path, part: Part) -> Listing:
    """The images of a part of a set in files; relative paths of `spec` start from `base`.

    With the training part the names of the test part are checked, too, so that a fault shows before a long search.
    Raises UserError for folders that aren't laid out as they must be, ValueError for a set that isn't in files.
    """
    if spec.name != "folder":
        raise ValueError(f"spec must be of a set in files (folder), but got {spec.name}")
    root = data_path(spec, base)
    return Listing(root, *list_folder(root, spec.follow_links, part == "train"))
