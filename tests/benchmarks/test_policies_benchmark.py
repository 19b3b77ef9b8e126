"""The benchmark of threshold vectors at a small size: it compares its results, and ends with its ratio."""

import runpy
import sys

import numpy as np


def test_the_last_line_is_the_ratio(root, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["policies.py", "--vectors", "300", "--samples", "200", "--plain", "100"])
    runpy.run_path(str(root / "benchmarks" / "policies.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("RATIO ") and float(lines[-1].removeprefix("RATIO ")) > 0
    assert "scaled up from 100 vectors" in lines[1] and "equal to the last bit" in lines[-3]


def test_both_loops_say_the_same(root):
    benchmark = runpy.run_path(str(root / "benchmarks" / "policies.py"))
    rng = np.random.default_rng(0)
    table = benchmark["make_table"](300, 4, rng)
    vectors = benchmark["make_vectors"](table, 50, rng)
    assert np.isinf(vectors).any() and np.isin(vectors, table.scores_nk).any()
    found = table.evaluate(vectors)
    for row, vector in enumerate(vectors):
        right, counts = benchmark["tight"](list(table.scores_nk.T), list(table.correct_ne.T), vector)
        assert (right, counts) == (found.right_t[row], found.exit_counts_te[row, :-1].tolist())
        assert benchmark["plain"](table, vector) == (found.right_t[row], found.cost_t[row])
