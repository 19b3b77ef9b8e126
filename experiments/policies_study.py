"""Exit policies on one real network: who gets most accuracy out of its average MACs, and does difficulty help?

    python experiments/policies_study.py results/cifar10_cpu --pick "avg_macs<=16e6"

Thresholds and temperatures are found on `calibrate`, promises certified on `certify`, all figures are those of the test
set. Every policy decides on the same kept answers, so the network is run once over each split (and once over a blurred
test set, for the online adaptation). Writes tables and images to results/policies; given again it runs nothing twice.

Contenders: one confidence threshold for all exits (fixed); exit by exit (greedy); one entropy for all exits
(BranchyNet); Q-learning over exit/continue (RL agent); DART's value iteration with and without Eq. 19; the joint grid
and the Lagrangian sweep, and the joint grid under Eq. 19; thresholds with a promise about risk.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from aebnas.policies.analysis.daes import EfficiencyScore
from aebnas.policies.threshold_search.baselines import branchynet, fixed, greedy
from aebnas.policies.threshold_search.q_learning import q_frontier
from sklearn.metrics import roc_auc_score

from aebnas.core.atomic_files import write_json, write_text
from aebnas.core.confidence_intervals import wilson
from aebnas.data.corruptions import shift_images
from aebnas.policies.analysis.adaptation_replay import Replay, replay
from aebnas.policies.analysis.description import premature_rate
from aebnas.policies.calibration.risk_control import careful_to_cheap, certify, keeps_final_answer
from aebnas.policies.calibration.temperature import exit_reliability, fit_temperatures
from aebnas.policies.calibration.tuning import MAX_CANDIDATES, Rules
from aebnas.policies.exit_table.difficulty_fit import estimator_latency_ms, fit_difficulty, raw_terms
from aebnas.policies.exit_table.exit_table import ExitTable, score_policy, stacked
from aebnas.policies.exit_table.tabulate import with_difficulty_of
from aebnas.policies.threshold_search.dart import DartSetting, dart_scores
from aebnas.policies.threshold_search.find import Found
from aebnas.policies.threshold_search.frontier import Frontier, TunedPolicy
from aebnas.policies.threshold_search.joint_grid import grid_fits, joint_grid
from aebnas.policies.threshold_search.lagrangian import lagrangian
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.policies.threshold_search.value_iteration import dart_frontier
from aebnas.report.adaptation_plot import plot_trajectories
from aebnas.report.policy_plot import plot_frontiers
from aebnas.runtime.adaptation import AdaptivePolicy
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.selected.recorded_outputs import SelectedModelOutputs
from aebnas.space.policy_spec import OptimiseSpec, PolicySpec

PER_EXIT = 40
BETAS = tuple(np.linspace(0.0, 1.0, 21).tolist())
EPSILONS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
DELTA = 0.05
BUDGET_SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Budgets of the table, as shares of what the backbone without exits takes."""
STREAM = 20_000
SEED = 11


def main() -> None:
    """Find, measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pick", default="knee")
    parser.add_argument("--out", type=Path, default=Path("results/policies"))
    options = parser.parse_args()
    answered = SelectedModelOutputs.open(options.run, options.pick)
    study = Study(answered)
    frontiers = study.frontiers()
    points = study.measured(frontiers)
    budgets = study.at_budgets(frontiers)
    daes = study.daes(frontiers)
    difficulty = study.about_difficulty(frontiers)
    adapted = study.adaptation(frontiers["joint grid"])
    options.out.mkdir(parents=True, exist_ok=True)
    for name, table in {"points": points, "budgets": budgets, "daes": daes, "difficulty": difficulty}.items():
        write_text(options.out / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
    write_json(options.out / "study.json", study.facts() | {"adaptation": adapted})
    curves = {
        name: (part["test_avg_macs"], part["test_accuracy"]) for name, part in points.groupby("method", sort=False)
    }
    marks = {"all run everything": (study.full_macs, study.last_accuracy)}
    title = f"test set (N = {study.test.samples:,}), thresholds found on calibrate (N = {study.calibrate.samples:,})"
    plot_frontiers(curves, marks, title, options.out / "policies.png", closer=0.03)
    plot_trajectories(study.stream, options.out / "trajectories.png")
    with pd.option_context("display.width", 200, "display.max_columns", 30):
        print(
            budgets.to_string(index=False), daes.to_string(index=False), difficulty.to_string(index=False), sep="\n\n"
        )
    print(json.dumps(study.facts() | {"adaptation": adapted}, indent=1))


class Study:
    """One network's tables under the temperatures of `calibrate`, with the images' difficulty."""

    def __init__(self, answered: SelectedModelOutputs) -> None:
        self.answered = answered
        said = answered.answers("calibrate")
        self.temperatures = fit_temperatures(said.logits_nec.numpy(), said.labels_n.numpy())
        images = answered.images("calibrate")
        difficulty = fit_difficulty(images)
        plain = with_difficulty_of(answered.table("calibrate", self.temperatures), difficulty, images)
        self.rules = Rules(PolicySpec(), OptimiseSpec(per_exit=PER_EXIT))
        self.setting: DartSetting = self.rules.dart_setting(
            plain, difficulty, raw_terms(images, difficulty.tau_edge), SEED
        )
        self.published = DartSetting(difficulty, 0.3, 0.0)
        self.as_published = {split: self._table(split, difficulty) for split in ("calibrate", "test")}
        self.calibrate, self.certify, self.test = (self._table(split) for split in ("calibrate", "certify", "test"))
        self.full_macs = self.calibrate.costs["macs"].full
        self.estimate = int(self.calibrate.difficulty_costs["macs"])
        self.last_accuracy = float(self.test.correct_ne[:, -1].mean())
        self.scored = ThresholdProblem.of(self.calibrate, "confidence")

    def _table(self, split: str, difficulty: Difficulty | None = None) -> ExitTable:
        table = self.answered.table(split, self.temperatures)
        return with_difficulty_of(table, difficulty or self.setting.difficulty, self.answered.images(split))

    def frontiers(self) -> dict[str, Found]:
        """Each contender's policies, found on `calibrate`."""
        last_n = self.calibrate.scores["confidence"][:, -1]
        shifted, shifted_last = self._eq19(self.calibrate, self.setting)
        published, published_last = self._eq19(self.as_published["calibrate"], self.published)
        found: dict[str, Found] = {
            "fixed": fixed(self.scored),
            "BranchyNet": branchynet(self.calibrate, self.answered.graph.classes),
            "greedy": greedy(self.scored, PER_EXIT),
            "RL agent": q_frontier(self.scored, BETAS, SEED),
            "value iteration": dart_frontier(self.scored, last_n),
            "DART": dart_frontier(shifted, shifted_last),
            "DART as published": dart_frontier(published, published_last),
            "Lagrangian": lagrangian(self.scored, PER_EXIT),
            "joint grid": joint_grid(self.scored, PER_EXIT),
            "joint grid, Eq. 19": joint_grid(shifted, PER_EXIT),
        }
        found["risk-controlled"] = self._promised()
        return found

    def _eq19(
        self, table: ExitTable, setting: DartSetting, estimate: int | None = None
    ) -> tuple[ThresholdProblem, np.ndarray]:
        """What a search for DART's base thresholds sees, and the last exit's scores; the estimate is charged."""
        alpha_n = table.alpha_n
        assert alpha_n is not None
        cost = self.estimate if estimate is None else estimate
        scored = dart_scores(self.scored, setting.difficulty, alpha_n, setting.beta_diff, cost)
        return scored, np.maximum(table.scores["confidence"][:, -1] - np.float32(setting.beta_diff) * alpha_n, 0)

    def test_of(self, policy: ExitPolicy) -> ExitTable:
        """The test table with the difficulty that a policy looks at."""
        return self.as_published["test"] if policy.difficulty == self.published.difficulty else self.test

    def _promised(self) -> Found:
        """The policy of each epsilon; that of no early exit where none passes."""
        judged = replace(self.calibrate, correct_ne=keeps_final_answer(self.calibrate.correct_ne))
        candidates = careful_to_cheap(self.rules.find(judged).thinned(MAX_CANDIDATES))
        self.promises = [certify(candidates, self.certify, epsilon, DELTA) for epsilon in EPSILONS]
        points = []
        for promise in self.promises:
            figures = score_policy(self.calibrate, promise.policy)
            points.append(TunedPolicy(promise.policy, figures.accuracy, figures.avg_macs))
        return Frontier(tuple(points), self.full_macs)

    def measured(self, frontiers: dict[str, Found]) -> pd.DataFrame:
        """Every policy found, with its figures on `calibrate` and on the test set."""
        rows = []
        for method, found in frontiers.items():
            for point in found.points:
                test = self.test_of(point.policy)
                figures = score_policy(test, point.policy)
                row = {"method": method, "calibrate_accuracy": point.accuracy, "calibrate_avg_macs": point.cost}
                row |= {"test_accuracy": figures.accuracy, "test_avg_macs": figures.avg_macs}
                row |= {"premature_rate": premature_rate(test, point.policy)}
                row |= {"exit_shares": " ".join(f"{share:.4f}" for share in figures.exit_shares)}
                row |= {"thresholds": " ".join("never" if t is None else f"{t:.5g}" for t in point.policy.thresholds)}
                rows.append(row)
        return pd.DataFrame(rows)

    def at_budgets(self, frontiers: dict[str, Found]) -> pd.DataFrame:
        """Test accuracy and average MACs of the policy that `calibrate` holds for the most accurate within each budget.

        Thresholds with a promise are told by their epsilon instead, in `study.json`.
        """
        rows = []
        for method, found in frontiers.items():
            if method == "risk-controlled":
                continue
            row: dict[str, object] = {"method": method}
            for share in BUDGET_SHARES:
                budget = share * self.answered.macs_without_exits
                chosen = found.within(budget)
                figures = score_policy(self.test_of(chosen.policy), chosen.policy)
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
        static = ExitPolicy("confidence", (None,) * (self.test.exits - 1), temperatures=self.temperatures)
        policies = {"static": static} | {name: found.at_accuracy(target).policy for name, found in frontiers.items()}
        policies.pop("risk-controlled")
        before = float(self.answered.macs_without_exits)
        rows = []
        for method, policy in policies.items():
            figures = score_policy(self.test_of(policy), policy)
            merit = EfficiencyScore.measured(
                figures.accuracy, before, figures.avg_macs, before, figures.avg_macs, alpha
            )
            low, high = wilson(figures.accuracy, self.test.samples)
            row = {"method": method, "accuracy": figures.accuracy, "low": low, "high": high}
            rows.append(row | {"avg_macs": figures.avg_macs, "speedup": merit.speedup, "daes": merit.daes})
        return pd.DataFrame(rows)

    def about_difficulty(self, frontiers: dict[str, Found]) -> pd.DataFrame:
        """What Eq. 19 adds to the joint grid, by thirds of the test images' difficulty, at half of the full cost.

        `free` leaves the estimate of difficulty uncharged.
        """
        assert self.test.alpha_n is not None
        budget = 0.6 * self.answered.macs_without_exits
        free = joint_grid(self._eq19(self.calibrate, self.setting, estimate=0)[0], PER_EXIT)
        policies = {
            "joint grid": frontiers["joint grid"].within(budget).policy,
            "joint grid, Eq. 19": frontiers["joint grid, Eq. 19"].within(budget).policy,
            "joint grid, Eq. 19, free": free.within(budget).policy,
        }
        edges = np.quantile(self.test.alpha_n, (1 / 3, 2 / 3))
        third_n = np.searchsorted(edges, self.test.alpha_n)
        rows = []
        for name, policy in policies.items():
            taken_n = self.test.exit_taken(policy)
            right_n = self.test.correct_ne[np.arange(self.test.samples), taken_n]
            figures = score_policy(self.test, policy)
            charged = figures.avg_macs - (self.estimate if name.endswith("free") else 0)
            row: dict[str, object] = {"method": name, "accuracy": figures.accuracy, "avg_macs": charged}
            for third, told in enumerate(("easy", "middle", "hard")):
                here = third_n == third
                row[f"{told}_accuracy"], row[f"{told}_mean_exit"] = right_n[here].mean(), taken_n[here].mean() + 1
            rows.append(row)
        return pd.DataFrame(rows)

    def adaptation(self, found: Found) -> dict[str, float]:
        """Online adaptation while the images turn blurred half-way through a stream; the trajectories are plotted."""
        images = shift_images(self.answered.images("test"), "blur", 2)
        blurred = self.answered.table("test-blur-2", self.temperatures, images=images)
        both = stacked(self.test, with_difficulty_of(blurred, self.setting.difficulty, images))
        rng = np.random.default_rng(SEED)
        order = np.concatenate(
            [rng.integers(0, self.test.samples, STREAM // 2) + shift for shift in (0, self.test.samples)]
        )
        base = found.at_accuracy(float(self.calibrate.correct_ne[:, -1].mean()) - 0.005).policy
        target = float(score_policy(self.calibrate, base).accuracy)
        classes = self.answered.graph.classes
        told: dict[str, float] = {}
        settings: dict[str, Callable[[], AdaptivePolicy]] = {
            "fixed thresholds": lambda: AdaptivePolicy(
                base, classes, target=target, eta=0.0, decay=1.0, audit_share=0.0
            ),
            "adapted": partial(AdaptivePolicy, base, classes, target=target, audit_share=0.02),
        }
        for name, make in settings.items():
            stream: Replay = replay(both, make(), order)
            for half, part in enumerate((slice(0, STREAM // 2), slice(STREAM // 2, STREAM))):
                when = ("clean", "blurred")[half]
                told[f"{name}, {when}, accuracy"] = float(stream.right_n[part].mean())
                told[f"{name}, {when}, avg_macs"] = float(stream.cost_n[part].mean())
        self.stream = stream
        last = blurred.correct_ne[:, -1]
        return told | {"all run everything, blurred, accuracy": float(last.mean())}

    def facts(self) -> dict[str, object]:
        """What the tables don't tell."""
        answered = self.answered
        alpha_n, wrong_n = self.test.alpha_n, ~self.test.correct_ne[:, 0]
        assert alpha_n is not None
        confidence_n = self.test.scores["confidence"][:, 0]
        return {
            "run": answered.session.run.name,
            "pick": answered.id,
            "weights": answered.state.origin,
            "images": {name: getattr(self, name).samples for name in ("calibrate", "certify", "test")},
            "exit_accuracy": self.test.correct_ne.mean(0).tolist(),
            "macs_to_exit": [int(cost) for cost in self.test.costs["macs"].to_exit().tolist()],  # type: ignore[union-attr]
            "macs_without_exits": answered.macs_without_exits,
            "temperatures": list(self.temperatures),
            "test_ece": [found.ece for found in exit_reliability(self.test)],
            "joint_grid_is_exact": grid_fits(self.scored, PER_EXIT),
            "difficulty": self.setting.difficulty.to_json(),
            "beta_diff": self.setting.beta_diff,
            "beta_diff_as_published": self.published.beta_diff,
            "mean_alpha": float(alpha_n.mean()),
            "estimator_macs": self.estimate,
            "estimator_ms": estimator_latency_ms(self.setting.difficulty, answered.graph.input_shape),
            "auc_of_wrong_at_exit_1": {
                "difficulty": float(roc_auc_score(wrong_n, alpha_n)),
                "confidence": float(roc_auc_score(wrong_n, -confidence_n)),
            },
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
