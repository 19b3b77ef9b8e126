"""A selected model on the test set: metrics of each exit, budgets, traffic, corrupted and out-of-distribution images,
and diagnostics.

Everything is a function of outputs recorded in the run; the network runs only on images without recorded outputs.
Legend: n samples, e exits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from aebnas.core.metrics import MACS, mean_of
from aebnas.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt_images
from aebnas.data.ood_images import noise_like, shuffled_patches
from aebnas.data.splits import CALIBRATE
from aebnas.policies.analysis.adaptation_replay import replay
from aebnas.policies.analysis.class_report import ClassReport, report_classes
from aebnas.policies.analysis.description import Description, describe
from aebnas.policies.analysis.diagnostics import diagnose
from aebnas.policies.analysis.traffic import skewed_classes, traffic_figures
from aebnas.policies.exit_table.exit_table import ExitTable, stacked
from aebnas.policies.exit_table.policy_score import sample_costs, score_policy
from aebnas.policies.threshold_search.find import Found
from aebnas.run.events import RunEvents
from aebnas.runtime.adaptation import AdaptivePolicy
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.selected.calibrate import exit_calibrations, fit_finder, reliability_without
from aebnas.selected.recorded_outputs import TEST, SelectedModelOutputs

TOPS = (1, 5)
BUDGET_SHARES = (0.4, 0.6, 0.8, 1.0)
"""Default budgets, as shares of the MACs of the same backbone without branches."""
FRONTIER_PER_EXIT, FRONTIER_POINTS = 20, 40
LOADS = (0.5, 0.8, 0.95)
"""Arrival rates, as shares of the maximum service rate of the same backbone without branches."""
REQUESTS = 10_000
ZIPF, SKEWS = 1.0, 5
OOD_IMAGES = 2000
"""Maximum number of out-of-distribution images of each kind."""
STREAM = 10_000
DROP = 0.05
"""Minimum loss of accuracy under a corruption that is reported, if early exits cause it."""
CORRUPTION_LOSS, CORRUPTION_ECE = 0.01, 0.1
"""Minimum gain of using only the last exit, and minimum calibration error, that are reported."""
CONFIDENT, OOD_CONFIDENT = 0.9, 0.1
"""A confidence, and the minimum share of out-of-distribution images above it that is reported."""
CONFIDENT_SHARE = f"confidence_above_{CONFIDENT}"


@dataclass(frozen=True)
class Evaluation:
    """All metrics of an evaluation, JSON-ready except `description` and `classes`.

    Costs are keyed by name. `saving` is the share of each mean cost saved against the same backbone without branches.
    `exits` describes each exit on all samples (accuracy, temperature, ECE with and without it); `ece_before` is the ECE
    of the policy's predictions without temperatures. `corruptions`, `ood` and `adaptation` are empty unless `full`.
    """

    description: Description
    classes: ClassReport
    exits: list[dict[str, float]]
    ece_before: float
    saving: dict[str, float]
    budgets: list[dict[str, Any]]
    frontier: list[dict[str, float]]
    traffic: dict[str, Any]
    warnings: list[str]
    corruptions: list[dict[str, Any]] = field(default_factory=list)
    ood: list[dict[str, Any]] = field(default_factory=list)
    adaptation: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The content of `test.evaluation` in `picks/<id>.json`."""
        return asdict(self) | {"classes": self.classes.to_json()}


def evaluated(
    outputs: SelectedModelOutputs, policy: ExitPolicy, full: bool, budgets: Sequence[float], events: RunEvents
) -> tuple[Evaluation, ExitTable]:
    """Evaluate a policy on the test set; `full` adds corrupted and out-of-distribution images, and online adaptation.

    Returns the evaluation and the test table. `budgets` bound the average MACs; the best policies within them are found
    on `calibrate`. Raises UserError if test images or weights are missing.
    """
    table = outputs.table_for(policy, TEST, keep_logits=True)
    fitted = fit_finder(outputs, None, FRONTIER_PER_EXIT, bool(policy.temperatures), MACS, outputs.tuned_accuracy)
    others = fitted.finder(fitted.table)
    others_table = outputs.table(TEST, fitted.temperatures, keep_logits=True)
    budgets = budgets or [share * outputs.macs_without_exits for share in BUDGET_SHARES]
    corruptions = _corrupted(outputs, policy) if full else []
    ood = _out_of_distribution(outputs, policy, table) if full else []
    found = Evaluation(
        description=describe(table, policy, TOPS),
        classes=report_classes(table, policy, outputs.session.class_names()),
        exits=exit_records(outputs, TEST, policy.temperatures),
        ece_before=reliability_without(table, outputs.table(TEST), policy).ece,
        saving=_saving(table, policy),
        budgets=_at_budgets(others, others_table, budgets),
        frontier=_frontier(others, others_table),
        traffic=_in_traffic(table, policy),
        warnings=[
            *diagnose(table, policy, calibrate=outputs.table_for(policy, CALIBRATE)),
            *diagnose_other_images(table, policy, corruptions, ood),
        ],
        corruptions=corruptions,
        ood=ood,
        adaptation=_adapted(outputs, policy, events) if full else {},
    )
    return found, table


def exit_records(outputs: SelectedModelOutputs, split: str, temperatures: tuple[float, ...]) -> list[dict[str, float]]:
    """For each exit, on all samples of a split: accuracy, temperature, and ECE with and without the temperature."""
    exits = exit_calibrations(outputs.table(split, temperatures), outputs.table(split), temperatures)
    return [
        {
            "accuracy_alone": each.summary.accuracy_alone,
            "temperature": each.temperature,
            "ece": each.reliability.ece,
            "ece_before": each.before.ece,
        }
        for each in exits
    ]


def _saving(table: ExitTable, policy: ExitPolicy) -> dict[str, float]:
    means = score_policy(table, policy).mean_cost
    without_branches = {name: costs.without_exits for name, costs in table.costs.items()}
    return {name: 1 - means[name] / without_branches[name] for name in table.costs}


def _at_budgets(found: Found, table: ExitTable, budgets: Sequence[float]) -> list[dict[str, Any]]:
    """For each budget of average MACs, the policy that is most accurate on `calibrate`, with its test metrics."""
    rows = []
    for budget in budgets:
        best = found.within(budget)
        figures = describe(table, best.policy, TOPS)
        row = {"budget_avg_macs": budget, "met_on_calibrate": best.cost <= budget, "accuracy": figures.accuracy}
        row |= {f"top_{k}": share for k, share in (figures.top_accuracy or {}).items()}
        rows.append(row | {"avg_macs": figures.costs["macs"].mean, "exit_shares": list(figures.exit_shares)})
    return rows


def _frontier(found: Found, table: ExitTable) -> list[dict[str, float]]:
    """Accuracy and mean costs on the test set of the policies found on `calibrate`."""
    rows = []
    for point in found.thinned(FRONTIER_POINTS).points:
        figures = score_policy(table, point.policy)
        means = {mean_of(name): value for name, value in figures.mean_cost.items()}
        rows.append({"accuracy": figures.accuracy} | means)
    return rows


def _corrupted(outputs: SelectedModelOutputs, policy: ExitPolicy) -> list[dict[str, Any]]:
    images = outputs.images(TEST)
    rows = []
    for kind in CORRUPTIONS:
        for severity in SEVERITIES:
            table = outputs.table_for(
                policy, f"{TEST}-{kind}-{severity}", images=corrupt_images(images, kind, severity)
            )
            figures = describe(table, policy)
            rows.append(
                {"corruption": kind, "severity": severity, "accuracy": figures.accuracy}
                | {"exit_shares": list(figures.exit_shares)}
                | {mean_of(name): spread.mean for name, spread in figures.costs.items()}
                | {"ece": figures.ece, "premature_rate": figures.premature_rate}
                | {"last_exit_accuracy": float(table.correct_ne[:, -1].mean())}
            )
    return rows


def _out_of_distribution(outputs: SelectedModelOutputs, policy: ExitPolicy, test: ExitTable) -> list[dict[str, Any]]:
    """Exit shares, costs and confidence on images of no class, and the AUROC of confidence as their detector."""
    images = outputs.images(TEST)
    known_n = _confidence(test, policy)
    rows = []
    for kind, made in (("noise", noise_like), ("shuffled_patches", shuffled_patches)):
        table = outputs.table_for(policy, f"{TEST}-{kind}", images=made(images, OOD_IMAGES))
        figures, confidence_n = score_policy(table, policy), _confidence(table, policy)
        rows.append(
            {"images": kind, "samples": table.samples, "exit_shares": list(figures.exit_shares)}
            | {mean_of(name): value for name, value in figures.mean_cost.items()}
            | {"mean_confidence": float(confidence_n.mean())}
            | {CONFIDENT_SHARE: float((confidence_n > CONFIDENT).mean())}
            | {"auroc": _auroc(known_n, confidence_n)}
        )
    return rows


def _confidence(table: ExitTable, policy: ExitPolicy) -> np.ndarray:
    return table.scores["confidence"][np.arange(table.samples), table.exit_taken(policy)]


def _auroc(positive_n: np.ndarray, negative_n: np.ndarray) -> float:
    """Probability that a test image has a higher confidence than an out-of-distribution one; ties count half."""
    from sklearn.metrics import roc_auc_score  # the import takes a second, and only `--full` needs it

    is_positive_n = np.repeat([True, False], [len(positive_n), len(negative_n)])
    return float(roc_auc_score(is_positive_n, np.concatenate([positive_n, negative_n])))


def _in_traffic(table: ExitTable, policy: ExitPolicy) -> dict[str, Any]:
    """Open-loop arrivals at one server, for the policy and for the backbone without branches, with balanced and with
    skewed classes.

    Service times are the first cost in ms. Without one they are proportional to MACs, in units of the service time of
    the backbone without branches.
    """
    name = next((cost for cost in table.costs if cost.endswith("_ms")), "macs")
    backbone = table.costs[name].without_exits
    unit = 1.0 if name.endswith("_ms") else backbone
    service_n, backbone_ms = sample_costs(table, policy, name) / unit, backbone / unit
    rows = []
    for load in LOADS:
        rate_per_s = 1e3 * load / backbone_ms
        for network, times_n in (("early exits", service_n), ("without branches", np.array([backbone_ms]))):
            figures = traffic_figures(times_n, rate_per_s, REQUESTS, seed=0)
            rows.append({"network": network, "load_without_branches": load, "load": figures.load, **figures.latency_ms})
    result: dict[str, Any] = {
        "unit": "ms" if name.endswith("_ms") else "times the backbone without branches",
        "requests": REQUESTS,
        "queue": rows,
    }
    return result if table.labels_n is None else result | {"skewed": _skewed(table, policy, table.labels_n)}


def _skewed(table: ExitTable, policy: ExitPolicy, labels_n: np.ndarray) -> dict[str, float]:
    """Mean, minimum and maximum of accuracy and mean costs over several Zipf distributions of the classes."""
    taken_n, classes = table.exit_taken(policy), int(labels_n.max()) + 1
    correct_n = table.correct_ne[np.arange(table.samples), taken_n]
    costs = {mean_of(name): sample_costs(table, policy, name) for name in table.costs}
    draws = [skewed_classes(labels_n, classes, ZIPF, REQUESTS, seed) for seed in range(SKEWS)]
    figures: dict[str, float] = {}
    for name, values_n in {"accuracy": correct_n, **costs}.items():
        means = [float(values_n[drawn].mean()) for drawn in draws]
        figures |= {name: float(np.mean(means)), f"{name}_least": min(means), f"{name}_most": max(means)}
    return figures


def _adapted(outputs: SelectedModelOutputs, policy: ExitPolicy, events: RunEvents) -> dict[str, float]:
    """Online adaptation on a stream whose second half is blurred, beside fixed thresholds.

    UCB1 (Auer et al. 2002) selects among coefficients multiplied by 1.0, 0.9 and 1.1.
    """
    if len(outputs.graph.exits) == 1:
        return {}
    kind, severity = "blur", SEVERITIES[1]
    clean = outputs.table_for(policy, TEST)
    images = corrupt_images(outputs.images(TEST), kind, severity)
    both = stacked(clean, outputs.table_for(policy, f"{TEST}-{kind}-{severity}", images=images))
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.integers(0, clean.samples, STREAM) + first for first in (0, clean.samples)])
    classes, early = outputs.graph.classes, clean.exits - 1
    target = score_policy(outputs.table_for(policy, CALIBRATE), policy).accuracy
    arms = tuple(((factor,),) * early for factor in (1.0, 0.9, 1.1))
    settings = {
        "fixed": AdaptivePolicy(policy, classes, target=target, eta=0.0, decay=1.0, audit_share=0.0),
        "adapted": AdaptivePolicy(policy, classes, target=target, audit_share=0.02),
        "adapted, UCB1": AdaptivePolicy(policy, classes, target=target, audit_share=0.02, arms=arms),
    }
    metrics: dict[str, float] = {}
    for name, adaptive in settings.items():
        stream = replay(both, adaptive, order)
        for when, part in (("clean", slice(0, STREAM)), ("blurred", slice(STREAM, None))):
            metrics[f"{name}, {when}, accuracy"] = float(stream.right_n[part].mean())
            metrics[f"{name}, {when}, avg_macs"] = float(stream.cost_n[part].mean())
        if name == "adapted":
            events.adaptation_replayed(outputs.id, stream)
    return metrics


def diagnose_other_images(
    table: ExitTable, policy: ExitPolicy, corruptions: Sequence[dict[str, Any]], ood: Sequence[dict[str, Any]]
) -> Iterator[str]:
    """Diagnostics on corrupted and out-of-distribution images, one per kind, at the lowest severity that shows it."""
    clean, reported = score_policy(table, policy), set()
    for row in corruptions:
        kind = row["corruption"].replace("_", " ")
        name = f"{kind} {row['severity']}"
        lost, could = clean.accuracy - row["accuracy"], row["last_exit_accuracy"] - row["accuracy"]
        cheaper = 1 - row["avg_macs"] / clean.avg_macs
        if lost > DROP and cheaper > 0 and could > CORRUPTION_LOSS and ("early", kind) not in reported:
            reported.add(("early", kind))
            yield (
                f"Under {name} samples leave earlier (mean MACs {100 * cheaper:.0f} % lower): accuracy falls by "
                f"{100 * lost:.1f} points; using only the last exit would give {100 * could:.1f} more."
            )
        if row["ece"] is not None and row["ece"] > CORRUPTION_ECE and ("confidence", kind) not in reported:
            reported.add(("confidence", kind))
            yield f"Under {name} confidence is not calibrated: its ECE is {100 * row['ece']:.0f} points."
    for row in ood:
        if row[CONFIDENT_SHARE] > OOD_CONFIDENT:
            what = row["images"].replace("_", " ")
            share = f"{100 * row[CONFIDENT_SHARE]:.0f} %"
            yield f"{share} of out-of-distribution images ({what}) get a confidence above {CONFIDENT}."
