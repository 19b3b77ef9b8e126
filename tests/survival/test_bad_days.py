"""Full disks, read-only folders, signals, failing candidates: each ends in a defined state and a helpful message."""

import json
import os
import re
import subprocess
import sys
import threading

import pytest
import torch
from faulty import QUICK, Fault, aebnas, moving
from tiny_run import EXPERIMENT, front_of, write_spec

from aebnas.run.run_directory import Run

SCORE, NETWORK = (f"aebnas.evaluation.evaluator:Evaluator.{name}" for name in ("score", "network"))
TRAIN, REPORT = "aebnas.training.sandwich:SandwichTask.losses", "aebnas.report.run_report:write_html"


def search(run, **options):
    return aebnas("search", run.parent / "spec" / "tiny.yaml", "--out", run, **options)


def goes_on(run, whole):
    """A stopped command can be resumed to the same front."""
    assert not list(run.rglob(".*.partial*"))
    ended = aebnas("resume", run)
    assert ended.code == 0, ended.printed
    assert front_of(run) == front_of(whole)


@pytest.mark.parametrize(
    "target, nth, act, code",
    [(TRAIN, 8, "interrupt", 130), (SCORE, 3, "terminate", 143), (REPORT, 1, "interrupt", 130)],
    ids=["training", "scoring", "reporting"],
)
def test_a_signal_ends_it_in_order(fresh, whole, target, nth, act, code):
    ended = search(fresh, faults=(Fault(target, act, nth),))
    assert ended.code == code
    assert "run the same command again to resume" in ended.printed and "Traceback" not in ended.printed
    assert "supernet" in json.loads((fresh / "seconds.json").read_text())
    goes_on(fresh, whole)


def test_a_full_disk_in_the_middle_of_a_trial(trained, whole):
    """A limit on the size of files: the kernel itself writes a part of the line and refuses the rest."""
    lines = (whole / "trials.jsonl").read_bytes().splitlines(keepends=True)
    limit = sum(map(len, lines[:5])) + 100
    ended = search(trained, largest_file=limit)
    assert ended.code == 2
    assert f"{trained}/trials.jsonl: cannot be written: it would exceed the limit on the size of a file" in ended.error
    assert len(Run.open(trained).trials()) == 5
    assert (trained / "trials.jsonl").read_bytes().endswith(b"}\n")
    goes_on(trained, whole)


FULL = {
    "at a checkpoint": (moving("supernet.pt", nth=2, act="full disk"), "checkpoints/supernet.pt"),
    "at the weights": (moving("supernet.safetensors", act="full disk"), "checkpoints/supernet.safetensors"),
    "at the report": (moving("report.html", act="full disk"), "report.html"),
    "at the beginning": (moving("config.json", act="full disk"), "config.json"),
}


@pytest.mark.parametrize("moment", FULL)
def test_a_full_disk(fresh, whole, moment):
    fault, file = FULL[moment]
    ended = search(fresh, faults=(fault,))
    assert ended.code == 2
    advice = "the disk is full; free some space and give the same command again"
    assert ended.error == f"error: {fresh}/{file}: cannot be written: {advice}"
    if moment == "at the beginning":
        ended = search(fresh)
        assert ended.code == 0, ended.printed
    goes_on(fresh, whole)


@pytest.fixture
def small_disk(tmp_path):
    """The function that mounts a file system of so many kB, or gives the mounted one as many."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def sized(kilobytes):
        options = f"size={kilobytes}k" + (",remount" if mounted else "")
        result = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, check=False
        )
        if result.returncode:
            pytest.skip("this user may not mount a file system")
        mounted.append(place)
        return place

    yield sized
    if mounted:
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_disk_that_is_really_full(small_disk, whole, tmp_path):
    """Room for the run's small files and not for the second checkpoint beside the first."""
    checkpoint = moving("supernet.pt", after=True)
    spec = write_spec(tmp_path / "spec", **QUICK)
    assert aebnas("search", spec, "--out", tmp_path / "measured", faults=(checkpoint,)).code == -9
    kilobytes = (tmp_path / "measured" / "checkpoints" / "supernet.pt").stat().st_size // 1024
    run = small_disk(kilobytes * 3 // 2 + 60) / "run"
    ended = aebnas("search", spec, "--out", run)
    assert ended.code == 2
    assert f"{run}/checkpoints/supernet.pt: cannot be written: the disk is full; free some space" in ended.error
    assert torch.load(run / "checkpoints" / "supernet.pt", weights_only=True)["epochs_done"] == 1
    small_disk(50_000)
    goes_on(run, whole)


def test_a_results_folder_that_is_read_only(fresh, whole):
    ended = search(fresh, faults=(moving("config.json", act="read-only"),))
    assert ended.code == 2
    assert ended.error.endswith("the file system is read-only; make it writable or choose another folder")
    fresh.parent.joinpath("file").write_text("")
    ended = aebnas("search", fresh.parent / "spec" / "tiny.yaml", "--out", fresh.parent / "file" / "run")
    assert ended.code == 2
    assert f"{fresh.parent}/file/run: cannot be written: a file is where a folder must be" in ended.error


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_without_the_right_to_write(fresh):
    fresh.mkdir()
    fresh.chmod(0o555)
    assert "permission denied; make the folder writable or choose another one" in search(fresh).error


BAD_CANDIDATES = {
    "no memory": (Fault(NETWORK, "no memory", nth=3), "out of memory"),
    "NaN": (Fault(NETWORK, "NaN", nth=3, after=True), "ValueError: .*NaN"),
}


@pytest.mark.parametrize("what", BAD_CANDIDATES)
def test_one_bad_candidate_is_a_failed_trial(trained, whole, what):
    fault, reason = BAD_CANDIDATES[what]
    ended = search(trained, faults=(fault,))
    assert ended.code == 0, ended.printed
    trials = Run.open(trained).trials()
    assert [trial.status for trial in trials] == ["ok", "ok", "failed"] + ["ok"] * 5
    assert re.match(reason, trials[2].reason)
    assert "1 of 8 trials failed; the first (number 2)" in ended.printed


def test_a_nan_loss_reports_what_to_change(tmp_path):
    supernet = EXPERIMENT["supernet"] | {"lr": 1e30, "momentum": 0.0, "warmup": 0}
    ended = aebnas("search", write_spec(tmp_path / "spec", supernet=supernet), "--out", tmp_path / "run")
    assert ended.code == 2
    assert "supernet: the loss must stay finite, but got nan in epoch 1; lower lr (1e+30)" in ended.error
    assert "in a new run (--out)" in ended.error


@pytest.mark.parametrize("content", [b"", None])
def test_a_checkpoint_that_is_damaged_is_named_with_what_to_do(fresh, whole, content):
    assert search(fresh, faults=(moving("supernet.pt", after=True),)).code == -9
    checkpoint = fresh / "checkpoints" / "supernet.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000] if content is None else content)
    ended = aebnas("resume", fresh)
    assert ended.code == 2
    assert ended.error.startswith(f"error: {checkpoint}: must be a checkpoint of this run, but cannot be read")
    assert "delete it to start this phase again" in ended.error
    checkpoint.unlink()
    goes_on(fresh, whole)


def test_damaged_weights_are_named_with_what_to_do(trained, whole):
    weights = trained / "checkpoints" / "supernet.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    ended = aebnas("resume", trained)
    assert ended.code == 2
    assert f"{weights}: cannot be read as weights: " in ended.error and "delete it" in ended.error
    weights.unlink()
    goes_on(trained, whole)


def test_a_changed_spec_is_refused_with_the_keys_that_differ(finished, whole):
    write_spec(finished.parent / "spec", **QUICK, seed=12)
    ended = search(finished)
    assert ended.code == 2
    assert "these keys differ: experiment.seed (was 11, now 12); give --out another folder" in ended.error
    goes_on(finished, whole)  # `resume` goes by what the run was started with


def test_two_processes_on_one_run(finished, whole, pick):
    """What writes is refused while a search runs; what looks isn't."""
    with Run.open(finished).locked():  # as a search holds it
        for command in (["search", finished.parent / "spec" / "tiny.yaml", "--out", finished], ["resume", finished]):
            ended = aebnas(*command)
            assert (ended.code, "another process is working on this run; wait for it" in ended.error) == (2, True)
        ended = aebnas("retrain", finished, "--pick", pick)
        assert (ended.code, "a search is working on this run; wait for it" in ended.error) == (2, True)
        assert aebnas("show", finished).code == 0
        assert aebnas("evaluate", finished, "--pick", pick).code == 0
        assert aebnas("export", finished, "--pick", pick, "--out", finished.parent / "out").code == 0
    assert (finished / "picks" / f"{pick}.json").exists()


def test_two_picks_are_retrained_at_once(finished, whole, pick):
    others = {line.split(",")[0] for line in (whole / "pareto.csv").read_text().splitlines()[1:]} - {pick}
    picks, ended = [pick, min(others)], {}

    def retrain(name):
        ended[name] = aebnas("retrain", finished, "--pick", name)

    threads = [threading.Thread(target=retrain, args=(name,)) for name in picks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(end.code == 0 for end in ended.values()), ended
    assert {f"retrain {name}" for name in picks} <= set(json.loads((finished / "seconds.json").read_text()))
    assert all((finished / "models" / name / "weights.safetensors").exists() for name in picks)
