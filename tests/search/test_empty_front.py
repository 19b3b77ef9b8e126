"""Searches in which nothing is feasible: they are finished, and every command says so."""

import json
import shutil

import pytest
from tiny_run import SPACE, searched, write_spec

import aebnas
from aebnas.cli.main import main
from aebnas.core.errors import UserError
from aebnas.evaluation.evaluator import Evaluator
from aebnas.report.run_list import listed
from aebnas.report.run_report import RunReport
from aebnas.run.session import RunSession
from aebnas.search import loop as search_loop
from aebnas.search.empty_front import EmptyFrontReason, NothingFeasible
from aebnas.search.loop import resume_search, run_search
from aebnas.search.multi_seed import search_seeds, seeded_plans
from aebnas.search.plan import make_plan
from aebnas.strategies.trial import Trial

IMPOSSIBLE = ["accuracy >= 1"]
WHY = "no trial of 8 satisfies the constraints; the closest (number "


def start(factory, folder, space=SPACE, **changes):
    """A spec, and the folder of its run with trained weights."""
    (folder / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(searched(factory) / "checkpoints" / "supernet.safetensors", folder / "run" / "checkpoints")
    return write_spec(folder / "spec", space, **changes), folder / "run"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The spec and the folder of a search that found nothing feasible; none may change it."""
    spec, run = start(tmp_path_factory, tmp_path_factory.mktemp("empty"), constraints=IMPOSSIBLE)
    with pytest.raises(NothingFeasible):
        run_search(spec, run, listen=RunReport)
    return spec, run


def ends_with(arguments, capsys) -> str:
    """The one line that a command ends with, at exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert ended.value.code == 2
    return line


def test_it_is_finished_with_an_empty_front(empty):
    _, run = empty
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["finished"], summary["trials"], summary["infeasible"], summary["front_points"]) == (True, 8, 8, 0)
    assert summary["nothing_feasible"].startswith(WHY) and summary["hypervolume"] == 0
    assert summary["nothing_feasible"].endswith("; relax that constraint and give --out another folder")
    assert json.loads((run / "pareto.json").read_text()) == []
    assert (run / "pareto.csv").read_text().startswith("id,accuracy")
    assert (run / "pareto.png").exists() and "[[payload]]" not in (run / "report.html").read_text()
    assert listed(run).state == "finished, nothing feasible"


def test_the_same_command_and_resume_say_why_and_do_nothing_again(empty, monkeypatch, capsys):
    spec, run = empty
    monkeypatch.setattr(search_loop, "candidate_evaluator", lambda *given: pytest.fail("it works again"))
    before = (run / "trials.jsonl").read_bytes()
    (run / "report.html").unlink()  # as after a kill before it was written
    for arguments in (["search", spec, "--out", run], ["resume", run]):
        line = ends_with(arguments, capsys)
        assert WHY in line and "accuracy" in line and "relax that constraint" in line
    assert (run / "trials.jsonl").read_bytes() == before and (run / "report.html").exists()


def test_every_command_that_reads_it_says_why(empty, capsys):
    _, run = empty
    main(["list", str(run.parent)])
    assert "finished, nothing feasible" in capsys.readouterr().out
    main(["show", str(run)])
    printed = capsys.readouterr().out
    assert WHY in printed and "yet" not in printed
    for arguments in (
        ["evaluate", run, "--pick", "knee"],
        ["export", run, "--pick", "avg_macs<=1e9", "--out", run.parent / "exported"],
    ):
        assert WHY in ends_with(arguments, capsys)


def test_it_can_not_be_compared(empty, tmp_path_factory, capsys):
    line = ends_with(["compare", empty[1], searched(tmp_path_factory), "--out", empty[1].parent / "none"], capsys)
    assert "must have a front to be compared, but no trial of 8 satisfies" in line


def test_the_api_opens_it(empty):
    run = aebnas.open(empty[1])
    assert run.front().empty and set(run.trials().status) == {"infeasible"}
    with pytest.raises(UserError, match=r"pick 'knee': the front must hold a point, but .*no trial of 8 satisfies"):
        run.pick("knee")
    with pytest.raises(UserError, match="no trial of 8 satisfies"):
        aebnas.search(empty[0], empty[1])


def test_a_search_that_an_earlier_version_left_unfinished_is_finished_by_resuming_it(empty, tmp_path):
    shutil.copytree(empty[1], tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    new = ("finished", "max_trials", "ended_early", "ended_early_because", "nothing_feasible")
    old = {name: value for name, value in summary.items() if name not in new} | {"finished": False}
    (tmp_path / "run" / "summary.json").write_text(json.dumps(old))
    shutil.copytree(empty[0].parent, tmp_path / "spec")
    assert listed(tmp_path / "run").state == "stopped in search"
    with pytest.raises(NothingFeasible):
        resume_search(tmp_path / "run", RunReport)
    assert listed(tmp_path / "run").state == "finished, nothing feasible"


def test_a_search_in_which_every_trial_failed(tmp_path_factory, tmp_path, monkeypatch, capsys):
    def fail(self, architecture, *more):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Evaluator, "score", fail)
    spec, run = start(tmp_path_factory, tmp_path)
    line = ends_with(["search", spec, "--out", run], capsys)
    assert "all 8 trials failed; the most frequent reason (8 trials): RuntimeError: out of luck; mend its cause" in line
    assert ends_with(["resume", run], capsys) == line
    assert listed(run).state == "finished, all failed" and (run / "report.html").exists()


def test_seeds_without_a_front_are_in_the_summary(tmp_path_factory, tmp_path, monkeypatch, capsys):
    """The second of three seeds finds nothing."""
    score = Evaluator.score
    spec = write_spec(tmp_path / "spec")
    plans = seeded_plans(make_plan(spec, tmp_path / "run"), (1, 2, 3))
    for plan in plans.values():
        (plan.folder / "checkpoints").mkdir(parents=True)
        shutil.copy(searched(tmp_path_factory) / "checkpoints" / "supernet.safetensors", plan.folder / "checkpoints")
    running = []
    monkeypatch.setattr(RunReport, "search_started", lambda self: running.append(self.facts.name))

    def fail_in_one(self, architecture, *more):
        if running[-1] == "run-seed2":
            raise RuntimeError("out of luck")
        return score(self, architecture, *more)

    monkeypatch.setattr(Evaluator, "score", fail_in_one)
    summary = aebnas.search_seeds(spec, [1, 2, 3], tmp_path / "run").summary()
    assert summary["front_points"]["values"][1] == 0 and summary["hypervolume"]["values"][1] == 0
    assert summary["picks"]["knee"]["accuracy"]["n"] == 2
    assert f"note: seed 2: {tmp_path / 'run-seed2'}: all 8 trials failed" in capsys.readouterr().err


def test_seeds_that_all_find_nothing_are_an_error(empty, tmp_path):
    shutil.copytree(empty[0].parent, tmp_path / "spec")
    plans = seeded_plans(make_plan(tmp_path / "spec" / "tiny.yaml", tmp_path / "run"), (11, 12))
    for plan in plans.values():
        shutil.copytree(empty[1], plan.folder)
        config = json.loads((plan.folder / "config.json").read_text())
        config["experiment"]["seed"] = plan.experiment.seed
        (plan.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(NothingFeasible, match="run-seed11: no trial of 8"):
        search_seeds(plans)


def test_the_closest_trial_is_the_one_with_the_smallest_known_violation(tmp_path_factory):
    architecture = RunSession.open(searched(tmp_path_factory)).run.recorded()[0].architecture
    reason = EmptyFrontReason()
    for number, violation in enumerate((0.0, 0.5, 0.25, 0.25)):
        reason.add(Trial(number, architecture, None, "infeasible", (), f"reason {number}", "test", 0.0, violation))
    reason.add(Trial(4, architecture, None, "failed", (), "worker lost", "test", 0.0))
    assert "no trial of 5 satisfies the constraints; the closest (number 2): reason 2; relax" in reason.text()
