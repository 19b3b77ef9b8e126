import io

import pytest
from rich.console import Console

from aebnas.core.progress import progress_bar


class Clock:
    """A clock that advances only by `clock.now += seconds`."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def screen():
    """A terminal; `screen.file.getvalue()` is what it shows."""
    return Console(file=io.StringIO(), force_terminal=True, width=120)


def test_a_log_gets_a_line_at_intervals_with_the_eta(clock, capsys):
    with progress_bar("training", 100, clock=clock) as bar:
        for _ in range(50):
            clock.now += 1.0
            bar.advance(note="loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "training: 15/100, ETA 85 s loss 0.5",
        "training: 30/100, ETA 70 s loss 0.5",
        "training: 45/100, ETA 55 s loss 0.5",
    ]


def test_the_end_is_always_reported(clock, capsys):
    with progress_bar("search", 2, clock=clock) as bar:
        clock.now += 0.5
        bar.advance(2)
    assert capsys.readouterr().err.splitlines() == ["search: 2/2, ETA 0 s "]


def test_the_eta_of_a_resumed_phase_ignores_earlier_work(clock, capsys):
    with progress_bar("training", 100, done=60, clock=clock) as bar:
        clock.now += 20.0
        bar.advance(10)
    assert "training: 70/100, ETA 60 s" in capsys.readouterr().err


def test_nothing_is_printed_on_standard_output(capsys):
    with progress_bar("search", 1) as bar:
        bar.advance()
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar(screen):
    with progress_bar("search", 4, done=1, console=screen) as bar:
        bar.advance(note="3 ok")
    shown = screen.file.getvalue()
    assert "search" in shown and "2/4" in shown and "3 ok" in shown


def test_a_phase_within_another_is_reported_when_it_is_long(clock, capsys):
    with progress_bar("search", 2, clock=clock) as search:
        for seconds in (1.0, 20.0):
            with progress_bar("candidate", 2, clock=clock) as candidate:
                clock.now += seconds
                candidate.advance()
                candidate.advance()
        search.advance(2)
    assert capsys.readouterr().err.splitlines() == ["candidate: 1/2, ETA 20 s ", "search: 2/2, ETA 0 s "]


def test_steps_of_an_earlier_session_do_not_count_in_the_speed(clock, capsys):
    with progress_bar("search", 100, clock=clock) as bar:
        bar.advance(60, earlier=True)
        clock.now += 20.0
        bar.advance(10)
    assert capsys.readouterr().err.splitlines() == ["search: 70/100, ETA 60 s "]


def test_a_terminal_shows_a_nested_phase_below_the_outer_one_until_it_ends(screen):
    with progress_bar("search", 2, console=screen) as search:
        assert search.live is not None
        with progress_bar("candidate", 3) as candidate:
            candidate.advance()
            assert [task.description for task in search.live.tasks] == ["search", "candidate"]
        search.advance(note="front 4")
        assert [task.description for task in search.live.tasks] == ["search"]
    assert "candidate" in screen.file.getvalue() and "front 4" in screen.file.getvalue()
