"""Damaged run folders and folders that are no runs: reported in one line, nothing is run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Damage that changes what `config.json` holds."""

    def damage(run: Path) -> None:
        value = json.loads((run / "config.json").read_text())
        changed = change(value)
        (run / "config.json").write_text(json.dumps(value if changed is None else changed))

    return damage


def written(name: str, content: bytes) -> Callable[[Path], None]:
    """Damage that puts something else in a file's place."""
    return lambda run: (run / name).write_bytes(content) and None


def trial(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Damage to the second line of `trials.jsonl`."""

    def damage(run: Path) -> None:
        lines = (run / "trials.jsonl").read_text().splitlines()
        value = json.loads(lines[1])
        changed = change(value)
        lines[1] = json.dumps(value if changed is None else changed)
        (run / "trials.jsonl").write_text("\n".join(lines) + "\n")

    return damage


def line_two(text: str) -> Callable[[Path], None]:
    """Damage that puts a text into the second line of `trials.jsonl`."""

    def damage(run: Path) -> None:
        first, _, *rest = (run / "trials.jsonl").read_text().splitlines()
        (run / "trials.jsonl").write_text("\n".join([first, text, *rest]) + "\n")

    return damage


def set_in(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of a value at a dotted path."""

    def change(config: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        place: Any = config
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        place[int(last) if isinstance(place, list) else last] = value

    return change


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda run: (run / "config.json").unlink(), ": is not a run folder (it has no config.json)"),
    "an empty config": (written("config.json", b""), "/config.json: cannot be read: Expecting value"),
    "half a config": (written("config.json", b'{"experiment": {"da'), "/config.json: cannot be read: Unterminated str"),
    "a config of bytes": (
        written("config.json", b"\xff\xfe\0"),
        "/config.json: cannot be read: 'utf-8' codec can't dec",
    ),
    "a list for a config": (config(lambda value: [value]), "/config.json: must hold a JSON object, but got list"),
    "a deep config": (written("config.json", b"[" * 10**5), "/config.json: cannot be read: maximum recursion depth"),
    "no experiment": (
        config(lambda value: value.pop("experiment") and None),
        "/config.json: experiment: must hold a map",
    ),
    "no space": (
        config(lambda value: value.pop("space") and None),
        "/config.json: space: must hold a mapping of keys, b",
    ),
    "no base": (
        config(lambda value: value.pop("base") and None),
        "/config.json: base: must be a path, but got nothing",
    ),
    "a base of another type": (config(set_in("base", [1])), "/config.json: base: must be a path, but got [1]"),
    "an unknown key": (config(set_in("experiment.luck", 1)), "/config.json: experiment.luck: unknown key"),
    "a bad value": (
        config(set_in("experiment.seed", -1)),
        "/config.json: experiment.seed: must be greater than or equ",
    ),
    "a bad space": (
        config(set_in("space.stem.kernel", 99)),
        "/config.json: space.stem.kernel: must be at most 15, to ",
    ),
    "a stage that is a number": (
        config(set_in("space.stages.0", 1)),
        "/config.json: space.stages.0: must be a mapping of",
    ),
    "an infinite number": (
        config(set_in("experiment.supernet.lr", 1e999)),
        "/config.json: experiment.supernet.lr: must b",
    ),
    "a line that is no JSON": (line_two("{torn"), "/trials.jsonl, line 2: is not a trial: JSONDecodeError"),
    "an empty line": (line_two(""), "/trials.jsonl, line 2: is not a trial: JSONDecodeError"),
    "a deep line": (line_two("[" * 10**5), "/trials.jsonl, line 2: is not a trial: RecursionError"),
    "a line that is a number": (line_two("3"), "/trials.jsonl, line 2: is not a trial: TypeError"),
    "a null for a line": (line_two("null"), "/trials.jsonl, line 2: is not a trial: TypeError"),
    "a key missing": (
        trial(lambda value: value.pop("architecture") and None),
        "/trials.jsonl, line 2: is not a trial: KeyE",
    ),
    "an unknown status": (
        trial(set_in("status", "fine")),
        "/trials.jsonl, line 2: is not a trial: ValueError: status must b",
    ),
    "a negative number": (
        trial(set_in("number", -1)),
        "/trials.jsonl, line 2: is not a trial: ValueError: number must be at",
    ),
    "a text for a number": (trial(set_in("number", "1")), "/trials.jsonl, line 2: is not a trial: TypeError"),
    "a metric that is NaN": (
        trial(set_in("points.0.metrics.accuracy", float("nan"))),
        "/trials.jsonl, line 2: is not a trial: ValueError: metric accuracy must be finite",
    ),
    "a huge metric": (
        trial(set_in("points.0.metrics.macs", 10**400)),
        "/trials.jsonl, line 2: is not a trial: OverflowErro",
    ),
    "metrics as a list": (
        trial(set_in("points.0.metrics", [1, 2])),
        "/trials.jsonl, line 2: is not a trial: TypeError",
    ),
    "a threshold out of range": (
        trial(set_in("points.0.policy", {"criterion": "margin", "thresholds": [7]})),
        "/trials.",
    ),
    "an unknown criterion": (
        trial(set_in("points.0.policy.criterion", "luck")),
        "/trials.jsonl, line 2: is not a trial: Val",
    ),
    "another architecture": (
        trial(set_in("architecture.stem.width", 7)),
        "/trials.jsonl, line 2: is not a trial: ValueErro",
    ),
    "a block that is none": (
        trial(set_in("architecture.stages.0.blocks", 3)),
        "/trials.jsonl, line 2: is not a trial: Vali",
    ),
}


@pytest.mark.parametrize("damage, expected", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("command", ["show", "evaluate"])
def test_a_damaged_run(refused, run, command, damage, expected):
    damage(run)
    pick = [] if command == "show" else ["--pick", "knee"]
    line = refused(run.parents[1], command, run, *pick)
    assert line.startswith(f"{run}{expected}"), line


@pytest.mark.parametrize("command", ["show", "resume", "evaluate", "retrain", "export"])
def test_a_folder_that_is_no_run(refused, tmp_path, command):
    (tmp_path / "file").write_text("x")
    more = {"evaluate": ["--pick", "knee"], "retrain": ["--pick", "knee"]}.get(command, [])
    more += ["--pick", "knee", "--out", tmp_path / "out"] if command == "export" else []
    for name in ("none", "file", "."):
        line = refused(tmp_path, command, tmp_path / name, *more)
        assert line == f"{tmp_path / name}: is not a run folder (it has no config.json)"


@pytest.mark.parametrize("name", ["pareto.csv", "pareto.json", "summary.json", "report.html"])
def test_files_that_are_made_of_others_may_be_damaged(run, name, capsys):
    """They are written again when the run is resumed, and nothing reads them."""
    from typer.testing import CliRunner

    from aebnas.cli.main import app

    whole = (run / name).read_bytes()
    (run / name).write_bytes(b"\0garbage")
    assert CliRunner().invoke(app, ["show", str(run)]).exit_code == 0
    assert CliRunner().invoke(app, ["resume", str(run)]).exit_code == 0
    if name.startswith("pareto"):
        assert (run / name).read_bytes() == whole
