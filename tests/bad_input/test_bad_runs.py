"""Run folders, picks, weights and checkpoints that are damaged or were never any: told in one line, nothing run."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_run import own_copy, searched

TOUCHED = ("run.lock", "notes.lock", "env_info.json", "pip_freeze.txt", "protocol.json", "seconds.json")
"""What going on with a run may write before it comes to what is damaged."""


class Evil:
    """Makes a folder `ran` when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.fixture
def run(tmp_path_factory, tmp_path, monkeypatch) -> Path:
    """A finished run to be damaged. Commands run in an empty folder, where nothing may appear."""
    copy = own_copy(searched(tmp_path_factory), tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return copy


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
    "no config": (lambda run: (run / "config.json").unlink(), ": is no run (it has no config.json)"),
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
    "a line that is no JSON": (line_two("{torn"), "/trials.jsonl, line 2: is no trial: JSONDecodeError"),
    "an empty line": (line_two(""), "/trials.jsonl, line 2: is no trial: JSONDecodeError"),
    "a deep line": (line_two("[" * 10**5), "/trials.jsonl, line 2: is no trial: RecursionError"),
    "a line that is a number": (line_two("3"), "/trials.jsonl, line 2: is no trial: TypeError"),
    "a null for a line": (line_two("null"), "/trials.jsonl, line 2: is no trial: TypeError"),
    "a key missing": (
        trial(lambda value: value.pop("architecture") and None),
        "/trials.jsonl, line 2: is no trial: KeyE",
    ),
    "an unknown status": (
        trial(set_in("status", "fine")),
        "/trials.jsonl, line 2: is no trial: ValueError: status must b",
    ),
    "a negative number": (
        trial(set_in("number", -1)),
        "/trials.jsonl, line 2: is no trial: ValueError: number must be at",
    ),
    "a text for a number": (trial(set_in("number", "1")), "/trials.jsonl, line 2: is no trial: TypeError"),
    "a metric that is NaN": (
        trial(set_in("points.0.metrics.accuracy", float("nan"))),
        "/trials.jsonl, line 2: is no tri",
    ),
    "a huge metric": (
        trial(set_in("points.0.metrics.macs", 10**400)),
        "/trials.jsonl, line 2: is no trial: OverflowErro",
    ),
    "metrics as a list": (trial(set_in("points.0.metrics", [1, 2])), "/trials.jsonl, line 2: is no trial: TypeError"),
    "a threshold out of range": (
        trial(set_in("points.0.policy", {"criterion": "margin", "thresholds": [7]})),
        "/trials.",
    ),
    "an unknown criterion": (
        trial(set_in("points.0.policy.criterion", "luck")),
        "/trials.jsonl, line 2: is no trial: Val",
    ),
    "another architecture": (
        trial(set_in("architecture.stem.width", 7)),
        "/trials.jsonl, line 2: is no trial: ValueErro",
    ),
    "a block that is none": (
        trial(set_in("architecture.stages.0.blocks", 3)),
        "/trials.jsonl, line 2: is no trial: Vali",
    ),
}


@pytest.mark.parametrize("damage, says", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("command", ["show", "evaluate"])
def test_a_damaged_run(refused, run, command, damage, says):
    damage(run)
    pick = [] if command == "show" else ["--pick", "knee"]
    line = refused(run.parents[1], command, run, *pick)
    assert line.startswith(f"{run}{says}"), line


@pytest.mark.parametrize("command", ["show", "resume", "evaluate", "retrain", "export"])
def test_a_folder_that_is_no_run(refused, tmp_path, command):
    (tmp_path / "file").write_text("x")
    more = {"evaluate": ["--pick", "knee"], "retrain": ["--pick", "knee"]}.get(command, [])
    more += ["--pick", "knee", "--out", tmp_path / "out"] if command == "export" else []
    for name in ("none", "file", "."):
        line = refused(tmp_path, command, tmp_path / name, *more)
        assert line == f"{tmp_path / name}: is no run (it has no config.json)"


@pytest.mark.parametrize("name", ["pareto.csv", "pareto.json", "summary.json", "report.html"])
def test_files_that_are_made_of_others_may_be_damaged(run, name, monkeypatch, capsys):
    """They are written anew when the run is gone on with, and nothing reads them."""
    from typer.testing import CliRunner

    from aebnas.cli.main import app

    whole = (run / name).read_bytes()
    (run / name).write_bytes(b"\0garbage")
    assert CliRunner().invoke(app, ["show", str(run)]).exit_code == 0
    assert CliRunner().invoke(app, ["resume", str(run)]).exit_code == 0
    if name.startswith("pareto"):
        assert (run / name).read_bytes() == whole


PICKS = {
    "nothing": ("", "pick: must be the id of a point on the front, knee, best-accuracy, cheapest or a rule such as "),
    "an unknown id": ("0123456789-abcdef", "pick: must be the id of a point on the front, knee, best-accuracy, cheape"),
    "a misspelt rule": (
        "kneee",
        "pick: must be the id of a point on the front, knee, best-accuracy, cheapest or a rul",
    ),
    "a rule that fits nothing": (
        "avg_macs<=3",
        "pick 'avg_macs <= 3': a point of the front must keep it, but the closes",
    ),
    "an accuracy none has": (
        "accuracy>=1",
        "pick 'accuracy >= 1': a point of the front must keep it, but the closest h",
    ),
    "an unknown metric": ("latency<=3", "pick 'latency<=3': metric must be one of accuracy, avg_macs, "),
    "a misspelt metric": (
        "acuracy>=0.3",
        "pick 'acuracy>=0.3': metric must be one of accuracy, avg_macs, avg_macs_tak",
    ),
    "no number": ("avg_macs<=few", "pick 'avg_macs<=few': must bound avg_macs by a number, but got 'avg_macs<=few'"),
    "not a number": (
        "avg_macs<=nan",
        "pick 'avg_macs<=nan': must bound avg_macs by a finite number of at least 0, but",
    ),
    "a percentage": ("accuracy>=97", "pick 'accuracy>=97': must bound accuracy by a fraction in [0, 1], but got 97"),
    "two bounds": (
        "1<=avg_macs<=2",
        "pick '1<=avg_macs<=2': must read 'metric <= number' or 'metric >= number', but go",
    ),
    "an escape": (
        "\x1b[31mred",
        r"pick: must be the id of a point on the front, knee, best-accuracy, cheapest or a ru",
    ),
}


@pytest.mark.parametrize("pick, says", PICKS.values(), ids=PICKS)
def test_picks_that_fit_nothing(refused, run, pick, says):
    line = refused(run.parents[1], "evaluate", run, "--pick", pick)
    assert line.startswith(says), line


def changed_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    """Damage to weights that leaves them a safetensors file."""

    def damage(path: Path) -> None:
        state = load_file(path)
        change(state)
        save_file(state, path)

    return damage


def transposed(state: dict[str, torch.Tensor]) -> None:
    name = next(name for name in sorted(state) if name.endswith("linear/weight"))
    state[name] = state[name].T.contiguous()


WEIGHTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: path.unlink(), "the weights are not there; give the search command again to make them"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as weights: "),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot be read as weights: "),
    "a truncated header": (lambda path: path.write_bytes(path.read_bytes()[:100]), "cannot be read as weights: "),
    "a header that lies": (
        lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]),
        "cannot be read as weight",
    ),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(Evil())), "cannot be read as weights: "),
    "a torch file": (lambda path: torch.save({"x": Evil()}, path), "cannot be read as weights: "),
    "text": (lambda path: path.write_text("weights"), "cannot be read as weights: "),
    "other shapes": (changed_weights(transposed), "weights must fit the network: "),
    "one too few": (changed_weights(lambda state: state.pop(min(state))), "weights must fit the network, but "),
    "one too many": (
        changed_weights(lambda state: state.update(more=torch.ones(1))),
        "weights must fit the network, but m",
    ),
}


@pytest.mark.parametrize("damage, says", WEIGHTS.values(), ids=WEIGHTS)
def test_damaged_weights(refused, run, damage, says):
    weights = run / "checkpoints" / "supernet.safetensors"
    damage(weights)
    for command in (["evaluate"], ["export", "--out", run.parent / "out"]):
        line = refused(run.parents[1], command[0], run, "--pick", "knee", *command[1:])
        assert line.startswith(f"{weights}: {says}"), line


def torch_zip(path: Path, member: bytes) -> None:
    """A file laid out as torch's, with another pickle in it."""
    torch.save({"epochs_done": 1}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, member if name.endswith("data.pkl") else content)


CHECKPOINTS: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("checkpoint"),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Evil())),
    "a pickle in torch's form": lambda path: torch.save({"module": Evil()}, path),
    "a pickle in torch's archive": lambda path: torch_zip(path, pickle.dumps(Evil())),
    "half a file": lambda path: (torch.save(torch.ones(9999), path), path.write_bytes(path.read_bytes()[:9999])),
    "something else": lambda path: torch.save([1, 2], path),
    "another network": lambda path: torch.save({"module": {"x": torch.ones(1)}, "epochs_done": 1}, path),
}


@pytest.mark.parametrize("damage", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_damaged_checkpoints(run, damage, monkeypatch, capsys):
    """The search is gone on with, so some files are touched: results and the checkpoint aren't."""
    from aebnas.cli.main import main

    (run / "checkpoints" / "supernet.safetensors").unlink()
    checkpoint = run / "checkpoints" / "supernet.pt"
    damage(checkpoint)
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name not in TOUCHED}
    monkeypatch.setattr("sys.argv", ["aebnas", "resume", str(run)])
    with pytest.raises(SystemExit) as leaving:
        main()
    line = capsys.readouterr().err.splitlines()[-1]
    assert leaving.value.code == 2
    assert line.startswith(f"error: {checkpoint}: must be a checkpoint of this run, but cannot be read (")
    assert not Path("ran").exists()
    for path, content in kept.items():
        assert path.read_bytes() == content


def test_notes_on_a_pick_that_are_none(refused, run):
    from aebnas.workspace import Workspace

    _, point = Workspace.open(run).pick("knee")
    point_id = point.id
    (run / "picks").mkdir(exist_ok=True)
    notes = run / "picks" / f"{point_id}.json"
    for content, says in (("", "cannot be read: Expecting value"), ("[1]", "must hold a JSON object, but got list")):
        notes.write_text(content)
        line = refused(run.parents[1], "evaluate", run, "--pick", point_id)
        assert line.startswith(f"{notes}: {says}"), line


def test_an_export_into_what_is_no_export(refused, run):
    out = run.parent / "out"
    out.write_text("a file")
    line = refused(run.parents[1], "export", run, "--pick", "knee", "--out", out)
    assert line == f"{out}: must be a directory, but got a file"
    out.unlink()
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    line = refused(run.parents[1], "export", run, "--pick", "knee", "--out", out)
    assert line == f"{out}: must be new, empty or a previous export, but got a folder with thesis.txt"
