"""Exit policies on one real network: which has the highest accuracy at equal average MACs, and does difficulty help?

    python experiments/policies_study.py results/cifar10_cpu --pick "avg_macs<=16e6"
    python experiments/policies_study.py results/cifar10_cpu --pick "avg_macs<=16e6" --parts difficulty

Thresholds and temperatures are found on `calibrate`, promises certified on `certify`, all figures are those of the test
set. Every policy decides on the same recorded outputs, so the network is run once over each split (and once over a
blurred test set, for the online adaptation). Writes tables and plots to results/policies; a second run reads the
recorded outputs. `--parts` reruns only some of: `policies` (points, budgets, DAES, promises), `difficulty`
(difficulty.csv, difficulty.json; see difficulty_study.py), `adaptation` (adaptation.json, trajectories.png).

Methods: one confidence threshold for all exits (fixed); exit by exit (greedy); one entropy threshold for all exits
(BranchyNet); Q-learning over exit/continue (RL agent); DART's value iteration with and without Eq. 19; the joint grid
and the Lagrangian sweep, and the joint grid under Eq. 19; thresholds with a risk promise.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from baselines.branchynet import branchynet
from baselines.efficiency_score import EfficiencyScore
from baselines.q_learning import q_frontier
from difficulty_study import at_budgets, difficulty_facts
from studied_network import PER_EXIT, SEED, StudiedNetwork

from aebnas.core.atomic_files import write_json, write_text
from aebnas.core.confidence_intervals import wilson
from aebnas.data.corruptions import corrupt_images
from aebnas.policies.analysis.adaptation_replay import Replay, replay
from aebnas.policies.analysis.description import premature_rate
from aebnas.policies.calibration.reliability import exit_reliability
from aebnas.policies.calibration.risk_control import certify, keeps_final_answer, ordered_by_risk
from aebnas.policies.calibration.tuning import MAX_CANDIDATES
from aebnas.policies.exit_table.exit_table import stacked
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.exit_table.tabulate import with_difficulty_of
from aebnas.policies.threshold_search.find import Found
from aebnas.policies.threshold_search.fixed import fixed
from aebnas.policies.threshold_search.frontier import Frontier, TunedPolicy
from aebnas.policies.threshold_search.greedy import greedy
from aebnas.policies.threshold_search.joint_grid import grid_fits, joint_grid
from aebnas.policies.threshold_search.lagrangian import lagrangian
from aebnas.policies.threshold_search.value_iteration import dart_frontier
from aebnas.report.adaptation_plot import plot_trajectories
from aebnas.report.policy_plot import plot_frontiers
from aebnas.runtime.adaptation import AdaptivePolicy
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.selected.recorded_outputs import SelectedModelOutputs

BETAS = tuple(np.linspace(0.0, 1.0, 21).tolist())
EPSILONS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
DELTA = 0.05
BUDGET_SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Budgets of the tables, as shares of the MACs of the backbone without exits."""
STREAM = 20_000


def main() -> None:
    """Find, measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pick", default="knee")
    parser.add_argument("--out", type=Path, default=Path("results/policies"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    network = StudiedNetwork(SelectedModelOutputs.open(options.run, options.pick))
    options.out.mkdir(parents=True, exist_ok=True)
    with pd.option_context("display.width", 200, "display.max_columns", 30):
        for part in options.parts:
            print(f"{part}\n")
            PARTS[part](network, options.out)


def policies_part(network: StudiedNetwork, out: Path) -> None:
    """All methods: every policy found, the best at budgets, DART's efficiency score, promises."""
    study = Study(network)
    frontiers = study.frontiers()
    points = study.measured(frontiers)
    _write_table(out / "points.csv", points, printed=False)
    _write_table(out / "budgets.csv", study.at_budgets(frontiers))
    _write_table(out / "daes.csv", study.daes(frontiers))
    _write_facts(out / "study.json", study.facts())
    curves = {
        name: (part["test_avg_macs"], part["test_accuracy"]) for name, part in points.groupby("method", sort=False)
    }
    marks = {"all run everything": (network.full_macs, float(network.test.correct_ne[:, -1].mean()))}
    found_on, measured_on = network.calibrate.samples, network.test.samples
    title = f"test set (N = {measured_on:,}), thresholds found on calibrate (N = {found_on:,})"
    plot_frontiers(curves, marks, title, out / "policies.png", zoom=0.03)


def difficulty_part(network: StudiedNetwork, out: Path) -> None:
    """The effect of using the difficulty of images."""
    _write_table(out / "difficulty.csv", at_budgets(network, BUDGET_SHARES))
    _write_facts(out / "difficulty.json", difficulty_facts(network))


def adaptation_part(network: StudiedNetwork, out: Path) -> None:
    """Online adaptation on a stream whose second half is blurred; the trajectories are plotted."""
    figures, stream = adaptation(network, joint_grid(network.problem, PER_EXIT))
    _write_facts(out / "adaptation.json", figures)
    plot_trajectories(stream, out / "trajectories.png")


PARTS: dict[str, Callable[[StudiedNetwork, Path], None]] = {
    "policies": policies_part,
    "difficulty": difficulty_part,
    "adaptation": adaptation_part,
}


def _write_table(path: Path, table: pd.DataFrame, printed: bool = True) -> None:
    write_text(path, table.to_csv(index=False, float_format="%.6g"))
    if printed:
        print(table.to_string(index=False), end="\n\n")


def _write_facts(path: Path, facts: dict[str, Any]) -> None:
    write_json(path, facts)
    print(json.dumps(facts, indent=1), end="\n\n")


class Study:
    """Every method on one network."""

    def __init__(self, network: StudiedNetwork) -> None:
        self.network, self.outputs = network, network.outputs
        self.calibrate, self.test = network.calibrate, network.test

    def frontiers(self) -> dict[str, Found]:
        """The policies of each method, found on `calibrate`."""
        network, problem = self.network, self.network.problem
        last_n = self.calibrate.scores["confidence"][:, -1]
        shifted, shifted_last = network.eq19(self.calibrate, network.tuned)
        published, published_last = network.eq19(network.calibrate_published, network.published)
        return {
            "fixed": fixed(problem),
            "BranchyNet": branchynet(self.calibrate, self.outputs.graph.classes),
            "greedy": greedy(problem, PER_EXIT),
            "RL agent": q_frontier(problem, BETAS, SEED),
            "value iteration": dart_frontier(problem, last_n),
            "DART": dart_frontier(shifted, shifted_last),
            "DART as published": dart_frontier(published, published_last),
            "Lagrangian": lagrangian(problem, PER_EXIT),
            "joint grid": joint_grid(problem, PER_EXIT),
            "joint grid, Eq. 19": joint_grid(shifted, PER_EXIT),
            "risk-controlled": self._promised(),
        }

    def _promised(self) -> Found:
        """The policy of each epsilon; that without early exits where no candidate passes."""
        by_risk = replace(self.calibrate, correct_ne=keeps_final_answer(self.calibrate.correct_ne))
        candidates = ordered_by_risk(self.network.rules.find(by_risk).thinned(MAX_CANDIDATES))
        self.promises = [certify(candidates, self.network.certify, epsilon, DELTA) for epsilon in EPSILONS]
        points = []
        for promise in self.promises:
            figures = score_policy(self.calibrate, promise.policy)
            points.append(TunedPolicy(promise.policy, figures.accuracy, figures.avg_macs))
        return Frontier(tuple(points), self.network.full_macs)

    def measured(self, frontiers: dict[str, Found]) -> pd.DataFrame:
        """Every policy found, with its figures on `calibrate` and on the test set."""
        rows = []
        for method, found in frontiers.items():
            for point in found.points:
                test = self.network.test_for(point.policy)
                figures = score_policy(test, point.policy)
                row = {"method": method, "calibrate_accuracy": point.accuracy, "calibrate_avg_macs": point.cost}
                row |= {"test_accuracy": figures.accuracy, "test_avg_macs": figures.avg_macs}
                row |= {"premature_rate": premature_rate(test, point.policy)}
                row |= {"exit_shares": " ".join(f"{share:.4f}" for share in figures.exit_shares)}
                row |= {"thresholds": " ".join("never" if t is None else f"{t:.5g}" for t in point.policy.thresholds)}
                rows.append(row)
        return pd.DataFrame(rows)

    def at_budgets(self, frontiers: dict[str, Found]) -> pd.DataFrame:
        """Test accuracy and average MACs of the policy that is most accurate on `calibrate` within each budget.

        Thresholds with a risk promise are in `study.json` instead, by their epsilon.
        """
        rows = []
        for method, found in frontiers.items():
            if method == "risk-controlled":
                continue
            row: dict[str, object] = {"method": method}
            for share in BUDGET_SHARES:
                budget = share * self.outputs.macs_without_exits
                chosen = found.within(budget)
                figures = score_policy(self.network.test_for(chosen.policy), chosen.policy)
                fits = chosen.cost <= budget
                row[f"{budget / 1e6:.1f}M"] = (
                    f"{100 * figures.accuracy:.2f} @ {figures.avg_macs / 1e6:.2f}" if fits else "-"
                )
            rows.append(row)
        return pd.DataFrame(rows)

    def daes(self, frontiers: dict[str, Found]) -> pd.DataFrame:
        """DART's score of each method at the cheapest policy that loses at most half a point on `calibrate`.

        Times and energies are average MACs, so speedup and power efficiency are one number.
        """
        target = float(self.calibrate.correct_ne[:, -1].mean()) - 0.005
        alpha = float(np.mean(self.test.alpha_n)) if self.test.alpha_n is not None else 0.0
        static = ExitPolicy("confidence", (None,) * (self.test.exits - 1), temperatures=self.network.temperatures)
        policies = {"static": static} | {name: found.at_accuracy(target).policy for name, found in frontiers.items()}
        policies.pop("risk-controlled")
        before = float(self.outputs.macs_without_exits)
        rows = []
        for method, policy in policies.items():
            figures = score_policy(self.network.test_for(policy), policy)
            score = EfficiencyScore.measured(
                figures.accuracy, before, figures.avg_macs, before, figures.avg_macs, alpha
            )
            low, high = wilson(figures.accuracy, self.test.samples)
            row = {"method": method, "accuracy": figures.accuracy, "low": low, "high": high}
            rows.append(row | {"avg_macs": figures.avg_macs, "speedup": score.speedup, "daes": score.daes})
        return pd.DataFrame(rows)

    def facts(self) -> dict[str, Any]:
        """The network, its exits, and the risk promises."""
        network, outputs = self.network, self.outputs
        return {
            "run": outputs.session.run.name,
            "pick": outputs.id,
            "weights": outputs.state.origin,
            "images": {name: getattr(network, name).samples for name in ("calibrate", "certify", "test")},
            "exit_accuracy": self.test.correct_ne.mean(0).tolist(),
            "macs_to_exit": [int(cost) for cost in self.test.costs["macs"].to_exit().tolist()],  # type: ignore[union-attr]
            "macs_without_exits": outputs.macs_without_exits,
            "temperatures": list(network.temperatures),
            "test_ece": [found.ece for found in exit_reliability(self.test)],
            "joint_grid_is_exact": grid_fits(network.problem, PER_EXIT),
            "promises": [
                {
                    "epsilon": promise.epsilon,
                    "delta": promise.delta,
                    "passed": promise.passed,
                    "test_risk": float((self._lost(promise.policy)).mean()),
                    "test_accuracy": score_policy(self.test, promise.policy).accuracy,
                    "test_avg_macs": score_policy(self.test, promise.policy).avg_macs,
                }
                for promise in self.promises
            ],
        }

    def _lost(self, policy: ExitPolicy) -> np.ndarray:
        taken_n = self.test.exit_taken(policy)
        return ~keeps_final_answer(self.test.correct_ne)[np.arange(self.test.samples), taken_n]


def adaptation(network: StudiedNetwork, found: Found) -> tuple[dict[str, Any], Replay]:
    """Accuracy and average MACs on both halves of the stream with fixed and with adapted thresholds; the latter's
    replay."""
    outputs, test = network.outputs, network.test
    images = corrupt_images(outputs.images("test"), "blur", 2)
    blurred = outputs.table("test-blur-2", network.temperatures, images=images)
    both = stacked(test, with_difficulty_of(blurred, network.tuned.difficulty, images))
    rng = np.random.default_rng(SEED)
    order = np.concatenate([rng.integers(0, test.samples, STREAM // 2) + first for first in (0, test.samples)])
    base = found.at_accuracy(float(network.calibrate.correct_ne[:, -1].mean()) - 0.005).policy
    target = float(score_policy(network.calibrate, base).accuracy)
    adaptive = partial(AdaptivePolicy, base, outputs.graph.classes, target=target)
    settings: dict[str, AdaptivePolicy] = {
        "fixed thresholds": adaptive(eta=0.0, decay=1.0, audit_share=0.0),
        "adapted": adaptive(audit_share=0.02),
    }
    figures: dict[str, Any] = {}
    for name, policy in settings.items():
        stream = replay(both, policy, order)
        for when, part in (("clean", slice(0, STREAM // 2)), ("blurred", slice(STREAM // 2, STREAM))):
            figures[f"{name}, {when}, accuracy"] = float(stream.right_n[part].mean())
            figures[f"{name}, {when}, avg_macs"] = float(stream.cost_n[part].mean())
    figures["all run everything, blurred, accuracy"] = float(blurred.correct_ne[:, -1].mean())
    return figures, stream


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
