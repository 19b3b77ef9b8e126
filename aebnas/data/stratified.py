"""Disjoint stratified parts of a labelled set, of exact size, by a seed."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from aebnas.core.errors import SpecError


def cut_stratified(
    labels: Tensor, sizes: Mapping[str, int | float], seed: int, may_lack_classes: Collection[str] = ()
) -> dict[str, Tensor]:
    """Sorted indices `[n_part]` (int64) into `labels [n]` of `train` and of parts of these sizes (images, or shares).

    Each class is divided in proportion, by largest remainders, except for one image of it that `train` keeps.
    (scikit-learn's stratified splitters refuse classes of one image and parts smaller than the number of classes, which
    `certify` may be.)
    Raises SpecError where a part that may not lack classes would hold fewer images than there are classes.
    """
    labels = labels.cpu()
    total, present = len(labels), labels.unique()
    counts = {name: round(size * total) if isinstance(size, float) else size for name, size in sizes.items()}
    left = total - sum(counts.values())
    if left < len(present):
        rule = f"must leave at least {len(present)} images (one per class) for train"
        raise SpecError("data.splits", f"{rule}, but got {sum(counts.values())} for {', '.join(counts)} out of {total}")
    for name, count in counts.items():
        if count < len(present) and name not in may_lack_classes:
            rule = f"must be at least {len(present)} images (one per class), but got {count}"
            raise SpecError(f"data.splits.{name}", rule)

    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(total, generator=generator)
    remaining = [shuffled[labels[shuffled] == label] for label in present]
    parts = {}
    for name, count in counts.items():
        shares = _share_out(count, torch.tensor([len(pool) for pool in remaining]), generator)
        parts[name] = torch.cat([pool[:share] for pool, share in zip(remaining, shares, strict=True)]).sort().values
        remaining = [pool[share:] for pool, share in zip(remaining, shares, strict=True)]
    return {"train": torch.cat(remaining).sort().values, **parts}


def _share_out(size: int, available: Tensor, generator: torch.Generator) -> list[int]:
    """Whole numbers that sum to `size`, in proportion to `available` and leaving 1 of each; ties between
    remainders are broken at random. Where a class would lose its last image, another gives one more.
    """
    counts = _in_proportion(size, available, generator)
    taken = torch.minimum(counts, available - 1)
    if missing := size - int(taken.sum()):
        taken += _in_proportion(missing, available - 1 - taken, generator)
    return taken.tolist()


def _in_proportion(size: int, available: Tensor, generator: torch.Generator) -> Tensor:
    scaled = available * size
    total = int(available.sum())
    counts, remainders = scaled // total, scaled % total
    tie_order = torch.randperm(len(available), generator=generator)
    largest_first = tie_order[remainders[tie_order].argsort(descending=True, stable=True)]
    counts[largest_first[: size - int(counts.sum())]] += 1
    return counts
