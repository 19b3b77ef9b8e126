import json

import pytest
from tiny_run import own_copy, searched

from aebnas.core.errors import UserError
from aebnas.run.recorded_trials import RecordedTrials
from aebnas.run.run_directory import Run
from aebnas.strategies.trial import Trial


@pytest.fixture
def file(tmp_path_factory, tmp_path):
    """The trials of a finished search, to be changed at will."""
    return own_copy(searched(tmp_path_factory), tmp_path) / "trials.jsonl"


def rewrite(file, change):
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(change(lines)))


def test_they_are_a_sequence_sorted_by_number_whatever_the_order_of_the_lines(file):
    expected = Run(file.parent).trials()
    rewrite(file, reversed)
    trials = RecordedTrials(file)
    assert list(trials) == expected and len(trials) == 8 and trials[2:4] == expected[2:4] and trials[-1] == expected[-1]
    assert trials.numbered(5) == expected[5] and trials.has(7) and not trials.has(8)
    assert list(trials.since(6)) == expected[6:] and list(trials.since(8)) == []
    with pytest.raises(IndexError):
        trials[8]
    with pytest.raises(KeyError):
        trials.numbered(8)


def test_a_trial_is_read_only_when_it_is_asked_for(file, monkeypatch):
    read, from_json = [], Trial.from_json
    monkeypatch.setattr(Trial, "from_json", lambda value: read.append(value["number"]) or from_json(value))
    trials = RecordedTrials(file)
    assert len(trials) == 8 and trials.has(3) and read == []
    trials.numbered(3)
    assert read == [3]
    next(iter(trials))
    assert read == [3, 0]


def test_keys_may_have_any_order_and_the_last_line_may_be_partial(file):
    expected = Run(file.parent).trials()
    rewrite(file, lambda lines: [json.dumps(json.loads(line), sort_keys=True) + "\n" for line in lines] + ['{"numb'])
    assert list(RecordedTrials(file)) == expected
    Run(file.parent).drop_torn_line()
    assert file.read_text().endswith("}\n") and list(RecordedTrials(file)) == expected


def test_of_two_trials_with_one_number_the_last_is_the_recorded_one(file):
    rewrite(file, lambda lines: [*lines, json.dumps(json.loads(lines[2]) | {"origin": "again"}) + "\n"])
    trials = RecordedTrials(file)
    assert len(trials) == 9 and trials.numbered(2).origin == "again"


def test_a_line_that_is_no_trial_is_named(file):
    for line, why in (
        ('{"number": 3, "status": 1}\n', "KeyError"),
        ("nothing\n", "JSONDecodeError"),
        ("{}\n", "KeyError"),
    ):
        rewrite(file, lambda lines, line=line: [*lines[:3], line, *lines[4:]])
        with pytest.raises(UserError, match=rf"trials.jsonl, line 4: is not a trial: {why}"):
            list(RecordedTrials(file))


def test_there_are_none_without_a_file(tmp_path):
    assert list(RecordedTrials(tmp_path / "trials.jsonl")) == []


@pytest.mark.parametrize("torn", ["", "x", "x" * 3_000_000])
def test_a_torn_line_of_any_length_is_dropped(tmp_path, torn):
    run = Run(tmp_path)
    for whole in ("", "one\n", "one\n" + "y" * 2_000_000 + "\n"):
        run.trials_file.write_text(whole + torn)
        run.drop_torn_line()
        assert run.trials_file.read_text() == whole
