import io

import pytest
from rich.console import Console

import aebnas.core.progress
from aebnas.core.progress import progress_bar


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when told to, by `clock[0] += seconds`."""
    now = [100.0]
    monkeypatch.setattr(aebnas.core.progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then_with_the_time_left(clock, capsys):
    with progress_bar("training", 100) as bar:
        for _ in range(50):
            clock[0] += 1.0
            bar.advance(note="loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "training: 15/100, ETA 85 s loss 0.5",
        "training: 30/100, ETA 70 s loss 0.5",
        "training: 45/100, ETA 55 s loss 0.5",
    ]


def test_the_end_is_always_told(clock, capsys):
    with progress_bar("search", 2) as bar:
        clock[0] += 0.5
        bar.advance(2)
    assert capsys.readouterr().err.splitlines() == ["search: 2/2, ETA 0 s "]


def test_a_resumed_phase_is_not_credited_with_earlier_work(clock, capsys):
    with progress_bar("training", 100, done=60) as bar:
        clock[0] += 20.0
        bar.advance(10)
    assert "training: 70/100, ETA 60 s" in capsys.readouterr().err


def test_nothing_goes_to_standard_output(clock, capsys):
    with progress_bar("search", 1) as bar:
        bar.advance()
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(aebnas.core.progress, "Console", lambda stderr: terminal)
    with progress_bar("search", 4, done=1) as bar:
        bar.advance(note="3 ok")
    assert "search" in screen.getvalue() and "2/4" in screen.getvalue() and "3 ok" in screen.getvalue()


def test_a_phase_within_another_is_told_when_it_is_long(clock, capsys):
    with progress_bar("search", 2) as search:
        for seconds in (1.0, 20.0):
            with progress_bar("candidate", 2) as candidate:
                clock[0] += seconds
                candidate.advance()
                candidate.advance()
        search.advance(2)
    assert capsys.readouterr().err.splitlines() == ["candidate: 1/2, ETA 20 s ", "search: 2/2, ETA 0 s "]


def test_steps_of_an_earlier_sitting_do_not_count_in_the_speed(clock, capsys):
    with progress_bar("search", 100) as bar:
        bar.advance(60, earlier=True)
        clock[0] += 20.0
        bar.advance(10)
    assert capsys.readouterr().err.splitlines() == ["search: 70/100, ETA 60 s "]


def test_a_terminal_shows_a_phase_within_another_below_it_while_it_lasts(monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(aebnas.core.progress, "Console", lambda stderr: terminal)
    with progress_bar("search", 2) as search:
        assert search.live is not None
        with progress_bar("candidate", 3) as candidate:
            candidate.advance()
            assert [task.description for task in search.live.tasks] == ["search", "candidate"]
        search.advance(note="front 4")
        assert [task.description for task in search.live.tasks] == ["search"]
    assert "candidate" in screen.getvalue() and "front 4" in screen.getvalue()
