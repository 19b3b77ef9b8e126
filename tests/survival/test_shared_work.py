"""Candidates that differ in their policy share one evaluation: its time counts once, and a failure of the machine is
that of one candidate."""

import pytest
from faulty import QUICK, Fault, aebnas
from tiny_run import FEW_GENES, write_spec

from aebnas.run.run_directory import Run

SCORE, TABULATE = "aebnas.evaluation.evaluator:Evaluator.score", "aebnas.evaluation.evaluator:calibrated_tables"
SLOW_S = 3.0
"""As the act `slow` takes."""


@pytest.fixture
def trials_with(tmp_path):
    """The function that searches a space of two architectures with three thresholds each, in two generations, and
    gives the run."""

    def search(fault: Fault) -> Run:
        strategy = {"name": "random", "population": 4, "generations": 2}
        spec = write_spec(tmp_path / "spec", FEW_GENES, **QUICK | {"strategy": strategy})
        ended = aebnas("search", spec, "--out", tmp_path / "run", faults=(fault,))
        assert ended.code == 0, ended.printed
        return Run.open(tmp_path / "run")

    return search


@pytest.mark.parametrize(
    "act, reason", [("no memory", "out of memory"), ("read-only", "OSError: [Errno 30] Read-only file system")]
)
def test_a_failure_of_the_machine_is_that_of_one_candidate(trials_with, act, reason):
    trials = trials_with(Fault(SCORE, act=act)).trials()
    failed = [trial for trial in trials if trial.status == "failed"]
    assert [trial.reason for trial in failed] == [reason]
    same = [trial for trial in trials if trial.architecture == failed[0].architecture]
    assert len(same) == 3, "the architecture is scored again for its other policies"
    assert len(trials) == 6 and {trial.architecture.id for trial in trials if trial.status == "ok"} == {
        trial.architecture.id for trial in trials
    }


def test_a_failure_of_the_architecture_is_that_of_all_its_candidates(trials_with):
    trials = trials_with(Fault(TABULATE, act="NaN")).trials()
    failed = {trial.architecture.id for trial in trials if trial.status == "failed"}
    assert len(failed) == 1 and all("NaN" in trial.reason for trial in trials if trial.status == "failed")
    assert all(trial.status == "failed" for trial in trials if trial.architecture.id in failed)


def test_the_seconds_of_shared_work_add_up_to_its_time(trials_with):
    run = trials_with(Fault(SCORE, act="slow"))
    trials = run.trials()
    assert any(trial.architecture == trials[0].architecture for trial in trials[1:4]), "the slow work is shared"
    assert SLOW_S <= sum(trial.seconds for trial in trials) <= run.seconds()["search"] + 0.1
