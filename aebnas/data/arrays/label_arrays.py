"""Class labels in numpy arrays: whole numbers, one-hot rows or text. Imports no torch.

Legend: n images, k classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aebnas.core.errors import UserError
from aebnas.core.spec_base import did_you_mean, short
from aebnas.data.class_order import TwoSpellings, in_class_order

EXACT = 2**53
"""Below this floating-point numbers are exact."""


@dataclass(frozen=True)
class Labels:
    """`labels_n`: whole numbers from 0, of any integer type. `classes` is k where the array says so itself: one-hot
    rows have k columns, text has k `names` (in the order of the labels)."""

    labels_n: NDArray[np.integer[Any]]
    classes: int | None = None
    names: tuple[str, ...] | None = None


def read_labels(y: NDArray[Any], count: int, where: str, names: Sequence[str] | None = None) -> Labels:
    """Labels of `count` images from an array of shape `[n]`, `[n, 1]` or, one-hot, `[n, k]`.

    Numbers may be of any type if they are whole. Text is understood as names of classes: of `names`, if given, else
    these are the distinct ones, sorted. Raises UserError, which begins with `where`, for anything else.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or 0 in y.shape[1:]:
        raise UserError(f"{where}: must have shape (N,), (N, 1) or, one-hot, (N, K), but got {y.shape}")
    if len(y) != count:
        raise UserError(f"{where}: must have {count} labels, one for each image, but got {len(y)}")
    if y.dtype.kind in "US" and y.ndim == 1:
        return _from_text(y, where, names)
    if y.dtype.kind not in "iufb":
        raise UserError(f"{where}: must be whole numbers, one-hot rows or text, but got {y.dtype} {y.shape}")
    if y.ndim == 2:
        return _from_one_hot(y, where)
    if y.dtype.kind == "f":
        y = y.astype(np.float64)
        not_whole = ~(np.isfinite(y) & (y == np.floor(y)) & (np.abs(y) < EXACT))
        if not_whole.any():
            row = int(not_whole.argmax())
            raise UserError(f"{where}: must be whole numbers, but got {y[row]} in row {row}")
        y = y.astype(np.int64)
    if y.dtype.kind == "b":
        y = y.astype(np.int64)
    if count and y.min() < 0:
        raise UserError(f"{where}: must be at least 0, but got {y.min()}")
    return Labels(y)


def check_from_zero(labels: Labels, classes: int, where: str) -> None:
    """Raise UserError where labels are those of `classes` classes counted from 1."""
    labels_n = labels.labels_n
    if len(labels_n) and labels_n.min() == 1 and labels_n.max() == classes:
        raise UserError(f"{where}: must count classes from 0, but got 1..{classes} (subtract 1)")


def _from_one_hot(y_nk: NDArray[Any], where: str) -> Labels:
    is_one_hot = ((y_nk == 0) | (y_nk == 1)).all(1) & ((y_nk != 0).sum(1) == 1)
    if not is_one_hot.all():
        row = int((~is_one_hot).argmax())
        got = f"{_why_not(y_nk[row])} in row {row}"
        raise UserError(f"{where}: must be one-hot (a single 1 in each row), but got {got}")
    return Labels(y_nk.argmax(1), classes=y_nk.shape[1])


def _why_not(row_k: NDArray[Any]) -> str:
    if not row_k.any():
        return "no class"
    if ((row_k == 0) | (row_k == 1)).all():
        return f"{int(row_k.sum())} classes"
    if (row_k >= 0).all() and abs(float(row_k.sum()) - 1) < 1e-3:
        return "probabilities (y.argmax(1) makes classes of them)"
    return short(row_k.tolist())


def _from_text(y: NDArray[Any], where: str, names: Sequence[str] | None) -> Labels:
    distinct, places_n = np.unique(y, return_inverse=True)
    try:
        found = [value.decode() if isinstance(value, bytes) else value for value in distinct.tolist()]
    except UnicodeDecodeError:
        raise UserError(f"{where}: must be text in UTF-8, but got other bytes") from None
    if "" in found:
        raise UserError(f"{where}: must name a class, but got an empty text in row {int((y == distinct[0]).argmax())}")
    if not all(map(_is_utf8, found)):
        raise UserError(f"{where}: must be text in UTF-8, but got half a surrogate pair")
    if names is None:
        if len(found) < 2:
            raise UserError(
                f"{where}: must hold at least 2 classes, but got only {short(found[0]) if found else 'none'}"
            )
        try:
            names = in_class_order(found)
        except TwoSpellings as error:
            raise UserError(f"{where}: {error}") from None
    label = {name: number for number, name in enumerate(names)}
    unknown = [name for name in found if name not in label]
    if unknown:
        rule = f"must be classes of the training images ({short(', '.join(names))})"
        raise UserError(f"{where}: {rule}, but got {short(unknown[0])}{did_you_mean(unknown[0], names)}")
    labels_n = np.array([label[name] for name in found])[places_n]
    return Labels(labels_n, len(names), tuple(names))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
