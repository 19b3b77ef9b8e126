"""What a layout of image files says before a share is cut off for testing: images by part, and their classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aebnas.core.errors import SpecError

TRAIN, TEST = "train", "test"
VALIDATION = ("val", "valid", "validation")
"""Names of a part that is the test set where there is no other."""
NAMED = 4
"""Names in a note."""


@dataclass(frozen=True)
class FilesFound:
    """Images as `(path, label)` by part. Paths start from `root`, labels are indices into `class_names`.

    Without a part `test` a share of `train` becomes the test set. `left_out` counts, by reason, what isn't read as an
    image; `notes` say what isn't plain about the layout.
    """

    root: Path
    class_names: tuple[str, ...]
    images: Mapping[str, list[tuple[str, int]]]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def check_test_share(share: int | float, has_test: bool, layout: str) -> None:
    """Raise SpecError unless `data.splits.test` is given exactly where the data have no test part of their own."""
    if has_test and share:
        rule = f"must be absent, since the data have a test part of their own ({layout}), but got {share}"
        raise SpecError("data.splits.test", rule)
    if not has_test and not share:
        rule = f"must be above 0 (the share or number of images that become the test set), since {layout}, but got 0"
        raise SpecError("data.splits.test", rule)


def some(names: Sequence[str]) -> str:
    """The first of some names, for a note."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
