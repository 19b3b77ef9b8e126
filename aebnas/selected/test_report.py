"""A selected model on the test set: figures of each exit, budgets, traffic, corrupted and out-of-distribution images,
and diagnostics.

Everything is a function of outputs recorded in the run; the network runs only on images that have none yet.
Legend: n samples, e exits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from aebnas.core.metrics import mean_of
from aebnas.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt_images
from aebnas.data.ood_images import noise_like, shuffled_patches
from aebnas.data.splits import CALIBRATE
from aebnas.policies.analysis.adaptation_replay import replay
from aebnas.policies.analysis.description import Description, describe
from aebnas.policies.analysis.diagnostics import diagnose
from aebnas.policies.analysis.traffic import skewed_classes, traffic_figures
from aebnas.policies.exit_table.exit_table import ExitTable, stacked
from aebnas.policies.exit_table.policy_score import sample_costs, score_policy
from aebnas.policies.threshold_search.find import Found
from aebnas.run.events import RunEvents
from aebnas.runtime.adaptation import AdaptivePolicy
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.selected.calibrate import exit_calibrations, prepare, reliability_without
from aebnas.selected.recorded_outputs import TEST, SelectedModelOutputs

TOPS = (1, 5)
BUDGET_SHARES = (0.4, 0.6, 0.8, 1.0)
"""Budgets, where none are named: shares of what the same backbone takes without branches."""
FRONTIER_PER_EXIT, FRONTIER_POINTS = 20, 40
LOADS = (0.5, 0.8, 0.95)
"""Arrival rates, as shares of the rate that the same backbone without branches could just serve."""
REQUESTS = 10_000
ZIPF, SKEWS = 1.0, 5
OOD_IMAGES = 2000
"""At most so many out-of-distribution images of a kind."""
STREAM = 10_000
DROP = 0.05
"""Loss of accuracy under a corruption that is reported, where exits cause it."""
CORRUPTION_LOSS, CORRUPTION_ECE = 0.01, 0.1
"""Accuracy that the last exit alone would gain, and calibration error, that are reported."""
CONFIDENT, OOD_CONFIDENT = 0.9, 0.1
"""A confidence, and the share of out-of-distribution images above it that is reported."""
CONFIDENT_SHARE = f"confidence_above_{CONFIDENT}"


@dataclass(frozen=True)
class Evaluation:
    """All figures, JSON-ready but for `description`. Costs are by name; `saving` is the share of each that a sample
    saves on average against the same backbone without branches. `exits` describes each exit on all samples (its
    temperature, ECE with and without it); `ece_before` is the ECE of the policy's answers without temperatures. What
    wasn't asked for is empty."""

    description: Description
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
        """What `picks/<id>.json` keeps."""
        value = asdict(self)
        depth = value["description"]["class_depth"]
        # a class without samples has no depth, and JSON no NaN
        value["description"]["class_depth"] = depth and [None if each != each else each for each in depth]
        return value


def evaluated(
    answered: SelectedModelOutputs, policy: ExitPolicy, full: bool, budgets: Sequence[float], events: RunEvents
) -> tuple[Evaluation, ExitTable]:
    """Evaluate a policy on the test set; `full` adds corrupted and out-of-distribution images, and online adaptation.

    Also gives the test table. `budgets` are for the mean cost; the best policies within them are found on `calibrate`.
    """
    table = answered.table_for(policy, TEST, keep_logits=True)
    prepared = prepare(answered, None, FRONTIER_PER_EXIT, bool(policy.temperatures))
    others = prepared.finder(prepared.table)
    others_table = answered.table(TEST, prepared.temperatures, keep_logits=True)
    budgets = budgets or [share * answered.macs_without_exits for share in BUDGET_SHARES]
    corruptions = _corrupted(answered, policy) if full else []
    ood = _out_of_distribution(answered, policy, table) if full else []
    found = Evaluation(
        description=describe(table, policy, TOPS),
        exits=exit_records(answered, TEST, policy.temperatures),
        ece_before=reliability_without(table, answered.table(TEST), policy).ece,
        saving=_saving(table, policy),
        budgets=_at_budgets(others, others_table, budgets),
        frontier=_frontier(others, others_table),
        traffic=_in_traffic(table, policy),
        warnings=[
            *diagnose(table, policy, calibrate=answered.table_for(policy, CALIBRATE)),
            *diagnose_other_images(table, policy, corruptions, ood),
        ],
        corruptions=corruptions,
        ood=ood,
        adaptation=_adapted(answered, policy, events) if full else {},
    )
    return found, table


def exit_records(outputs: SelectedModelOutputs, split: str, temperatures: tuple[float, ...]) -> list[dict[str, float]]:
    """Of each exit on all samples of a split: its accuracy alone, its temperature, its ECE with and without that."""
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
    alone = {name: float(costs.taken_only_ne[:, -1].mean()) for name, costs in table.costs.items()}
    return {name: 1 - means[name] / alone[name] for name in table.costs}


def _at_budgets(found: Found, table: ExitTable, budgets: Sequence[float]) -> list[dict[str, Any]]:
    """The policy that is the most accurate on `calibrate` within each budget of average MACs, on the test set."""
    rows = []
    for budget in budgets:
        chosen = found.within(budget)
        figures = describe(table, chosen.policy, TOPS)
        row = {"budget_avg_macs": budget, "met_on_calibrate": chosen.cost <= budget, "accuracy": figures.accuracy}
        row |= {f"top_{k}": share for k, share in (figures.top_accuracy or {}).items()}
        rows.append(row | {"avg_macs": figures.costs["macs"].mean, "exit_shares": list(figures.exit_shares)})
    return rows


def _frontier(found: Found, table: ExitTable) -> list[dict[str, float]]:
    """Policies found on `calibrate`, as accuracy and mean costs on the test set."""
    rows = []
    for point in found.thinned(FRONTIER_POINTS).points:
        figures = score_policy(table, point.policy)
        means = {mean_of(name): value for name, value in figures.mean_cost.items()}
        rows.append({"accuracy": figures.accuracy} | means)
    return rows


def _corrupted(answered: SelectedModelOutputs, policy: ExitPolicy) -> list[dict[str, Any]]:
    images = answered.images(TEST)
    rows = []
    for kind in CORRUPTIONS:
        for severity in SEVERITIES:
            table = answered.table_for(
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


def _out_of_distribution(answered: SelectedModelOutputs, policy: ExitPolicy, test: ExitTable) -> list[dict[str, Any]]:
    """Exits, costs and confidence on images of none of the classes, and how well confidence separates them."""
    images = answered.images(TEST)
    known_n = _confidence(test, policy)
    rows = []
    for kind, made in (("noise", noise_like), ("shuffled_patches", shuffled_patches)):
        table = answered.table_for(policy, f"{TEST}-{kind}", images=made(images, OOD_IMAGES))
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
    """Probability that a test image has more confidence than an out-of-distribution one; ties count half."""
    from sklearn.metrics import roc_auc_score  # takes a second to import, and only `--full` needs it

    is_positive_n = np.repeat([True, False], [len(positive_n), len(negative_n)])
    return float(roc_auc_score(is_positive_n, np.concatenate([positive_n, negative_n])))


def _in_traffic(table: ExitTable, policy: ExitPolicy) -> dict[str, Any]:
    """Open-loop arrivals to one server, with even and with skewed classes, beside the backbone without branches.

    Times are those of the first cost in ms; without one a MAC takes a fixed time, and times are in units of what the
    backbone without branches takes for a sample.
    """
    name = next((cost for cost in table.costs if cost.endswith("_ms")), "macs")
    alone = float(table.costs[name].taken_only_ne[:, -1].mean())
    unit = 1.0 if name.endswith("_ms") else alone
    service_n, alone_ms = sample_costs(table, policy, name) / unit, alone / unit
    rows = []
    for load in LOADS:
        rate_per_s = 1e3 * load / alone_ms
        for who, times_n in (("early exits", service_n), ("without branches", np.array([alone_ms]))):
            figures = traffic_figures(times_n, rate_per_s, REQUESTS, seed=0)
            rows.append({"network": who, "load_without_branches": load, "load": figures.load, **figures.latency_ms})
    result: dict[str, Any] = {
        "unit": "ms" if name.endswith("_ms") else "times the backbone without branches",
        "requests": REQUESTS,
        "queue": rows,
    }
    return result if table.labels_n is None else result | {"skewed": _skewed(table, policy, table.labels_n)}


def _skewed(table: ExitTable, policy: ExitPolicy, labels_n: np.ndarray) -> dict[str, float]:
    """Accuracy and mean costs where classes follow Zipf's law, over several orders of the classes."""
    taken_n, classes = table.exit_taken(policy), int(labels_n.max()) + 1
    right_n = table.correct_ne[np.arange(table.samples), taken_n]
    costs = {mean_of(name): sample_costs(table, policy, name) for name in table.costs}
    draws = [skewed_classes(labels_n, classes, ZIPF, REQUESTS, seed) for seed in range(SKEWS)]
    figures: dict[str, float] = {}
    for name, values_n in {"accuracy": right_n, **costs}.items():
        means = [float(values_n[drawn].mean()) for drawn in draws]
        figures |= {name: float(np.mean(means)), f"{name}_least": min(means), f"{name}_most": max(means)}
    return figures


def _adapted(answered: SelectedModelOutputs, policy: ExitPolicy, events: RunEvents) -> dict[str, float]:
    """Online adaptation on a stream that turns blurred half-way, beside fixed thresholds.

    UCB1 chooses among coefficients a tenth lower, as they are, and a tenth higher.
    """
    if len(answered.graph.exits) == 1:
        return {}
    kind, severity = "blur", SEVERITIES[1]
    clean = answered.table_for(policy, TEST)
    images = corrupt_images(answered.images(TEST), kind, severity)
    both = stacked(clean, answered.table_for(policy, f"{TEST}-{kind}-{severity}", images=images))
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.integers(0, clean.samples, STREAM) + first for first in (0, clean.samples)])
    classes, early = answered.graph.classes, clean.exits - 1
    target = score_policy(answered.table_for(policy, CALIBRATE), policy).accuracy
    arms = tuple(((factor,),) * early for factor in (1.0, 0.9, 1.1))
    settings = {
        "fixed": AdaptivePolicy(policy, classes, target=target, eta=0.0, decay=1.0, audit_share=0.0),
        "adapted": AdaptivePolicy(policy, classes, target=target, audit_share=0.02),
        "adapted, UCB1": AdaptivePolicy(policy, classes, target=target, audit_share=0.02, arms=arms),
    }
    told: dict[str, float] = {}
    for name, adaptive in settings.items():
        stream = replay(both, adaptive, order)
        for when, part in (("clean", slice(0, STREAM)), ("blurred", slice(STREAM, None))):
            told[f"{name}, {when}, accuracy"] = float(stream.right_n[part].mean())
            told[f"{name}, {when}, avg_macs"] = float(stream.cost_n[part].mean())
        if name == "adapted":
            events.adaptation_replayed(answered.id, stream)
    return told


def diagnose_other_images(
    table: ExitTable, policy: ExitPolicy, corruptions: Sequence[dict[str, Any]], ood: Sequence[dict[str, Any]]
) -> Iterator[str]:
    """Diagnostics on other images, one of each kind at the least severity that shows it."""
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
                f"{100 * lost:.1f} points, and the last exit alone would have {100 * could:.1f} more."
            )
        if row["ece"] is not None and row["ece"] > CORRUPTION_ECE and ("confidence", kind) not in reported:
            reported.add(("confidence", kind))
            yield f"Under {name} confidence is not calibrated: it is off by {100 * row['ece']:.0f} points on average."
    for row in ood:
        if row[CONFIDENT_SHARE] > OOD_CONFIDENT:
            what = row["images"].replace("_", " ")
            share = f"{100 * row[CONFIDENT_SHARE]:.0f} %"
            yield f"{share} of out-of-distribution images ({what}) get a confidence above {CONFIDENT}."
