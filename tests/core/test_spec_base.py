"""Reading YAML into specs: a one-line error for every mistake."""

from pathlib import Path

import pytest

import aebnas
from aebnas.core.errors import UserError
from aebnas.core.spec_base import Spec, parse_spec, read_spec, read_yaml, updated


class Inner(Spec):
    depth: int = 1


class Outer(Spec):
    inner: Inner = Inner()
    choice: tuple[Inner | int, ...] = ()
    rate: float = 0.1


@pytest.mark.parametrize(
    "value, line",
    [
        ({"inner": {"dept": 1}}, "f: inner.dept: unknown key, did you mean 'depth'?"),
        ({"iner": {}, "rate": "x"}, "f: iner: unknown key, did you mean 'inner'?"),
        (
            {"choice": [1, "x"]},
            "f: choice.1: must be a mapping of keys, but got 'x'",
        ),
        ({"rate": float("nan")}, "f: rate: must be a finite number, but got nan"),
        ({3: 4}, "f: 3: keys must be words, but got 3"),
        ([], "f: must hold a mapping of keys, but got []"),
        ({"rate": "x" * 200}, "f: rate: must be a number"),
    ],
)
def test_one_line_names_source_path_rule_and_value(value, line):
    with pytest.raises(UserError) as raised:
        parse_spec(Outer, value, "f")
    assert str(raised.value).startswith(line)
    assert len(str(raised.value)) < 200


def test_a_valid_file(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text("inner: {depth: 3}\nchoice: [1, {depth: 2}]\n", encoding="utf-8")
    assert read_spec(Outer, path) == Outer(inner=Inner(depth=3), choice=(1, Inner(depth=2)))


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"gone.yaml: no such file"):
        read_yaml(tmp_path / "gone.yaml")
    with pytest.raises(UserError, match="must be a YAML file, but got a folder"):
        read_yaml(tmp_path)


@pytest.mark.parametrize(
    "raw, problem",
    [
        (b"a: [1", "bad.yaml, line 1, column 6: must be valid YAML, but got: "),
        (b"a: 1\n  b: 2", "bad.yaml, line 2, column 4: must be valid YAML, but got: "),
        (b"a: 1\n---\nb: 2", "bad.yaml, line 2, column 1: must be valid YAML, but got: "),
        (b"a: !!python/name:os.system x", "bad.yaml, line 1, column 4: must be valid YAML, but got: "),
        (b"a: \x00", "bad.yaml: must be valid YAML, but got: unacceptable character"),
        (b"a: \xff", "bad.yaml: must be UTF-8 text, but got byte 0xff at position 3"),
    ],
)
def test_files_that_are_not_yaml_are_refused(tmp_path, raw, problem):
    path = tmp_path / "bad.yaml"
    path.write_bytes(raw)
    with pytest.raises(UserError) as raised:
        read_yaml(path)
    assert problem in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_updated_spec_is_checked_as_if_read_from_a_file():
    spec = Outer(inner=Inner(depth=3), choice=(1, Inner(depth=2)))
    assert updated(spec, {"rate": 0.5}) == Outer(inner=Inner(depth=3), choice=(1, Inner(depth=2)), rate=0.5)
    assert updated(spec, {"inner": Inner(depth=4)}).inner.depth == 4
    assert spec.rate == 0.1
    for changes, line in (
        ({"rate": "x"}, "f: at.rate: must be a number, but got 'x'"),
        ({"rat": 1}, "f: at.rat: unknown key, did you mean 'rate'?"),
        ({"inner": {"depth": None}}, "f: at.inner.depth: must be a whole number, but got nothing"),
    ):
        with pytest.raises(UserError) as raised:
            updated(spec, changes, "f", "at")
        assert str(raised.value) == line


def test_no_spec_is_changed_without_a_check():
    package = Path(aebnas.__file__).parent
    assert not [path for path in package.rglob("*.py") if ".model_copy(update" in path.read_text(encoding="utf-8")]
