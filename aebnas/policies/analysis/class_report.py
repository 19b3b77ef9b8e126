"""Each class of an early-exit network's predictions under one policy, and which classes are taken for which.

Legend: n samples, k classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aebnas.core.confidence_intervals import wilson
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.runtime.exit_policy import ExitPolicy


@dataclass(frozen=True)
class ClassFigures:
    """One class: its number of samples, the share of them that is correct (`accuracy`, its recall) and of those
    predicted as this class (`precision`), F1, and the mean exit of its samples (from 0).

    None where there is nothing to divide by: for `accuracy` and `mean_exit` no samples, for `precision` no prediction,
    for `f1` neither.
    """

    name: str
    samples: int
    accuracy: float | None
    precision: float | None
    f1: float | None
    mean_exit: float | None


@dataclass(frozen=True)
class Confused:
    """How many (`count`) of the samples of the class `name` were predicted as the class `taken_for`; `share` is of the
    samples of `name`."""

    name: str
    taken_for: str
    count: int
    share: float


@dataclass(frozen=True)
class ClassReport:
    """All classes, and the confusion matrix as its cells that aren't 0: `confusion` holds class numbers and counts
    `(class, predicted class, count)`, in the order of the matrix."""

    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, int, int], ...]

    @property
    def present(self) -> list[ClassFigures]:
        """The classes that have samples."""
        return [each for each in self.classes if each.samples]

    @property
    def balanced_accuracy(self) -> float:
        """Mean accuracy of the classes that have samples."""
        return float(np.mean([each.accuracy for each in self.present]))

    @property
    def worst(self) -> list[ClassFigures]:
        """The classes that have samples, the least accurate first."""
        return sorted(self.present, key=lambda each: each.accuracy or 0.0)

    def matrix(self) -> np.ndarray:
        """The confusion matrix, int `[k, k]`: rows are classes, columns predictions."""
        matrix_kk = np.zeros((len(self.classes),) * 2, dtype=np.int64)
        for label, predicted, count in self.confusion:
            matrix_kk[label, predicted] = count
        return matrix_kk

    def confused(self) -> list[Confused]:
        """Pairs of different classes, the largest share of a class first; of ties the larger count."""
        names = [each.name for each in self.classes]
        pairs = [
            Confused(names[label], names[predicted], count, count / self.classes[label].samples)
            for label, predicted, count in self.confusion
            if label != predicted
        ]
        return sorted(pairs, key=lambda pair: (-pair.share, -pair.count))

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary of columns: of classes, and of the cells of the confusion matrix that aren't 0."""
        columns = {
            key: [_rounded(getattr(each, key)) for each in self.classes]
            for key in ("name", "samples", "accuracy", "precision", "f1", "mean_exit")
        }
        bounds = [wilson(each.accuracy, each.samples) if each.accuracy is not None else None for each in self.classes]
        columns["accuracy_low"] = [bound and _rounded(bound[0]) for bound in bounds]
        columns["accuracy_high"] = [bound and _rounded(bound[1]) for bound in bounds]
        cells = zip(*self.confusion, strict=True)
        return columns | {
            "confusion": {key: list(column) for key, column in zip(("class", "predicted", "count"), cells, strict=True)}
        }


def report_classes(table: ExitTable, policy: ExitPolicy, names: Sequence[str]) -> ClassReport:
    """The report of a policy on a table with labels and predictions; `names` are those of all classes."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # the import takes a second

    assert table.labels_n is not None and table.predicted_ne is not None, "a table of a network holds both"
    taken_n = table.exit_taken(policy)
    predicted_n = table.predicted_ne[np.arange(table.samples), taken_n]
    labels = np.arange(len(names))
    figures = precision_recall_fscore_support(table.labels_n, predicted_n, labels=labels, zero_division=np.nan)
    precision_k, recall_k, f1_k, samples_k = figures
    depth_k = np.bincount(table.labels_n, weights=taken_n, minlength=len(names)) / np.where(
        samples_k, samples_k, np.nan
    )
    matrix_kk = confusion_matrix(table.labels_n, predicted_n, labels=labels)
    classes = tuple(
        ClassFigures(name, int(samples), *(None if np.isnan(value) else float(value) for value in values))
        for name, samples, *values in zip(names, samples_k, recall_k, precision_k, f1_k, depth_k, strict=True)
    )
    cells = tuple((int(row), int(column), int(matrix_kk[row, column])) for row, column in np.argwhere(matrix_kk))
    return ClassReport(classes, cells)


def _rounded(value: Any) -> Any:
    """A number with the digits that a file of a thousand classes needs."""
    return round(value, 6) if isinstance(value, float) else value
