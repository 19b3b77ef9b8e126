import json

import pytest

from aebnas.errors import UserError
from aebnas.evaluate.points import failed_trial
from aebnas.store import Run
from aebnas.strategies.base import Job

CONFIG = {"experiment": {"seed": 1, "strategy": {"population": 4}}, "base": "."}


@pytest.fixture
def run(tmp_path) -> Run:
    return Run.start(tmp_path / "run", CONFIG)


@pytest.fixture
def make_trial(digits):
    """The function from a number to some trial."""
    job = Job(digits.extreme(largest=False), None, "a test")
    return lambda number: failed_trial(number, job, "made up", 0.25)


def test_what_is_appended_is_read_back_by_number(run, make_trial):
    for number in (0, 2, 1):
        run.append(make_trial(number))
    assert run.trials() == Run.open(run.folder).trials() == [make_trial(number) for number in (0, 1, 2)]


def test_a_new_run_has_no_trials(run):
    run.drop_torn_line()
    assert run.trials() == []


@pytest.mark.parametrize("cut", [1, 5, -1])
def test_a_torn_last_line_is_dropped_and_the_next_trial_has_its_own(run, make_trial, cut):
    run.append(make_trial(0))
    whole = run.trials_file.read_bytes()
    run.trials_file.write_bytes(whole + whole[:cut])
    assert run.trials() == [make_trial(0)]
    run.drop_torn_line()
    assert run.trials_file.read_bytes() == whole
    run.append(make_trial(1))
    assert run.trials() == [make_trial(0), make_trial(1)]


def test_a_torn_first_line_leaves_nothing(run):
    run.trials_file.write_bytes(b'{"number": 0')
    run.drop_torn_line()
    assert run.trials_file.read_bytes() == b""


def test_dropping_keeps_finished_lines_to_the_byte(run):
    """Even those that can't be read: what follows them must not move."""
    run.trials_file.write_bytes(b"\xff\xfe\n\xff torn")
    run.drop_torn_line()
    assert run.trials_file.read_bytes() == b"\xff\xfe\n"


@pytest.mark.parametrize("line", ["{", "[]", "null", '"x"', "{}", '{"number": 1, "architecture": {}}'])
def test_a_corrupt_line_in_the_middle_is_named(run, make_trial, line):
    run.append(make_trial(0))
    with run.trials_file.open("a") as handle:
        handle.write(line + "\n")
    run.append(make_trial(2))
    with pytest.raises(UserError, match=r"trials\.jsonl, line 2: is no trial: ") as told:
        run.trials()
    assert "\n" not in str(told.value)


def test_the_same_spec_goes_on(run, make_trial):
    run.append(make_trial(0))
    assert Run.start(run.folder, json.loads(json.dumps(CONFIG))).trials() == [make_trial(0)]


def test_another_spec_is_refused_by_the_keys_that_differ(run):
    other = {"experiment": {"seed": 2, "strategy": {"population": 8}, "new": 1}, "base": "."}
    named = "these keys differ: experiment.new, experiment.seed, experiment.strategy.population \\("
    with pytest.raises(UserError, match=named):
        Run.start(run.folder, other)
    assert run.config() == CONFIG


def test_a_folder_without_config_is_no_run(tmp_path):
    with pytest.raises(UserError, match="is no run"):
        Run.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Run.start(tmp_path / "file" / "run", CONFIG)


def test_json_that_cannot_be_read_is_told(run):
    (run.folder / "config.json").write_text('{"half')
    with pytest.raises(UserError, match=r"config\.json: cannot be read"):
        Run.open(run.folder).config()


def test_whoever_comes_second_is_locked_out(run):
    refused = pytest.raises(UserError, match="another process is working on this run")
    with run.locked(), refused, Run.open(run.folder).locked():
        pytest.fail("two at work")
    with Run.open(run.folder).locked():
        pass


def test_seconds_add_up_over_sittings_and_count_broken_off_ones(run, monkeypatch):
    clock = iter([0.0, 1.25, 10.0, 13.0, 20.0, 22.5])
    monkeypatch.setattr("aebnas.store.time.monotonic", lambda: next(clock))
    assert run.seconds() == {}
    with run.timed("search"):
        pass
    with run.timed("supernet"):
        pass
    with pytest.raises(KeyboardInterrupt), Run.open(run.folder).timed("search"):
        raise KeyboardInterrupt
    assert run.seconds() == {"search": pytest.approx(3.75, abs=0.1), "supernet": 3.0}


def test_nothing_half_written_is_left_behind(run):
    with run.timed("search"):
        pass
    assert sorted(path.name for path in run.folder.iterdir()) == ["config.json", "seconds.json"]
