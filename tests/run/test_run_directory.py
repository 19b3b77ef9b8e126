import errno
import json

import pytest

from aebnas.core.errors import UserError
from aebnas.evaluation.operating_points import failed_trial
from aebnas.run.run_directory import Run
from aebnas.strategies.strategy import Job

CONFIG = {"experiment": {"seed": 1, "strategy": {"population": 4}}, "base": "."}
LOCKS = ["notes.lock", "run.lock"]


def names(run) -> list[str]:
    return sorted(path.name for path in run.folder.iterdir())


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
def test_a_partial_last_line_is_dropped_and_the_next_trial_has_its_own(run, make_trial, cut):
    run.append(make_trial(0))
    whole = run.trials_file.read_bytes()
    run.trials_file.write_bytes(whole + whole[:cut])
    assert run.trials() == [make_trial(0)]
    run.drop_torn_line()
    assert run.trials_file.read_bytes() == whole
    run.append(make_trial(1))
    assert run.trials() == [make_trial(0), make_trial(1)]


def test_a_partial_first_line_leaves_nothing(run):
    run.trials_file.write_bytes(b'{"number": 0')
    run.drop_torn_line()
    assert run.trials_file.read_bytes() == b""


def test_dropping_preserves_complete_lines_to_the_byte(run):
    """Including lines that can't be parsed, so that the positions of later lines don't change."""
    run.trials_file.write_bytes(b"\xff\xfe\n\xff torn")
    run.drop_torn_line()
    assert run.trials_file.read_bytes() == b"\xff\xfe\n"


@pytest.mark.parametrize("line", ["{", "[]", "null", '"x"', "{}", '{"number": 1, "architecture": {}}'])
def test_a_corrupt_line_in_the_middle_is_named(run, make_trial, line):
    run.append(make_trial(0))
    with run.trials_file.open("a") as handle:
        handle.write(line + "\n")
    run.append(make_trial(2))
    with pytest.raises(UserError, match=r"trials\.jsonl, line 2: is not a trial: ") as caught:
        run.trials()
    assert "\n" not in str(caught.value)


def test_the_same_spec_resumes(run, make_trial):
    run.append(make_trial(0))
    assert Run.start(run.folder, json.loads(json.dumps(CONFIG))).trials() == [make_trial(0)]


def test_another_spec_is_refused_by_the_keys_that_differ(run):
    other = {"experiment": {"seed": 2, "strategy": {"population": 8}, "new": 1}, "base": "."}
    with pytest.raises(UserError) as caught:
        Run.start(run.folder, other)
    assert (
        "these keys differ: experiment.new (was null, now 1), experiment.seed (was 1, now 2), "
        "experiment.strategy.population (was 4, now 8);"
    ) in str(caught.value)
    assert run.config() == CONFIG


def test_long_values_that_differ_are_cut(run):
    with pytest.raises(UserError) as caught:
        Run.start(run.folder, CONFIG | {"base": "x" * 1000})
    assert len(str(caught.value)) < 300


def test_where_work_is_done_may_change(run):
    config = json.loads(json.dumps(CONFIG))
    config["experiment"] |= {"ray": "auto", "evaluate": {"workers": 3}}
    with pytest.raises(UserError, match=r"differ: experiment\.evaluate \("):  # it wasn't there at all
        Run.start(run.folder, config)
    (run.folder / "config.json").write_text(json.dumps(config))
    config["experiment"] |= {"ray": "local", "evaluate": {"workers": 0}}
    Run.start(run.folder, config)


def test_a_start_killed_before_the_config_was_written_can_be_repeated(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.0a1b2c3d.partial.json").write_text('{"half')
    run = Run.start(tmp_path / "run", CONFIG)
    assert run.config() == CONFIG
    run.recover()
    assert names(run) == ["config.json", *LOCKS]


def test_one_of_two_simultaneous_starts_is_refused(tmp_path):
    run = Run(tmp_path / "run")
    with run.locked(), pytest.raises(UserError, match="another process is working on this run"):
        Run.start(run.folder, CONFIG)
    assert not (run.folder / "config.json").exists()


def test_a_folder_without_config_is_no_run(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        Run.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Run.start(tmp_path / "file" / "run", CONFIG)


def test_json_that_cannot_be_read_is_reported(run):
    (run.folder / "config.json").write_text('{"half')
    with pytest.raises(UserError, match=r"config\.json: cannot be read"):
        Run.open(run.folder).config()


def test_a_second_process_is_refused(run):
    refused = pytest.raises(UserError, match="another process is working on this run")
    with run.locked(), refused, Run.open(run.folder).locked():
        pytest.fail("two at work")
    with Run.open(run.folder).locked():
        pass


def test_seconds_add_up_over_sessions_and_count_broken_off_ones(run, monkeypatch):
    clock = iter([0.0, 1.25, 10.0, 13.0, 20.0, 22.5])
    monkeypatch.setattr("aebnas.run.run_directory.time.monotonic", lambda: next(clock))
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
    assert names(run) == ["config.json", *LOCKS, "seconds.json"]


def test_what_kills_left_is_removed_and_nothing_else(run, make_trial):
    run.append(make_trial(0))
    kept = {run.folder / "models" / "a" / "weights.safetensors", run.folder / ".hidden", run.trials_file}
    left = {run.folder / ".pareto.12345678.partial.csv", run.folder / "models" / "a" / ".x.12345678.partial.json"}
    for path in (kept | left) - {run.trials_file}:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    with run.trials_file.open("a") as handle:
        handle.write('{"half')
    run.recover()
    assert all(path.exists() for path in kept) and not any(path.exists() for path in left)
    assert run.trials_file.read_bytes().endswith(b"}\n")


def test_picks_are_retrained_side_by_side_but_not_beside_a_search(run):
    other = Run.open(run.folder)
    with run.retraining("a"):
        with other.retraining("b"), other.update_lock():
            pass
        with (
            pytest.raises(UserError, match=r"models/a: another process is retraining this pick"),
            other.retraining("a"),
        ):
            pytest.fail("two on one pick")
        with pytest.raises(UserError, match="another process is working on this run"), other.locked():
            pytest.fail("searched while a pick is retrained")
    with run.locked(), pytest.raises(UserError, match="a search is working on this run"), other.retraining("a"):
        pytest.fail("retrained while searched")


def test_a_trial_that_does_not_fit_on_the_disk_leaves_no_half_of_it(run, make_trial, monkeypatch):
    run.append(make_trial(0))
    whole = run.trials_file.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("aebnas.run.run_directory.os.fsync", full)
        with pytest.raises(UserError, match=r"trials\.jsonl: cannot be written: the disk is full; free some space"):
            run.append(make_trial(1))
    assert run.trials_file.read_bytes() == whole
    run.append(make_trial(1))
    assert run.trials() == [make_trial(0), make_trial(1)]


def test_what_ends_a_phase_is_reported_even_if_its_time_cannot_be_written(run):
    (run.folder / "seconds.json").mkdir()
    with pytest.raises(UserError, match=r"seconds\.json"), run.timed("search"):
        pass
    with pytest.raises(UserError, match="what ended it"), run.timed("search"):
        raise UserError("what ended it")


def test_what_was_remembered_once_stays(run):
    assert run.remember_once("precision", lambda: "bf16") == "bf16"
    assert Run.open(run.folder).remember_once("precision", lambda: pytest.fail("asked again")) == "bf16"
    assert run.remember_once("other", lambda: "x") == "x"
