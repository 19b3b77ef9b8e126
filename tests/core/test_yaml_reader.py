"""Which YAML is accepted and how it is read; `tests/bad_input` tests what is refused."""

import re
from pathlib import Path

import pytest
import yaml

from aebnas.core.errors import SpecError
from aebnas.core.yaml_reader import MAX_BYTES, MAX_DEPTH, read_yaml


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
        ("010", 10),
        ("0o10", 8),
        ("1:30", "1:30"),
        ("yes", "yes"),
        ("off", "off"),
        ("True", True),
        ("~", None),
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


def test_an_anchor_may_be_redefined_without_a_warning(tmp_path, recwarn):
    assert read(tmp_path, "a: &x 1\nb: &x 2\nc: *x\n") == {"a": 1, "b": 2, "c": 2}
    assert not recwarn.list


def test_a_document_that_declares_yaml_1_1_is_read_as_yaml_1_1(tmp_path, recwarn):
    assert read(tmp_path, "%YAML 1.1\n---\na: 010\nb: yes\nc: 17e6\n") == {"a": 8, "b": True, "c": 17e6}
    assert not recwarn.list


@pytest.mark.parametrize("text", ["0b_", "!!bool maybe", "!!int ''", "!!float 1:30", "%YAML 1.3\n---\n010"])
def test_malformed_scalars_are_one_line_errors(tmp_path, text):
    with pytest.raises(SpecError, match=r"a\.yaml: must be valid YAML, but got: ") as raised:
        read(tmp_path, text)
    assert "\n" not in str(raised.value)


def test_keys_of_equal_value_are_the_same_key(tmp_path):
    with pytest.raises(SpecError, match="line 1, column 8: must be valid YAML, but got: found duplicate key"):
        read(tmp_path, "{1: 2, 0x1: 3}")


def test_lists_may_be_nested_up_to_the_limit(tmp_path):
    assert read(tmp_path, "[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(SpecError, match=f"line 1, column {MAX_DEPTH + 1}: must be nested at most {MAX_DEPTH} deep, "):
        read(tmp_path, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


ROOT = Path(__file__).parents[2]
BUNDLED = sorted([*(ROOT / "experiments").rglob("*.yaml"), *(ROOT / "search_spaces").glob("*.yaml")])


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_bundled_files_have_the_same_values_in_yaml_1_1(path):
    """Other tools read the same values, except `1e-3`, which is text in YAML 1.1."""

    def as_numbers(value):
        if isinstance(value, dict):
            return {key: as_numbers(child) for key, child in value.items()}
        if isinstance(value, list):
            return list(map(as_numbers, value))
        return float(value) if re.fullmatch(r"[0-9.]+e[0-9-]+", str(value)) else value

    assert read_yaml(path) == as_numbers(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_a_file_of_the_largest_size_is_read(tmp_path):
    assert read(tmp_path, "a: 1\n" + "#" * (MAX_BYTES - 5)) == {"a": 1}


def test_an_error_holds_file_path_and_rule(tmp_path):
    with pytest.raises(SpecError) as raised:
        read(tmp_path, "a:\n  b: {c: 1, c: 2}\n")
    error = raised.value
    assert (error.path, error.rule) == ("a.b", "keys must be distinct, but got 'c' twice")
    assert error.file == f"{tmp_path / 'a.yaml'}, line 2, column 13"
