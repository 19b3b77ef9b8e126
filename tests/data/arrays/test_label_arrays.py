"""Labels in arrays: what is understood. What isn't: tests/bad_input/test_bad_labels.py."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aebnas.data.arrays.label_arrays import read_labels
from aebnas.data.arrays.labelled_arrays import load_labelled
from aebnas.data.class_names import class_names
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train

NAMES = ("ant", "bee", "cow")


@given(
    st.lists(st.integers(0, 4), max_size=20), st.sampled_from(["u1", "i2", "i8", "u8", "f2", "f4", "f8"]), st.booleans()
)
def test_numbers_of_any_type_in_a_row_or_a_column(labels: list[int], dtype: str, column: bool) -> None:
    y = np.array(labels, dtype=dtype)
    found = read_labels(y[:, None] if column else y, len(labels), "y")
    assert found.labels_n.tolist() == labels and found.labels_n.dtype.kind in "iu"
    assert found.classes is None and found.names is None


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20), st.sampled_from(["?", "u1", "i8", "f4", "f8"]))
def test_one_hot_rows_of_any_type(labels: list[int], dtype: str) -> None:
    found = read_labels(np.eye(5, dtype=dtype)[labels], len(labels), "y")
    assert found.labels_n.tolist() == labels and found.classes == 5


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=3), min_size=1))
def test_text_is_names_sorted(labels: list[str]) -> None:
    for y in (np.array(labels), np.array(labels)[:, None], np.array(labels).astype("S")):
        found = read_labels(y, len(labels), "y", sorted(set(labels)))
        assert found.names is not None and [found.names[label] for label in found.labels_n] == labels


def test_numbers_as_text_are_in_the_order_of_numbers() -> None:
    assert read_labels(np.array(["10", "2", "1"]), 3, "y").names == ("1", "2", "10")


def test_booleans_are_two_classes() -> None:
    assert read_labels(np.array([True, False]), 2, "y").labels_n.tolist() == [1, 0]


def arrays(labels: Any) -> dict[str, Any]:
    x = np.zeros((len(labels), 4, 4), np.uint8)
    return {"x_train": x, "y_train": labels, "x_test": x[:3], "y_test": labels[:3]}


TEXT = np.array(["cow", "ant", "bee", "cow", "ant", "bee"])
NUMBERS = np.array([2, 0, 1, 2, 0, 1])


@pytest.mark.parametrize(
    "labels",
    [NUMBERS, NUMBERS[:, None], NUMBERS * 1.0, np.eye(3)[NUMBERS], np.eye(3, dtype=bool)[NUMBERS], TEXT, TEXT[:, None]],
    ids=["numbers", "a column", "floats", "one-hot", "one-hot booleans", "text", "a column of text"],
)
def test_an_array_file_is_read_alike_whatever_its_labels(tmp_path: Path, labels: Any) -> None:
    np.savez(tmp_path / "set.npz", **arrays(labels))
    spec = DataSpec.model_validate({"name": "npz", "path": "set.npz"})
    train, test = load_train(spec, tmp_path), load_test(spec, tmp_path)
    assert train.labels.tolist() == NUMBERS.tolist() and test.labels.tolist() == NUMBERS[:3].tolist()
    assert train.classes == test.classes == 3
    assert class_names(spec, tmp_path) == (NAMES if labels.dtype.kind == "U" else None)
    np.savez(tmp_path / "more.npz", x=arrays(labels)["x_train"], y=labels)
    assert load_labelled(tmp_path / "more.npz", (1, 4, 4), NAMES).labels.tolist() == NUMBERS.tolist()


def test_mixed_kinds_of_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **arrays(NUMBERS) | {"y_test": np.eye(3)[NUMBERS[:3]]})
    assert load_test(DataSpec.model_validate({"name": "npz", "path": "set.npz"}), tmp_path).labels.tolist() == [2, 0, 1]
