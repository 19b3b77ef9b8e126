"""What a YAML file may say and how it is understood; what it may not is in `tests/bad_input`."""

import pytest

from aebnas.core.errors import SpecError
from aebnas.core.yaml_reader import MAX_BYTES, read_yaml


def read(tmp_path, text: str):
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    return read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e-3", 0.001),
        ("17e6", 17e6),
        ("+2.5E+1", 25.0),
        ("-1e3", -1000.0),
        ("1.5", 1.5),
        ("0x10", 16),
        ("1_000", 1000),
        ("2001-01-31", "2001-01-31"),
        ("e3", "e3"),
        ("1e", "1e"),
        ("1e3x", "1e3x"),
        ("yes", True),
        (".inf", float("inf")),
        ("[a, 'b']", ["a", "b"]),
        ("", None),
        ("\ufeffé", "é"),
    ],
)
def test_values(tmp_path, text, value):
    found = read(tmp_path, text)
    assert found == value and type(found) is type(value)


def test_anchors_and_merges_may_be_used(tmp_path):
    text = "base: &b {kernel: 3, op: conv}\nstages:\n  - *b\n  - {<<: *b, kernel: 5}\n"
    base = {"kernel": 3, "op": "conv"}
    assert read(tmp_path, text) == {"base": base, "stages": [base, {"kernel": 5, "op": "conv"}]}


def test_a_file_of_the_largest_size_is_read(tmp_path):
    assert read(tmp_path, "a: 1\n" + "#" * (MAX_BYTES - 5)) == {"a": 1}


def test_an_error_separates_file_place_and_rule(tmp_path):
    with pytest.raises(SpecError) as raised:
        read(tmp_path, "a:\n  b: {c: 1, c: 2}\n")
    error = raised.value
    assert (error.path, error.rule) == ("a.b", "a key must stand once, but got 'c' twice")
    assert error.file == f"{tmp_path / 'a.yaml'}, line 2, column 13"
