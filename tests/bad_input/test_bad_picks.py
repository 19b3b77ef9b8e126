"""Picks that fit nothing, notes on them that are none, and folders they can't go to."""

import pytest

PICKS = {
    "nothing": ("", "pick: must be the id of a point on the front, knee, best-accuracy, cheapest or a rule such as "),
    "an unknown id": ("0123456789-abcdef", "pick: must be the id of a point on the front, knee, best-accuracy, cheape"),
    "a misspelt rule": (
        "kneee",
        "pick: must be the id of a point on the front, knee, best-accuracy, cheapest or a rul",
    ),
    "a rule that fits nothing": (
        "avg_macs<=3",
        "pick 'avg_macs <= 3': a point of the front must satisfy it, but the cl",
    ),
    "an accuracy none has": (
        "accuracy>=1",
        "pick 'accuracy >= 1': a point of the front must satisfy it, but the close",
    ),
    "an unknown metric": ("latency<=3", "pick 'latency<=3': metric must be one of accuracy, balanced_accuracy, "),
    "a misspelt metric": (
        "acuracy>=0.3",
        "pick 'acuracy>=0.3': metric must be one of accuracy, balanced_accuracy, worst_cl",
    ),
    "no number": ("avg_macs<=few", "pick 'avg_macs<=few': must bound avg_macs by a number, but got 'avg_macs<=few'"),
    "not a number": (
        "avg_macs<=nan",
        "pick 'avg_macs<=nan': must bound avg_macs by a finite number of at least 0, but",
    ),
    "a percentage": ("accuracy>=97", "pick 'accuracy>=97': must bound accuracy by a fraction in [0, 1], but got 97"),
    "two bounds": (
        "1<=avg_macs<=2",
        "pick '1<=avg_macs<=2': must read 'metric <= number' or 'metric >= number', but go",
    ),
    "an escape": (
        "\x1b[31mred",
        r"pick: must be the id of a point on the front, knee, best-accuracy, cheapest or a ru",
    ),
}


@pytest.mark.parametrize("pick, expected", PICKS.values(), ids=PICKS)
def test_picks_that_fit_nothing(refused, run, pick, expected):
    line = refused(run.parents[1], "evaluate", run, "--pick", pick)
    assert line.startswith(expected), line


def test_notes_on_a_pick_that_are_none(refused, run):
    from aebnas.run.session import RunSession

    _, point = RunSession.open(run).pick("knee")
    point_id = point.id
    (run / "picks").mkdir(exist_ok=True)
    notes = run / "picks" / f"{point_id}.json"
    for content, expected in (
        ("", "cannot be read: Expecting value"),
        ("[1]", "must hold a JSON object, but got list"),
    ):
        notes.write_text(content)
        line = refused(run.parents[1], "evaluate", run, "--pick", point_id)
        assert line.startswith(f"{notes}: {expected}"), line


def test_an_export_into_what_is_no_export(refused, run):
    out = run.parent / "out"
    out.write_text("a file")
    line = refused(run.parents[1], "export", run, "--pick", "knee", "--out", out)
    assert line == f"{out}: must be a directory, but got a file"
    out.unlink()
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    line = refused(run.parents[1], "export", run, "--pick", "knee", "--out", out)
    assert line == f"{out}: must be new, empty or a previous export, but got a folder with thesis.txt"
    line = refused(run.parents[1], "export", run, "--pick", "knee", "--out", run)
    assert line.startswith(f"{run.resolve()}: must be new, empty or a previous export, but got a folder with ")
