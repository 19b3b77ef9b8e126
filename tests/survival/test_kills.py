"""`kill -9` at marked moments of every phase: the run resumes and ends with the same files."""

import json
import shutil

import pytest
from faulty import Fault, aebnas, moving
from tiny_run import front_of

from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.selected.selected_model import load_selected_model

KILLED = -9
WEIGHTS = "checkpoints/supernet.safetensors"


def spec_of(run):
    return run.parent / "spec" / "tiny.yaml"


def search(run, **options):
    return aebnas("search", spec_of(run), "--out", run, **options)


def assert_equal_to(run, whole):
    """All files that don't depend on time are equal, and there are no others."""
    assert front_of(run) == front_of(whole)
    assert (run / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    trials = [[t.to_json() | {"seconds": 0} for t in Run.open(folder).trials()] for folder in (run, whole)]
    assert trials[0] == trials[1]
    assert files_of(run) == files_of(whole)


def files_of(run):
    """The files of a run except those of TensorBoard, whose names contain the time and which each session adds to."""
    names = (path.relative_to(run).as_posix() for path in run.rglob("*"))
    return sorted(name for name in names if not name.startswith("tensorboard"))


IN_TRAINING = {
    "before the run is there": moving("config.json"),
    "in the first epoch": Fault("aebnas.training.sandwich:SandwichTask.losses", nth=3),
    "before the first checkpoint is in place": moving("supernet.pt"),
    "behind the first checkpoint": moving("supernet.pt", after=True),
    "behind the last checkpoint": moving("supernet.pt", nth=2, after=True),
    "before the weights are in place": moving("supernet.safetensors"),
    "between the weights and the end of the checkpoint": moving("supernet.safetensors", after=True),
}


@pytest.mark.parametrize("moment", IN_TRAINING)
def test_killed_in_supernet_training(fresh, whole, moment):
    assert search(fresh, faults=(IN_TRAINING[moment],)).code == KILLED
    ended = search(fresh) if (fresh / "config.json").exists() else None
    if ended is None:
        assert "is not a run folder" in aebnas("resume", fresh).error
        ended = search(fresh)
    assert ended.code == 0, ended.printed
    assert_equal_to(fresh, whole)


def test_at_most_one_epoch_is_lost(fresh, whole):
    """Behind the checkpoint of the first of two epochs, one is left to train."""
    assert search(fresh, faults=(moving("supernet.pt", after=True),)).code == KILLED
    batches = Fault("aebnas.training.sandwich:SandwichTask.losses", nth=7)  # of 6 an epoch
    ended = search(fresh, faults=(batches,))
    assert ended.code == 0, ended.printed
    assert_equal_to(fresh, whole)


IN_SEARCH = {
    "while it is described": moving("protocol.json"),
    "at the first candidate": Fault("aebnas.evaluation.evaluator:Evaluator.score"),
    "in the second generation": Fault("aebnas.evaluation.evaluator:Evaluator.score", nth=6),
    "in the middle of a trial's line": Fault("aebnas.run.run_directory:Run.append", act="tear", nth=6),
    "before the first front is in place": moving("pareto.csv"),
    "between the files of a front": moving("pareto.json", nth=2),
    "before the report": moving("report.html"),
    "at the very end": moving("report.html", after=True),
}


@pytest.mark.parametrize("moment", IN_SEARCH)
def test_killed_in_search(trained, whole, moment):
    assert search(trained, faults=(IN_SEARCH[moment],)).code == KILLED
    ended = aebnas("resume", trained)
    assert ended.code == 0, ended.printed
    assert_equal_to(trained, whole)


def test_killed_again_and_again(trained, whole):
    """Each session dies at its third new trial, so each adds two."""
    for session in (1, 2, 3):
        assert search(trained, faults=(Fault("aebnas.run.run_directory:Run.append", nth=3),)).code == KILLED
        assert len(Run.open(trained).trials()) == 2 * session
    assert search(trained, faults=(Fault("aebnas.run.run_directory:Run.append", nth=3),)).code == 0
    assert_equal_to(trained, whole)


def test_files_that_are_made_from_others_are_made_again(finished, whole):
    for path in finished.iterdir():
        if path.is_file() and path.name not in ("config.json", "trials.jsonl", "train_epoch_metrics.csv"):
            path.unlink()
    ended = aebnas("resume", finished)
    assert ended.code == 0, ended.printed
    assert_equal_to(finished, whole)


IN_OWN_TRAINING = {
    "in a candidate's training": Fault("aebnas.training.single_network:SingleTask.losses", nth=20),
    "between a candidate's weights and its trial": Fault("aebnas.run.run_directory:Run.append", nth=6),
    "before weights of dominated candidates are deleted": Fault("aebnas.search.loop:delete_other_weights", nth=2),
}


@pytest.mark.parametrize("moment", IN_OWN_TRAINING)
def test_killed_where_candidates_are_trained_by_themselves(whole_own, tmp_path, moment):
    run = tmp_path / "run"
    shutil.copytree(whole_own.parent / "spec", tmp_path / "spec")
    (run / "checkpoints").mkdir(parents=True)
    shutil.copy(whole_own / WEIGHTS, run / "checkpoints")
    shutil.copy(whole_own / "train_epoch_metrics.csv", run)
    assert search(run, faults=(IN_OWN_TRAINING[moment],)).code == KILLED
    ended = aebnas("resume", run)
    assert ended.code == 0, ended.printed
    assert_equal_to(run, whole_own)
    for path in (run / "models").iterdir():
        assert path.read_bytes() == (whole_own / "models" / path.name).read_bytes()


IN_RETRAINING = {
    "before its settings are there": moving("unfinished.json"),
    "in the first epoch": Fault("aebnas.training.single_network:SingleTask.losses", nth=3),
    "behind the first checkpoint": moving("checkpoint.pt", after=True),
    "before the weights are in place": moving("weights.safetensors"),
    "between the weights and what is noted of them": moving("weights.safetensors", after=True),
    "before the checkpoint is deleted": Fault("aebnas.selected.retrain:clear_training"),
}


@pytest.mark.parametrize("moment", IN_RETRAINING)
def test_killed_in_retraining(finished, whole, whole_retrained, pick, moment):
    retrain = ("retrain", finished, "--pick", pick, "--weights", "scratch", "--epochs", 2)
    assert aebnas(*retrain, faults=(IN_RETRAINING[moment],)).code == KILLED
    begun = (finished / "models" / pick / "unfinished.json").exists()
    ended = aebnas("resume", finished)
    assert ended.code == 0, ended.printed
    assert (f"{pick} is retrained" in ended.printed) == begun
    if not begun:
        assert aebnas(*retrain).code == 0
    for name in (f"models/{pick}/weights.safetensors", f"picks/{pick}.json"):
        assert (finished / name).read_bytes() == (whole_retrained / name).read_bytes()
    left = sorted(path.name for path in (finished / "models" / pick).iterdir())
    assert left == sorted(path.name for path in (whole_retrained / "models" / pick).iterdir())
    assert front_of(finished) == front_of(whole)


def test_a_kill_between_new_weights_and_their_note_does_not_mix_two_retrainings(whole_retrained, pick, tmp_path):
    """Thresholds of the first under the weights of the second would be neither's network."""
    shutil.copytree(whole_retrained.parent, tmp_path, dirs_exist_ok=True)
    run = tmp_path / "run"
    retrain = ("retrain", run, "--pick", pick, "--weights", "supernet", "--epochs", 1)
    assert aebnas(*retrain, faults=(moving("weights.safetensors", after=True),)).code == KILLED
    assert load_selected_model(RunSession.open(run), pick).source == "inherited from the supernet"
    assert aebnas("resume", run).code == 0
    assert (
        load_selected_model(RunSession.open(run), pick).source == "retrained for 1 epochs from the supernet's weights"
    )


IN_EXPORT = {
    "in the middle of it": moving("graph.json"),
    "before it is put in place": Fault("aebnas.export.folder:_move_into_place"),
    "between the two renames": Fault("pathlib:Path.rename", after=True),
}


@pytest.mark.parametrize("moment", IN_EXPORT)
def test_killed_in_export(whole, pick, tmp_path, moment):
    """The old export is there or none; the same command makes it whole and leaves nothing beside it."""
    export = ("export", whole, "--pick", pick, "--out", tmp_path / "out")
    assert aebnas(*export).code == 0
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert aebnas(*export, faults=(IN_EXPORT[moment],)).code == KILLED
    if moment != "between the two renames":
        assert all((tmp_path / path).read_bytes() == content for path, content in made.items())
    assert aebnas(*export).code == 0
    assert {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()} == set(made)
    assert json.loads((tmp_path / "out" / "policy.json").read_text())["thresholds"]
