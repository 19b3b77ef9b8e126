"""Label arrays that can't be understood, given to `aebnas search`: one line that says what would be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

N = 60
X = np.zeros((N, 8, 8), np.uint8)
Y = np.arange(N) % 2
ONE_HOT = np.eye(2)[Y]
TEXT = np.array(["cat", "dog"])[Y]


def with_row(array: np.ndarray, row: int, values: Any) -> np.ndarray:
    """A copy with other values in one row."""
    changed = array.copy()
    changed[row] = values
    return changed


SHAPE = "must have shape (N,), (N, 1) or, one-hot, (N, K), but got "
NOT_ONE_HOT = "must be one-hot (a single 1 in each row), but got "
TRAIN: dict[str, tuple[np.ndarray, str]] = {
    "a number": (np.array(1), f"{SHAPE}()"),
    "three axes": (Y.reshape(N, 1, 1), f"{SHAPE}(60, 1, 1)"),
    "no columns": (np.zeros((N, 0)), f"{SHAPE}(60, 0)"),
    "lying": (Y.reshape(1, N), "must have 60 labels, one for each image, but got 1"),
    "a column of fewer": (Y[:-1, None], "must have 60 labels, one for each image, but got 59"),
    "fewer rows": (ONE_HOT[:-1], "must have 60 labels, one for each image, but got 59"),
    "more names": (np.array(["cat", "dog"] * 31), "must have 60 labels, one for each image, but got 62"),
    "parts of classes": (with_row(Y * 1.0, 7, 0.5), "must be whole numbers, but got 0.5 in row 7"),
    "NaN": (with_row(Y * 1.0, 3, np.nan), "must be whole numbers, but got nan in row 3"),
    "infinite": (with_row(Y * 1.0, 0, np.inf), "must be whole numbers, but got inf in row 0"),
    "beyond whole": (with_row(Y * 1.0, 0, 1e300), "must be whole numbers, but got 1e+300 in row 0"),
    "-1 for unknown": (with_row(Y, 9, -1), "must be at least 0, but got -1"),
    "-1.0 for unknown": (with_row(Y * 1.0, 9, -1), "must be at least 0, but got -1"),
    "complex": (Y * 1j, "must be whole numbers, one-hot rows or text, but got complex128 (60,)"),
    "times": (Y.astype("M8[s]"), "must be whole numbers, one-hot rows or text, but got datetime64[s] (60,)"),
    "records": (np.zeros(N, [("a", int)]), "must be whole numbers, one-hot rows or text, but got [('a', '<i8')] (60,)"),
    "soft labels": (np.full((N, 2), 0.5), f"{NOT_ONE_HOT}probabilities (y.argmax(1) makes classes"),
    "one soft label": (with_row(ONE_HOT, 5, [0.9, 0.1]), f"{NOT_ONE_HOT}probabilities (y.argmax(1) makes classes of "),
    "scores": (with_row(ONE_HOT, 5, [3.5, -2]), f"{NOT_ONE_HOT}[3.5, -2.0] in row 5"),
    "two classes at once": (with_row(ONE_HOT.astype(int), 2, 1), f"{NOT_ONE_HOT}2 classes in row 2"),
    "no class": (with_row(ONE_HOT.astype(bool), 4, False), f"{NOT_ONE_HOT}no class in row 4"),
    "NaN in a row": (with_row(ONE_HOT, 1, np.nan), f"{NOT_ONE_HOT}[nan, nan] in row 1"),
    "a column of text": (np.stack([TEXT, TEXT], 1), "must be whole numbers, one-hot rows or text, but got <U3 (60, 2)"),
    "a column without images": (np.eye(3)[Y], "must have every class in 0..2, but got none of class 2"),
    "the first column without": (np.eye(3)[Y + 1], "must have every class in 0..2, but got none of class 0"),
    "one column used": (np.eye(2)[Y * 0], "must have every class in 0..1, but got none of class 1"),
    "from 1": ((Y + 1)[:, None], "must count classes from 0, but got 1..2 (subtract 1)"),
    "from 1.0": (Y + 1.0, "must count classes from 0, but got 1..2 (subtract 1)"),
    "one name": (np.array(["cat"] * N), "must hold at least 2 classes, but got only 'cat'"),
    "an empty name": (with_row(TEXT, 8, ""), "must name a class, but got an empty text in row 8"),
    "a name of bytes": (with_row(TEXT.astype("S3"), 8, b"\xff"), "must be text in UTF-8, but got other bytes"),
    "half a character": (with_row(TEXT, 8, "\ud800"), "must be text in UTF-8, but got half a surrogate pair"),
    "a number in two ways": (with_row(Y.astype(str), 8, "01"), "must be written in one way, but got '01' and '1'"),
    "objects": (TEXT.astype(object), "must be a readable array of plain numbers, but got: Object arrays cannot be lo"),
}
TEST: dict[str, tuple[np.ndarray, np.ndarray, str]] = {
    "another class": (Y, np.arange(N) % 3, "must be below 2 (the classes of y_train), but got 2"),
    "another name": (
        TEXT,
        with_row(TEXT, 1, "dgo"),
        "must be classes of the training images ('cat, dog'), but",
    ),
    "numbers, not text": (TEXT, Y, "must be text as y_train, but got numbers"),
    "text, not numbers": (Y, TEXT, "must be numbers as y_train, but got text"),
    "more columns": (ONE_HOT, np.eye(3)[Y], "must have 2 columns (the classes of y_train), but got 3"),
    "columns for more classes": (Y, np.eye(3)[Y], "must have 2 columns (the classes of y_train), but got 3"),
    "soft labels": (
        Y,
        np.full((N, 2), 0.5),
        f"{NOT_ONE_HOT}probabilities (y.argmax(1) makes classes",
    ),
    "negative": (Y, Y - 1, "must be at least 0, but got -1"),
}


@pytest.mark.parametrize("y, expected", TRAIN.values(), ids=TRAIN)
def test_training_labels(search: Callable[..., str], project, y, expected):
    np.savez(project / "set.npz", x_train=X, y_train=y, x_test=X, y_test=Y)
    line = search(name="npz", path="set.npz")
    assert line.startswith(f"{project / 'set.npz'}: y_train: {expected}"), line


@pytest.mark.parametrize("y_train, y_test, expected", TEST.values(), ids=TEST)
def test_test_labels(tmp_path, y_train, y_test, expected):
    """Not seen by the search, which reads no test array."""
    from aebnas.core.errors import UserError
    from aebnas.data.data_spec import DataSpec
    from aebnas.data.datasets import load_test, load_train

    np.savez(tmp_path / "set.npz", x_train=X, y_train=y_train, x_test=X, y_test=y_test)
    spec = DataSpec.model_validate({"name": "npz", "path": "set.npz"})
    assert load_train(spec, tmp_path).classes == 2
    with pytest.raises(UserError) as raised:
        load_test(spec, tmp_path)
    assert str(raised.value).startswith(f"{tmp_path / 'set.npz'}: y_test: {expected}"), str(raised.value)


def test_names_in_another_order(search, project):
    """Cats would be called dogs."""
    np.savez(project / "set.npz", x_train=X, y_train=TEXT, x_test=X, y_test=TEXT)
    line = search(name="npz", path="set.npz", class_names=["dog", "cat"])
    rule = "must be in the order of the data's classes ('cat, dog')"
    assert line == f"spec.yaml: data.class_names: {rule}, but got 'dog' for 'cat'"


def test_another_number_of_names(search, project):
    labels = np.array(["a", "b", "c"] * 20)
    np.savez(project / "set.npz", x_train=X, y_train=labels, x_test=X, y_test=labels)
    assert search(name="npz", path="set.npz") == "space.yaml: classes: must be 3, as in the data, but got 2"
