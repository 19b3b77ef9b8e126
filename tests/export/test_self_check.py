import json
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import export, own_main
from PIL import Image
from safetensors.torch import load_file, save_file

from aebnas.export.folder import FILES
from aebnas.export.model import BadInput, Model


def change_weights(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    weights["nodes.stem.conv.0.weight"] += 0.5
    save_file(weights, folder / "weights.safetensors")


def test_other_weights_fail_the_check(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert own_main(own, "--check") == 0
    change_weights(own)
    assert own_main(own, "--check") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("check passed")
    assert lines[1].startswith("check failed: ") and lines[2].startswith("sample ")


def rewrite_record(folder: Path, **changed: np.ndarray) -> None:
    with np.load(folder / "check.npz") as file:
        record = dict(file) | changed
    np.savez_compressed(folder / "check.npz", **record)


def test_the_check_compares_logits_exits_and_labels(own: Path) -> None:
    with np.load(own / "check.npz") as file:
        record = dict(file)
    model = Model.load(own)
    logits = record["logits"].copy()
    logits[3, 2] += 0.01
    rewrite_record(own, logits=logits)
    assert [p.split(":")[0] for p in model.check().problems] == ["sample 3"]
    labels = record["labels"].copy()
    labels[7] = (labels[7] + 1) % 10
    rewrite_record(own, logits=record["logits"], labels=labels)
    names = [model.class_names[(record["labels"][7] + more) % 10] for more in (1, 0)]
    want = f"sample 7: the class must be '{names[0]}' as recorded, but got '{names[1]}'"
    assert model.check().problems == (want,)
    exits = record["exit_index"].copy()
    exits[5] = (exits[5] + 1) % 3
    rewrite_record(own, labels=record["labels"], exit_index=exits)
    (problem,) = model.check().problems
    got = record["exit_index"][5] + 1
    assert problem == f"sample 5: the exit must be {exits[5] + 1} as recorded, but got {got}"


def test_a_sample_on_the_threshold_may_leave_at_another_exit(own: Path) -> None:
    with np.load(own / "check.npz") as file:
        logits, exits = torch.from_numpy(file["logits"]), file["exit_index"]
    first = int(np.flatnonzero(exits == 0)[0])
    policy = json.loads((own / "policy.json").read_text())
    score = float(logits[first].softmax(-1).amax())
    for moved, undecided, problems in [(5e-6, 1, 0), (5e-5, 0, 1)]:
        policy["thresholds"][0] = score + moved  # it no longer leaves at the recorded exit
        (own / "policy.json").write_text(json.dumps(policy))
        result = Model.load(own).check()
        own_problems = [problem for problem in result.problems if problem.startswith(f"sample {first}:")]
        assert (result.undecided >= undecided, len(own_problems)) == (True, problems)


@pytest.mark.parametrize("name", sorted(FILES - {"README.md", "card.json", "model.py"}))
def test_a_missing_or_damaged_file_gives_one_line(own: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (own / name).read_bytes()
    if name != "runtime/__init__.py":  # which would still run, since it is only a docstring
        (own / name).write_bytes(whole[: len(whole) // 2] + (b"\n(" if name.endswith(".py") else b""))
        assert own_main(own, "--check") == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
    (own / name).unlink()
    assert own_main(own, "--check") == 2
    error = capsys.readouterr().err
    assert error == f"error: {own / name}: no such file\n"


def test_files_of_different_models_are_refused(own: Path, tmp_path: Path) -> None:
    export(tmp_path / "colour", channels=3)
    for name in ("preprocessing.json", "weights.safetensors", "graph.json"):
        before = (own / name).read_bytes()
        (own / name).write_bytes((tmp_path / "colour" / name).read_bytes())
        with pytest.raises(BadInput):
            Model.load(own)
        (own / name).write_bytes(before)
    (own / "policy.json").write_text('{"criterion": "margin", "thresholds": [0.5]}')
    with pytest.raises(BadInput, match="do not belong together"):
        Model.load(own)


def test_bad_images_give_one_line(grey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(tmp_path / "whole.png")
    half = (tmp_path / "whole.png").read_bytes()[:1500]
    (tmp_path / "half.png").write_bytes(half)
    (tmp_path / "text.png").write_text("not an image")
    for name in ("half.png", "text.png", "missing.png", "."):
        assert own_main(grey, str(tmp_path / "whole.png"), str(tmp_path / name)) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1
        assert captured.err.startswith(f"error: {tmp_path / name}: ")


@pytest.mark.parametrize("arguments", [[], ["--check", "image.png"], ["--no-such"]])
def test_invalid_arguments_are_refused(grey: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        own_main(grey, *arguments)
    assert caught.value.code == 2
