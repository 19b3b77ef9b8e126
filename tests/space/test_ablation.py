"""Each ablation is a subspace: all its candidates are in the space."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.core.errors import UserError
from aebnas.core.spec_base import updated
from aebnas.runtime.gate_rules import MinExitByClass
from aebnas.space.ablation import ABLATIONS, ablate
from aebnas.space.genome import Candidate, SearchSpace
from aebnas.space.size import count_architectures
from aebnas.space.spec import SpaceSpec

NAMES = ["skip", "in_stage_sites", "branches", "threshold_genes", "positions", "variants", "resolutions"]
NAMES += ["rectangles", "dag_of_rectangles"]


def draw(space, seed) -> Candidate:
    return space.decode(space.sample(np.random.default_rng(seed)))


@settings(deadline=None, max_examples=50)
@given(name=st.sampled_from(NAMES), ablation=st.sampled_from(sorted(ABLATIONS)), seed=st.integers(0, 2**31))
def test_every_candidate_of_an_ablation_is_in_the_space(make_small, name, ablation, seed):
    space = make_small(name)
    if ablation == "backbone-only" and not all(space.spec.branch(site).optional for site in space.spec.sites()):
        return  # no network of the space is without exits
    candidate = draw(ablate(space, ablation), seed)
    if space.spec.policy.thresholds.genes is None:
        candidate = Candidate(candidate.architecture, None)  # optimised thresholds
    assert space.decode(space.encode(candidate)) == candidate


@settings(deadline=None, max_examples=30)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**31))
def test_each_ablation_removes_its_kind_of_choice(make_small, name, seed):
    space = make_small(name)
    parts = {ablation: ablate(space, ablation) for ablation in ABLATIONS}
    assert draw(parts["backbone-only"], seed).architecture.exits == ()
    policy = draw(parts["fixed-thresholds"], seed).policy
    assert policy is not None and len(set(policy.thresholds)) <= 1
    branches = [draw(parts["fixed-branches"], seed + i).architecture.exits for i in range(8)]
    for site in space.spec.sites():
        here = [e for exits in branches for e in exits if (e.stage, e.block) == (site.stage, site.block)]
        assert len({(e.layers, e.pool) for e in here}) <= 1
        assert all(len(e.layers) == min((d for d in space.spec.branch(site).depth if d), default=0) for e in here)


def test_the_ablations_of_the_digits_space(digits):
    spec = digits.spec
    branches, thresholds, backbone = (ablate(digits, name).spec for name in ABLATIONS)
    assert branches.exits.depth == (1,) and branches.exits.layer == spec.exits.layer[:1]
    assert branches.exits.width == (1.0,) and branches.exits.kernel == (3,) and branches.exits.optional
    assert branches.policy == spec.policy and branches.stages == spec.stages
    assert thresholds.policy.criterion == spec.policy.criterion and thresholds.policy.thresholds.genes == (0.9,)
    assert thresholds.exits == spec.exits and thresholds.stages == spec.stages
    assert backbone.sites() == () and backbone.stages == spec.stages
    sizes = [count_architectures(part) for part in (backbone, branches, thresholds)]
    assert sizes[0] * 4 == sizes[1] < sizes[2] == count_architectures(spec)  # two sites, each with or without an exit


POLICIES = {
    "by place": {"min_exit": "stage1", "min_exit_by_class": {3: "stage2", 4: "last"}},
    "last": {"min_exit": "last"},
    "rules": {"criterion": ["margin", "learned", "confidence"], "min_exit": "stage2"},
    "patience": {"criterion": ["patience", "confidence"], "patience": [2, 3], "min_exit_by_class": {1: "stage2"}},
    "dual": {"criterion": "dual", "stop_thresholds": [0.2, 0.4], "min_exit": "stage1"},
    "genes": {"criterion": ["margin", "entropy"], "thresholds": {"genes": [0.3, 0.8]}, "min_exit": "stage2"},
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("ablation", sorted(ABLATIONS))
def test_an_ablation_changes_one_thing(digits, ablation, name):
    space = SearchSpace(updated(digits.spec, {"policy": POLICIES[name]}))
    whole = space.spec.model_dump()
    if ablation == "fixed-thresholds" and name in ("patience", "dual"):
        with pytest.raises(UserError, match=f"^--ablation fixed-thresholds: policy.criterion: .* but got '{name}'$"):
            ablate(space, ablation)
        return
    part = ablate(space, ablation).spec.model_dump()
    changed = {"fixed-branches": "exits", "fixed-thresholds": "policy", "backbone-only": "exits"}[ablation]
    assert {key for key in whole if part[key] != whole[key]} - {"policy"} <= {changed}
    if ablation == "backbone-only":  # without sites there are no minimum exits
        last = {label: place for label, place in whole["policy"]["min_exit_by_class"].items() if place == "last"}
        first = "last" if whole["policy"]["min_exit"] == "last" else None
        whole["policy"] |= {"min_exit": first, "min_exit_by_class": last}
    assert {key for key in whole["policy"] if part["policy"][key] != whole["policy"][key]} <= (
        {"thresholds"} if ablation == "fixed-thresholds" else set()
    )


def test_under_fixed_thresholds_no_sample_leaves_before_the_minimum_exit(digits):
    space = SearchSpace(updated(digits.spec, {"policy": POLICIES["by place"]}))
    part = ablate(space, "fixed-thresholds")
    names = [site.name for site in part.spec.sites()]
    assert names == ["stage1", "stage2"]
    for seed in range(20):
        candidate = draw(part, seed)
        present = [exit_.site.name for exit_ in candidate.architecture.exits]
        assert candidate.policy.thresholds == (0.9,) * len(present)
        last, second = len(present), present.index("stage2") if "stage2" in present else len(present)
        by_class = [0] * part.spec.classes
        by_class[3:5] = [second, last]
        # `min_exit: stage1` is neutral, since stage1 is the first site, whether the architecture has it or not
        assert candidate.policy.rules == ((MinExitByClass(tuple(by_class)),) if any(by_class) else ())
        assert part.decode(part.encode(candidate)) == candidate


@pytest.mark.parametrize("genes, left", [([0.1, 0.2, "never"], 0.2), (["never"], "never"), ([0.99, 0.85], 0.85)])
def test_of_threshold_genes_the_one_nearest_to_the_fixed_threshold_remains(digits, genes, left):
    policy = {"criterion": "margin", "thresholds": {"genes": genes}}
    space = type(digits)(SpaceSpec.model_validate(digits.spec.model_dump() | {"policy": policy}))
    assert ablate(space, "fixed-thresholds").spec.policy.thresholds.genes == (left,)


def test_an_unknown_ablation_is_refused(digits):
    with pytest.raises(
        UserError, match="must be one of fixed-branches, fixed-thresholds, backbone-only, but got 'all'"
    ):
        ablate(digits, "all")


def test_every_bundled_space_can_be_ablated(bundled):
    sizes = {name: count_architectures(ablate(bundled, name).spec) for name in ABLATIONS}
    assert sizes["backbone-only"] <= sizes["fixed-branches"] < count_architectures(bundled.spec)
    assert sizes["fixed-thresholds"] == count_architectures(bundled.spec)
    for name in ABLATIONS:
        part = ablate(bundled, name)
        candidate = draw(part, 3)
        assert part.decode(part.encode(candidate)) == candidate
