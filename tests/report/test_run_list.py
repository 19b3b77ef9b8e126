import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_run import searched

from aebnas.cli.main import main
from aebnas.core.errors import UserError
from aebnas.report.run_list import age, list_runs, print_runs
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched(tmp_path_factory)


@pytest.fixture
def copy(run, tmp_path):
    """The function that copies the finished run under a name, without some of its files."""

    def make(name, *without):
        shutil.copytree(run, tmp_path / name, ignore=shutil.ignore_patterns("*.lock", *without))
        return tmp_path / name

    return make


def states(folder):
    return {listed.folder.name: listed.state for listed in list_runs(folder)}


UNFINISHED = ("summary.json", "pareto.*")


def test_every_state_is_listed(copy, tmp_path):
    copy("done")
    copy("searching", *UNFINISHED)
    copy("training", *UNFINISHED, "trials.jsonl", "supernet.safetensors")
    copy("trained", *UNFINISHED, "trials.jsonl")
    assert states(tmp_path) == {
        "done": "finished",
        "searching": "stopped in search",
        "training": "stopped in supernet",
        "trained": "stopped in search",
    }


def test_a_run_is_running_while_its_lock_is_held(copy, tmp_path):
    folder = copy("here", *UNFINISHED)
    with Run.open(folder).locked():
        assert states(tmp_path) == {"here": "running in search"}
    assert states(tmp_path) == {"here": "stopped in search"}


def test_a_retraining_is_listed(copy, tmp_path):
    folder = copy("here")
    with Run.open(folder).retraining("some-point"):
        assert states(tmp_path) == {"here": "retraining"}
    assert states(tmp_path) == {"here": "finished"}


def test_a_repeated_search_is_unfinished_until_its_trials_are_replayed(copy, tmp_path):
    folder = copy("again")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["finished"] is True
    (folder / "summary.json").write_text(json.dumps(summary | {"finished": False}))
    assert states(tmp_path) == {"again": "stopped in search"}


def test_counts_and_best_points_are_the_runs_own(run, copy, tmp_path):
    copy("one")
    (listed,) = list_runs(tmp_path)
    session = RunSession.open(run)
    assert (listed.trials, listed.max_trials, listed.front_points) == (8, 8, len(session.front()))
    assert listed.hypervolume == json.loads((run / "summary.json").read_text())["hypervolume"]
    for rule, row in listed.best.items():
        assert row == session.pick(rule)[1].metrics


def test_other_folders_are_skipped_and_damaged_runs_listed(copy, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "file.txt").write_text("nothing")
    broken = {"config.json": "{", "summary.json": "[]", "pareto.csv": "id,accuracy\nx,what\n"}
    for name, content in broken.items():
        (copy(name.partition(".")[0]) / name).write_text(content)
    (copy("other") / "config.json").write_text('{"experiment": {}}')
    reported = states(tmp_path)
    assert set(reported) == {"config", "summary", "pareto", "other"}
    assert all(state.startswith("damaged (") for state in reported.values())
    print_runs(list_runs(tmp_path))


def test_runs_are_sorted_by_their_last_change(copy, tmp_path, capsys):
    for days, name in ((3, "old"), (0, "new"), (1, "yesterday")):
        folder, then = copy(name), time.time() - 86_400 * days
        for path in folder.iterdir():
            os.utime(path, (then, then))
    runs = list_runs(tmp_path)
    assert [listed.folder.name for listed in runs] == ["new", "yesterday", "old"]
    print_runs(runs)
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if " old " in line]
    assert "3 d" in line and "8 of 8" in line and "finished" in line


def test_names_of_any_bytes_can_be_listed(copy, tmp_path, capsysbinary):
    """Run folders may have been renamed."""
    (copy("run")).rename(tmp_path / os.fsdecode(b"r\xfcn"))
    main(["list", str(tmp_path)])
    assert b"r\\udcfcn" in capsysbinary.readouterr().out


def test_names_are_listed_as_they_are(copy, tmp_path, capsys):
    """Not as markup, nor emoji."""
    names = ["r [bold]x", "[red]", ":smile:"]
    for name in names:
        copy(name)
    print_runs(list_runs(tmp_path))
    out = capsys.readouterr().out
    assert all(f" {name} " in out for name in names)


def test_there_must_be_a_folder(tmp_path):
    with pytest.raises(UserError, match="must be a folder of runs"):
        list_runs(tmp_path / "none")
    assert list_runs(tmp_path) == []


@pytest.mark.parametrize(
    "seconds, text", [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (7300, "2 h"), (86_400 * 40, "40 d")]
)
def test_ages(seconds, text):
    assert age(seconds) == text


def test_a_list_needs_no_torch(copy, tmp_path):
    copy("one")
    code = "import sys; from aebnas.cli.main import app; app(['list', sys.argv[1]], standalone_mode=False)"
    code += "; assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    command = [sys.executable, "-c", code, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    assert (result.returncode, result.stderr) == (0, "") and "finished" in result.stdout
