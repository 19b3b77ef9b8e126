"""The Pareto front of a search, and the choice of one operating point from it."""

from collections.abc import Callable, Iterable, Sequence

from aebnas.core.errors import UserError
from aebnas.core.metrics import METRICS, Constraint, Objective, leading_accuracy
from aebnas.core.pareto import knee
from aebnas.strategies.front_archive import FrontArchive
from aebnas.strategies.front_archive import FrontPoint as FrontPoint
from aebnas.strategies.front_archive import minimised as minimised
from aebnas.strategies.trial import Trial


def front(
    trials: Iterable[Trial], objectives: Sequence[Objective], constraints: Sequence[Constraint]
) -> list[FrontPoint]:
    """Non-dominated operating points of ok trials that satisfy every constraint, sorted by the first objective.

    Of points with equal objectives only that of the trial with the lowest number is returned.
    """
    archive = FrontArchive(objectives, constraints)
    archive.add(trials)
    return archive.points


def pick(front_points: Sequence[FrontPoint], objectives: Sequence[Objective], rule: str) -> FrontPoint:
    """One point of a front (in the order of `front`), by `rule`.

    `rule` is a point's id or a unique prefix of it, `knee`, `best-accuracy`, `cheapest`, or a constraint. A constraint
    such as `avg_macs<=5e6` selects the most accurate point that satisfies it, whatever the order of the objectives. The
    most accurate is the best in the first objective that is maximised; where there is none, in `accuracy`, which is
    recorded for every point. A constraint on an accuracy (`accuracy>=0.9`, `worst_class_accuracy>=0.7`) selects the
    cheapest point that satisfies it. Raises UserError where no point matches.
    """
    rule = rule.strip()
    if not front_points:
        raise UserError(f"pick '{rule}': the front must hold a point, but it is empty")
    if rule in RULES:
        return RULES[rule](front_points, objectives)
    if "<" in rule or ">" in rule:
        try:
            constraint = Constraint.parse(rule)
        except UserError as error:
            raise UserError(f"pick '{rule}': {error}") from None
        return _pick_within(front_points, objectives, constraint)
    exact = [pair for pair in front_points if pair[1].id == rule]
    if len(exact) > 1:
        policies = " and ".join(f"{trial.architecture} under {point.policy.to_json()}" for trial, point in exact[:2])
        raise UserError(f"pick '{rule}': must be the id of one point, but two points have the same id: {policies}")
    if exact:
        return exact[0]
    matches = [pair for pair in front_points if rule and pair[1].id.startswith(rule)]
    if len(matches) > 1:
        ids = ", ".join(point.id for _, point in matches[:4]) + (", ..." if len(matches) > 4 else "")
        raise UserError(f"pick '{rule}': must be the prefix of one id only, but matches {ids}")
    if not matches:
        allowed = f"the id of a point on the front, {', '.join(RULES)} or a rule such as 'avg_macs<=5e6'"
        raise UserError(f"pick: must be {allowed}, but got '{rule}'")
    return matches[0]


def _knee(points: Sequence[FrontPoint], objectives: Sequence[Objective]) -> FrontPoint:
    return points[knee(minimised(points, objectives))]


def _best_accuracy(points: Sequence[FrontPoint], objectives: Sequence[Objective]) -> FrontPoint:
    """The most accurate (see `leading_accuracy`); of ties the first on the front."""
    accuracy = leading_accuracy(objectives)
    return max(points, key=lambda pair: pair[1].metrics[accuracy])


def _cheapest(points: Sequence[FrontPoint], objectives: Sequence[Objective]) -> FrontPoint:
    """Best in the first objective that is minimised; of ties the most accurate."""
    costs = [objective for objective in objectives if METRICS[objective.metric].direction == "min"]
    if not costs:
        raise UserError("pick 'cheapest': the search must have an objective that is minimised, but has none")
    accuracy = leading_accuracy(objectives)
    return min(points, key=lambda pair: (costs[0].minimised(pair[1].metrics), -pair[1].metrics[accuracy]))


def _pick_within(points: Sequence[FrontPoint], objectives: Sequence[Objective], constraint: Constraint) -> FrontPoint:
    known = [pair for pair in points if constraint.metric in pair[1].metrics]
    if not known:
        metrics = ", ".join(points[0][1].metrics)
        raise UserError(
            f"pick '{constraint}': must bound a metric of the run's points ({metrics}), but got {constraint.metric}"
        )
    within = [pair for pair in known if constraint.satisfied(pair[1].metrics)]
    if within:
        rule = _cheapest if METRICS[constraint.metric].direction == "max" else _best_accuracy
        return rule(within, objectives)
    values = [point.metrics[constraint.metric] for _, point in known]
    closest = min(values) if constraint.sense == "<=" else max(values)
    unit = METRICS[constraint.metric].unit
    unit = "" if unit == "fraction" else f" {unit}"
    raise UserError(f"pick '{constraint}': a point of the front must satisfy it, but the closest has {closest:g}{unit}")


RULES: dict[str, Callable[[Sequence[FrontPoint], Sequence[Objective]], FrontPoint]] = {
    "knee": _knee,
    "best-accuracy": _best_accuracy,
    "cheapest": _cheapest,
}
"""The named rules of `--pick`."""
