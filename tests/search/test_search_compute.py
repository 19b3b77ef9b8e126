"""The compute of a whole run: what each phase and each trial counts, where it is shown, and the bound of a search."""

import json
import shutil

import pytest
from tiny_darts import DARTS
from tiny_darts import SPACE as DAG
from tiny_run import EXPERIMENT, FEW_GENES, TRAIN, Stopped, front_of, own_copy, searched, write_spec

from aebnas.cli.main import main
from aebnas.cost.counts import count_graph
from aebnas.evaluation.evaluator import Evaluator
from aebnas.evaluation.worker_pool import InProcess
from aebnas.report.payload import digest_of, payload
from aebnas.report.run_list import listed
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.search import loop as search_loop
from aebnas.search.compute_bound import ComputeBound
from aebnas.search.loop import resume_search, run_search
from aebnas.selected.retrain import NORM_IMAGES, retrain
from aebnas.space.lowering import lower
from aebnas.strategies.trial import Trial
from aebnas.training.compute.compute_meter import PETA
from aebnas.training.compute.graph_flop import running, step_flop

SCRATCH = {
    "supernet": None,
    "evaluate": EXPERIMENT["evaluate"]
    | {"weights": "scratch(1)", "training": {"batch_size": 64, "precision": "fp32", "lr": 0.1}},
    "retrain": TRAIN | {"epochs": 1, "weights": "scratch"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched(tmp_path_factory)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    base = tmp_path_factory.mktemp("scratch")
    run_search(write_spec(base / "spec", **SCRATCH), base / "run")
    return base / "run"


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def images_of(folder, *splits):
    counts = Run.open(folder).image_counts()
    return sum(counts[split] for split in splits)


def forward(architecture):
    """FLOP of a forward pass for one image."""
    return 2 * count_graph(lower(architecture)).macs.total


def test_the_phases_of_a_search(run):
    found, trials = Run.open(run).pflop(), Run.open(run).trials()
    assert set(found) == {"supernet", "search", "norm statistics"} and summary(run)["pflop"] == found
    assert found["search"] == sum(trial.pflop for trial in trials)
    on_front = {trial.architecture for trial, _ in RunSession.open(run).front()}
    assert found["norm statistics"] * PETA == pytest.approx(128 * sum(map(forward, on_front)))
    rows = (run / "train_epoch_metrics.csv").read_text().splitlines()
    last = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert float(last["pflop"]) == pytest.approx(found["supernet"], rel=1e-4)


def test_an_inheriting_candidate_costs_its_norm_statistics_and_its_tables(run):
    """Forward passes of all nodes on 128 training images, and on those of the two splits."""
    images = 128 + images_of(run, "calibrate", "search")
    evaluated = {trial.architecture.id: trial for trial in Run.open(run).trials() if trial.pflop}
    assert evaluated
    for trial in evaluated.values():
        assert trial.pflop * PETA == pytest.approx(images * forward(trial.architecture), rel=1e-12)


def test_a_separately_trained_candidate_costs_its_training_as_well(scratch):
    steps = images_of(scratch, "train") // 64
    images = 128 + images_of(scratch, "calibrate", "search")
    for trial in Run.open(scratch).trials():
        graph = lower(trial.architecture)
        training = steps * 64 * step_flop(running(graph))
        assert trial.pflop * PETA == pytest.approx(training + images * forward(trial.architecture), rel=1e-12)
    assert set(Run.open(scratch).pflop()) == {"search"}


def test_the_compute_of_shared_work_is_divided_among_its_trials(tmp_path):
    """Two architectures with three thresholds each: the tables of each are made once."""
    run_search(write_spec(tmp_path / "spec", FEW_GENES, strategy={"name": "random", "population": 6}), tmp_path / "run")
    trials = Run.open(tmp_path / "run").trials()
    images = 128 + images_of(tmp_path / "run", "calibrate", "search")
    for architecture in {trial.architecture for trial in trials}:
        own = [trial.pflop for trial in trials if trial.architecture == architecture]
        assert len(own) == 3 and sum(own) * PETA == pytest.approx(images * forward(architecture))


@pytest.mark.parametrize("lines", [0, 5])
def test_a_resumed_search_counts_as_much_as_one_in_one_go(run, tmp_path, lines):
    copy = own_copy(run, tmp_path)
    kept = (copy / "trials.jsonl").read_bytes().splitlines(keepends=True)[:lines]
    (copy / "trials.jsonl").write_bytes(b"".join(kept))
    resume_search(copy)
    assert Run.open(copy).pflop() == Run.open(run).pflop() == summary(copy)["pflop"]


@pytest.mark.parametrize("changes", [{}, SCRATCH], ids=["supernet", "scratch"])
def test_tables_that_a_kill_took_from_the_cache_are_counted_once(tmp_path, changes):
    """Candidates that differ only in their policy share tables, of which a resumed search has none."""
    strategy = {"strategy": {"name": "random", "population": 4, "generations": 2}}
    spec = write_spec(tmp_path / "spec", FEW_GENES, **strategy | changes)
    run_search(spec, tmp_path / "run")
    whole = [trial.to_json() | {"seconds": 0} for trial in Run.open(tmp_path / "run").trials()]
    lines = (tmp_path / "run" / "trials.jsonl").read_bytes().splitlines(keepends=True)
    for kept in (1, 4, 5):
        (tmp_path / "run" / "trials.jsonl").write_bytes(b"".join(lines[:kept]))
        run_search(spec, tmp_path / "run")
        assert [trial.to_json() | {"seconds": 0} for trial in Run.open(tmp_path / "run").trials()] == whole


def test_a_killed_training_of_a_supernet_counts_as_much_as_one_in_one_go(run, tmp_path, monkeypatch):
    spec = write_spec(tmp_path / "spec")

    def stop(self, rows):
        if rows:
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr("aebnas.run.events.TrainingRows.__call__", stop)
        run_search(spec, tmp_path / "run")
    assert Run.open(tmp_path / "run").pflop() == {}
    run_search(spec, tmp_path / "run")
    assert Run.open(tmp_path / "run").pflop() == Run.open(run).pflop()


def test_a_retraining_is_counted_and_shown_with_what_the_search_took(run, tmp_path, capsys):
    copy = own_copy(run, tmp_path)
    point_id, _ = retrain(copy, "knee")
    session = RunSession.open(copy)
    trial, _ = session.pick("knee")
    record = json.loads((copy / "picks" / f"{point_id}.json").read_text())["retrained"]
    graph, train = lower(trial.architecture), images_of(copy, "train")
    training = train // 64 * 64 * step_flop(running(graph))
    for_norms = sum(map(len, session.images.calibration(NORM_IMAGES)))
    forwards = (for_norms + images_of(copy, "calibrate")) * forward(trial.architecture)
    assert record["pflop"] * PETA == pytest.approx(training + forwards)
    found = session.run.pflop()
    assert found == Run.open(run).pflop() | {f"retrain {point_id}": record["pflop"]} == summary(copy)["pflop"]
    assert f"retrain {point_id}" in summary(copy)["seconds"]
    total = f"{sum(found.values()):.3g}"
    main(["show", str(copy)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("PFLOP: ")]
    assert line.startswith(f"PFLOP: supernet {found['supernet']:.3g}, search ") and line.endswith(f"; {total} in all")
    main(["list", str(copy.parent)])
    shown = capsys.readouterr().out
    assert "PFLOP" in shown and total in shown and listed(copy).pflop == pytest.approx(sum(found.values()))
    data = payload(session.facts, digest_of(session.facts))
    assert data["pflop"].endswith(f"; {total} in all") and data["picks"][0]["pflop"] == record["pflop"]
    retrain(copy, "knee", epochs=2)
    assert Run.open(copy).pflop()[f"retrain {point_id}"] > record["pflop"], "that of the present weights"


def test_what_an_earlier_version_did_is_unknown_rather_than_zero(run, tmp_path, capsys):
    copy = own_copy(run, tmp_path)
    lines = (copy / "trials.jsonl").read_text().splitlines()
    values = [json.loads(line) for line in lines]
    for value in values:
        del value["pflop"]
    assert Trial.from_json(values[0]).pflop is None
    (copy / "trials.jsonl").write_text("".join(f"{json.dumps(value)}\n" for value in values[:6]))
    (copy / "pflop.json").unlink()
    main(["show", str(copy)])
    assert "PFLOP" not in capsys.readouterr().out and Run.open(copy).pflop() == {}
    resume_search(copy)
    found = Run.open(copy).pflop()
    assert found["supernet"] is None and found["search"] is None and found["norm statistics"] > 0
    main(["show", str(copy)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("PFLOP: ")]
    assert line.startswith("PFLOP: supernet unknown, search unknown, norm ") and "in all" not in line
    assert listed(copy).pflop is None


def test_relaxed_trainings_are_counted_with_the_networks_they_give(tmp_path):
    run_search(write_spec(tmp_path / "spec", DAG, **DARTS), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    trials = run.trials()
    assert run.pflop()["search"] == pytest.approx(sum(trial.pflop for trial in trials))
    by_weight = [{trial.pflop for trial in trials if f"lambda {weight:g} " in trial.origin} for weight in (0.05, 1.0)]
    rows = (tmp_path / "run" / "train_epoch_metrics.csv").read_text().splitlines()
    last = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    for shares in by_weight:  # of both forms
        assert len(shares) == 1 and 2 * shares.pop() > float(last["pflop"]) > 0


# the bound of a search


def bounded(run, share):
    """`evaluate` with a bound of this share of what the search of `run` took."""
    return {"evaluate": EXPERIMENT["evaluate"] | {"max_pflop": Run.open(run).pflop()["search"] * share}}


def start(run, folder, share):
    """The spec and the folder of a search with a bound, with the supernet of `run`."""
    (folder / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(run / "checkpoints" / "supernet.safetensors", folder / "run" / "checkpoints")
    return write_spec(folder / "spec", **bounded(run, share)), folder / "run"


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7])
def test_a_search_ends_after_the_candidate_that_reaches_its_bound(run, tmp_path, capsys, share):
    spec, folder = start(run, tmp_path, share)
    main(["search", str(spec), "--out", str(folder)])
    printed = capsys.readouterr()
    trials, whole = Run.open(folder).trials(), Run.open(run).trials()
    kept = [trial.to_json() | {"seconds": 0} for trial in trials]
    assert kept == [trial.to_json() | {"seconds": 0} for trial in whole[: len(trials)]] and len(trials) < len(whole)
    bound, used = bounded(run, share)["evaluate"]["max_pflop"], [trial.pflop for trial in trials]
    assert sum(used) >= bound > sum(used[:-1])
    found = summary(folder)
    assert (found["finished"], found["ended_early"], found["trials"]) == (True, "max_pflop reached", len(trials))
    because = f"evaluate.max_pflop ({bound:g}) is reached, with {sum(used):.3g} PFLOP used"
    assert found["ended_early_because"] == because
    assert f"note: {len(trials)} of 8 planned trials: {because}" in printed.err.splitlines()
    assert listed(folder).state == "finished, max_pflop reached" and because in printed.out
    front, before = front_of(folder), (folder / "trials.jsonl").read_bytes()
    main(["resume", str(folder)])
    assert (folder / "trials.jsonl").read_bytes() == before and front_of(folder) == front
    assert f"note: {len(trials)} of 8 planned trials: {because}" in capsys.readouterr().err.splitlines()


def test_a_killed_search_keeps_to_its_bound(run, tmp_path, monkeypatch):
    spec, folder = start(run, tmp_path / "killed", 0.7)
    score, calls = Evaluator.score, []

    def killed(self, *arguments):
        calls.append(1)
        if len(calls) == 4:
            raise Stopped
        return score(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Evaluator, "score", killed)
        run_search(spec, folder)
    assert len(Run.open(folder).trials()) == 3
    run_search(spec, folder)
    whole_spec, whole = start(run, tmp_path / "whole", 0.7)
    run_search(whole_spec, whole)
    found = [[trial.to_json() | {"seconds": 0} for trial in Run.open(each).trials()] for each in (folder, whole)]
    assert found[0] == found[1] and Run.open(folder).pflop() == Run.open(whole).pflop()


class Backwards(InProcess):
    """Workers that finish in another order than that in which candidates were proposed."""

    def score(self, work):
        yield from reversed(list(super().score(work)))


def test_the_order_in_which_workers_finish_does_not_matter(run, tmp_path, monkeypatch):
    spec, plain = start(run, tmp_path / "plain", 0.3)
    run_search(spec, plain)
    spec, other = start(run, tmp_path / "other", 0.3)

    class Opened:
        def __init__(self, evaluator, *others):
            self.pool = Backwards(evaluator)

        def __enter__(self):
            return self.pool

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(search_loop, "open_pool", Opened)
    run_search(spec, other)
    found = [[trial.to_json() | {"seconds": 0} for trial in Run.open(each).trials()] for each in (plain, other)]
    assert found[0] == found[1] and len(found[0]) < 8


def test_outcomes_are_in_order_only_under_a_bound():
    outcomes = [(2, "c"), (0, "a"), (3, "d"), (1, "b")]
    assert list(ComputeBound(None).in_order(iter(outcomes))) == outcomes
    assert list(ComputeBound(1.0).in_order(iter(outcomes))) == sorted(outcomes)
    assert not ComputeBound(None).reached


def test_the_bound_holds_for_the_sum_of_separate_trainings(scratch, tmp_path):
    trials = Run.open(scratch).trials()
    bound = (trials[0].pflop + trials[1].pflop) * 1.01
    spec = write_spec(tmp_path / "spec", **SCRATCH | {"evaluate": SCRATCH["evaluate"] | {"max_pflop": bound}})
    run_search(spec, tmp_path / "run")
    found = Run.open(tmp_path / "run").trials()
    assert [trial.pflop for trial in found] == [trial.pflop for trial in trials[:3]]


def test_a_bound_that_the_last_trial_reaches_is_no_early_end(run, tmp_path):
    spec, folder = start(run, tmp_path, 0.999999)
    run_search(spec, folder)
    assert summary(folder)["trials"] == 8 and summary(folder)["ended_early"] is None


def test_the_bound_of_a_supernet_ends_its_training(run, tmp_path):
    whole = Run.open(run).pflop()["supernet"]
    spec = write_spec(tmp_path / "spec", supernet=EXPERIMENT["supernet"] | {"max_pflop": whole / 3})
    run_search(spec, tmp_path / "run")
    assert whole / 3 <= Run.open(tmp_path / "run").pflop()["supernet"] < whole / 2
    assert summary(tmp_path / "run")["finished"]
