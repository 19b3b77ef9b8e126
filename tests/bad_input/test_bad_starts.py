"""`aebnas init` with arguments or data that it can't use: one line, exit code 2, nothing written."""

from pathlib import Path

import numpy as np
import pytest

from aebnas.cli.main import main

N = 12
GOOD = {"x_train": np.zeros((N, 8, 8), np.uint8), "y_train": np.arange(N) % 2}
GOOD |= {"x_test": GOOD["x_train"], "y_test": GOOD["y_train"]}
NEEDS_FORM, NEEDS_NUMBER = "--budget must read METRIC=NUMBER", "--budget must bound params by a finite number above 0"
DATA = {
    "nothing there": ("none", "--data must be a folder of images, a .npz or a .csv file, but 'none' doesn't exist"),
    "an empty folder": ("empty", "empty: must "),
    "an empty file": ("nothing.npz", "nothing.npz: must be a .npz archive"),
    "another kind of file": ("notes.txt", "notes.txt: must be a .npz archive"),
    "a table without columns": ("table.csv", "table.csv"),
    "too few images": ("few.npz", "few.npz: must hold at least 6 training images, three for each class on average"),
    "one class": ("one.npz", "one.npz: y_train: must hold at least 2 classes"),
}
BUDGETS = {
    "no number": ("avg_macs", NEEDS_FORM),
    "no metric": ("=3", NEEDS_FORM),
    "words": ("params=few", NEEDS_NUMBER),
    "an endless one": ("params=inf", NEEDS_NUMBER),
    "0": ("params=0", NEEDS_NUMBER),
    "a metric to be maximised": ("accuracy=1", "--budget must bound one of avg_macs, "),
    "a metric of a device": ("latency_ms=1", "--budget must bound one of avg_macs, "),
    "a metric that isn't": ("avg_mac=1", "but got 'avg_mac', did you mean 'avg_macs'?"),
    "less than everything": ("avg_macs=10", "--budget must be at least "),
}
CASES: dict[str, tuple[list[str], str]] = {
    "no data": ([], "Missing option '--data'"),
    "two budgets of one metric": (
        ["--data", "set.npz", "--budget", "params=1e4", "--budget", "params=2e4"],
        "--budget must bound a metric once, but got params several times",
    ),
}
CASES |= {f"data: {name}": (["--data", data], expected) for name, (data, expected) in DATA.items()}
CASES |= {
    f"budget: {name}": (["--data", "set.npz", "--budget", budget], expected)
    for name, (budget, expected) in BUDGETS.items()
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("nothing.npz", "notes.txt", "table.csv"):
        (tmp_path / name).touch()
    np.savez("set.npz", **GOOD)
    np.savez("few.npz", **{name: array[:5] for name, array in GOOD.items()})
    np.savez("one.npz", **GOOD | {"y_train": np.zeros(N, int), "y_test": np.zeros(N, int)})
    return tmp_path


@pytest.mark.parametrize("arguments, expected", CASES.values(), ids=CASES)
def test_it_is_one_line(folder, capsys, arguments, expected):
    with pytest.raises(SystemExit) as leaving:
        main(["init", "my", *arguments])
    err = capsys.readouterr().err
    assert leaving.value.code == 2 and err.startswith("error: ") and err.count("\n") == 1 and expected in err
    assert not (folder / "my").exists()


def test_a_folder_among_the_classes(folder, capsys):
    with pytest.raises(SystemExit):
        main(["init", "empty/my", "--data", "empty"])
    assert capsys.readouterr().err.startswith("error: empty/my: must not lie in the folder of images")


def test_a_file_in_the_way(folder, capsys):
    with pytest.raises(SystemExit):
        main(["init", "notes.txt", "--data", "set.npz"])
    assert capsys.readouterr().err == "error: notes.txt: must be a folder or a new name, but got a file\n"
