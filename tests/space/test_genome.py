"""Genomes: every one decodes, encode and decode agree, inactive genes make no difference."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.core.resolution import Resolution
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import Graph
from aebnas.space.architecture import Architecture, Block, BranchLayer, Exit
from aebnas.space.genome import Candidate
from aebnas.space.lowering import lower


def genome_of(space, **choices):
    """The genome with these choices (`stage1__block1__op="skip"`), and the first choice elsewhere."""
    named = {name.replace("__", "."): value for name, value in choices.items()}
    assert set(named) <= set(space.genes)
    return tuple(values.index(named.get(name, values[0])) for name, values in space.genes.items() if len(values) > 1)


def genomes(space):
    return st.tuples(*(st.integers(0, size - 1) for size in space.gene_sizes))


def assert_round_trip(space, genome):
    candidate = space.decode(genome)
    lower(candidate.architecture)  # can be built
    again = space.decode(space.encode(candidate))
    assert again == candidate
    assert again.architecture.id == candidate.architecture.id
    assert space.encode(again) == space.encode(candidate)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_every_genome_round_trips_in_bundled_spaces(bundled, data):
    assert_round_trip(bundled, data.draw(genomes(bundled)))


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_every_genome_round_trips_in_small_spaces(small, data):
    assert_round_trip(small, data.draw(genomes(small)))


def test_samples_cover_the_space_and_repeat_with_the_seed(make_small, everything):
    space = make_small("skip")
    draws = [space.sample(np.random.default_rng(5)) for _ in range(2)]
    assert draws[0] == draws[1]
    rng = np.random.default_rng(0)
    found = {space.decode(space.sample(rng)).architecture.id for _ in range(2000)}
    assert found == {candidate.architecture.id for candidate in everything(space)}


def test_a_space_of_one_architecture_has_an_empty_genome(make_small, rng):
    space = make_small("costly_branch")
    assert space.sample(rng) == ()
    assert space.encode(space.decode(())) == ()


@pytest.mark.parametrize("genome, problem", [((0,), "must have"), (None, "gene stem.width must be in 0..1")])
def test_invalid_genomes_are_refused(make_small, genome, problem):
    space = make_small("skip")
    with pytest.raises(ValueError, match=problem):
        space.decode(genome or (2,) + (0,) * (len(space.gene_sizes) - 1))


def test_a_skip_between_blocks_is_removed(digits):
    mb = {"stage1__block1__op": "mbconv"}
    with_depth = digits.decode(genome_of(digits, **mb, stage1__depth=1)).architecture
    skipped = digits.decode(genome_of(digits, **mb, stage1__depth=2, stage1__block2__op="skip")).architecture
    skip_first = digits.decode(
        genome_of(digits, stage1__depth=2, stage1__block1__op="skip", stage1__block2__op="mbconv")
    ).architecture
    assert with_depth.id == skipped.id == skip_first.id
    assert skipped.stages[0].blocks == (Block(op="mbconv", kernel=3, expand=2.0),)


def test_mb_skip_mb_is_mb_mb(make_small):
    space = make_small("skip")  # depths 1 and 3
    op = {f"stage1__block{number}__op": "basic" for number in (1, 2, 3)}
    ids = {
        space.decode(genome_of(space, **op | {f"stage1__block{gone}__op": "skip"}, stage1__depth=3)).architecture.id
        for gone in (1, 2, 3)
    }
    assert len(ids) == 1
    assert ids != {space.decode(genome_of(space, **op, stage1__depth=3)).architecture.id}


def test_a_stage_of_skips_has_one_block_of_the_first_other_op(make_small):
    space = make_small("branches")  # op: [skip, mbconv, basic]
    skips = {"stage1__block1__op": "skip", "stage1__block2__op": "skip"}
    for depth in (1, 2):
        stage = space.decode(genome_of(space, **skips, stage1__depth=depth)).architecture.stages[0]
        assert stage.blocks == (Block(op="mbconv", kernel=1, expand=2.0),)


@pytest.mark.parametrize(
    "active, inactive",
    [
        ({"stage1__depth": 1}, {"stage1__block2__op": "mbconv"}),
        ({"stage1__depth": 1}, {"stage1__block2__kernel": 5}),
        ({"stage1__depth": 2, "stage1__block2__op": "skip"}, {"stage1__block2__kernel": 5}),
        ({"stage1__block1__op": "basic"}, {"stage1__block1__expand": 3.0}),
        ({"exit__stage1__present": False}, {"exit__stage1__depth": 2}),
        (
            {"exit__stage1__present": True, "exit__stage1__depth": 1},
            {"exit__stage1__layer2__op": "maxpool"},
        ),
        (
            {"exit__stage1__present": True, "exit__stage1__depth": 1, "exit__stage1__layer1__op": "avgpool"},
            {"exit__stage1__layer1__width": 2.0},
        ),
    ],
)
def test_inactive_genes_make_no_difference(digits, active, inactive):
    plain, changed = genome_of(digits, **active), genome_of(digits, **active, **inactive)
    assert plain != changed
    assert digits.decode(plain).architecture.id == digits.decode(changed).architecture.id


@pytest.mark.parametrize(
    "active",
    [
        {"stage1__depth": 2, "stage1__block2__op": "mbconv", "stage1__block2__kernel": 5},
        {"stage1__block1__op": "mbconv", "stage1__block1__expand": 3.0},
        {"exit__stage1__present": True, "exit__stage1__depth": 2},
        {"stage3__width": 48},
    ],
)
def test_active_genes_make_a_difference(digits, active):
    ids = {digits.decode(genome_of(digits, **genes)).architecture.id for genes in (active, {})}
    assert len(ids) == 2


@pytest.mark.parametrize(
    "active, inactive",
    [
        ({"stage1__block1__op": "basic"}, {"stage1__block1__se": True}),
        ({"exit__stage1__present": False}, {"exit__stage1__pool": "max"}),
        ({"exit__stage1__present": True, "exit__stage1__layer1__op": "maxpool"}, {"exit__stage1__layer1__se": False}),
        ({"exit__stage1__present": True, "exit__stage1__layer1__op": "resize"}, {"exit__stage1__layer1__se": False}),
    ],
)
def test_choices_of_attributes_that_an_op_lacks_make_no_difference(make_small, active, inactive):
    space = make_small("variants")
    ids = {space.decode(genome_of(space, **active | more)).architecture.id for more in ({}, inactive)}
    assert len(ids) == 1
    varied = {space.decode(genome_of(space, **more)).architecture.id for more in ({}, {"stage1__block1__se": True})}
    assert len(varied) == 2  # mbconv has the attribute


def test_positions_and_sites_have_choices_of_their_own(make_small):
    genes = make_small("positions").genes
    assert genes["stage1.block1.op"] == ("basic", "conv") and genes["stage1.block1.kernel"] == (3,)
    assert genes["stage1.block2.kernel"] == (1, 3) and genes["stage1.block2.expand"] == (2.0,)
    assert genes["stage1.block3.expand"] == (1.0, 2.0) and genes["stage1.block3.op"] == ("mbconv",)
    assert genes["exit.stage1.depth"] == (0, 1) and genes["exit.stage1.present"] == (False, True)
    assert genes["exit.stage2.depth"] == (1,) and genes["exit.stage2.present"] == (True,)
    assert genes["exit.stage2.layer1.op"] == ("conv", "maxpool")  # the choice given for all sites
    assert genes["exit.stage2.layer1.width"] == (1.0, 2.0)


def test_images_are_resized_where_the_resolution_differs(make_small):
    space = make_small("resolutions")  # 6, 7 or 8 pixels of images of 7
    for side, image in [(6, 7), (7, None), (8, 7)]:
        architecture = space.decode(genome_of(space, input__resolution=Resolution(side, side))).architecture
        written = architecture.to_json()
        assert (written["resolution"], written.get("image_size"), architecture.image_shape) == (side, image, (1, 7, 7))
        graph = lower(architecture)
        assert graph.input_shape == (1, 7, 7)
        assert graph.shapes["stem"][1:] == (side, side)
        assert (graph.nodes[0].op == "resize") == (image is not None)
        assert str(architecture).startswith("4 |" if image is None else f"{side}px 4 |")
    assert space.extreme(True).resolution == Resolution(8, 8) and space.extreme(False).resolution == Resolution(6, 6)


def test_images_that_are_not_square_are_resized_to_each_resolution(make_small):
    space = make_small("rectangles")  # 6x10 or 9x4 pixels of images of 6x10
    genome = genome_of(space, input__resolution=Resolution(9, 4))
    architecture = space.decode(genome).architecture
    written = json.loads(json.dumps(architecture.to_json()))
    assert (written["resolution"], written["image_size"]) == ("9x4", "6x10")
    assert type(architecture).from_json(written) == architecture
    assert space.encode(space.decode(genome)) == genome
    graph = lower(architecture)
    assert graph.nodes[0].attrs == (("side", (9, 4)),)
    assert (graph.input_shape, graph.shapes["stem"]) == ((2, 6, 10), (4, 9, 4))
    assert Graph.from_json(json.loads(json.dumps(graph.to_json()))) == graph
    assert str(architecture).startswith("9x4px 4 |")
    assert space.extreme(True).resolution == Resolution(6, 10)  # of the larger area


def test_an_exit_inside_a_stage_needs_a_later_block(make_small):
    space = make_small("in_stage_sites")
    present = {f"exit.{site.name}.present".replace(".", "__"): True for site in space.spec.sites()}
    for depth, expected in [(1, [None]), (2, [1, None]), (3, [1, 2, None])]:
        architecture = space.decode(genome_of(space, **present, stage1__depth=depth)).architecture
        assert [e.block for e in architecture.exits if e.stage == 0] == expected


def test_policy_genes_belong_to_present_exits(make_small):
    space = make_small("threshold_genes")
    one = {"exit__stage2__present": True, "policy__stage2__threshold": 0.9, "policy__criterion": "confidence"}
    candidate = space.decode(genome_of(space, **one))
    assert candidate.policy == ExitPolicy("confidence", (0.9,))
    assert space.decode(genome_of(space, **one, policy__stage1__threshold="never")) == candidate
    never = one | {"policy__stage2__threshold": "never"}
    assert space.decode(genome_of(space, **never)).policy == ExitPolicy("margin", (None,))  # criterion inactive
    other = space.decode(genome_of(space, **one | {"policy__stage2__threshold": 0.5}))
    assert other.architecture.id == candidate.architecture.id


def test_encode_refuses_candidates_of_another_space(digits, make_small, architectures):
    stranger, ours = make_small("skip").extreme(True), architectures(digits, 1)[0]
    wider = ours.model_copy(update={"stages": (ours.stages[0].model_copy(update={"width": 9}), *ours.stages[1:])})
    for architecture, policy in [(stranger, None), (wider, None), (ours, ExitPolicy("margin", (0.5,) * 3))]:
        with pytest.raises(ValueError, match=r"must be one of|not of this space"):
            digits.encode(Candidate(architecture, policy))


def test_extremes(bundled, architectures):
    largest, smallest = bundled.extreme(True), bundled.extreme(False)
    assert len(largest.exits) == len(bundled.spec.sites())
    inside = bundled.spec.dag is not None  # a node that isn't reached has no exit
    assert len(smallest.exits) == (0 if bundled.spec.exits.optional or inside else len(largest.exits))
    for architecture in architectures(bundled, 50):
        assert smallest.resolution <= architecture.resolution <= largest.resolution
        for small, stage, great in zip(smallest.stages, architecture.stages, largest.stages, strict=True):
            assert small.width <= stage.width <= great.width
            assert len(small.blocks) <= len(stage.blocks) <= len(great.blocks)


def test_sampled_branches_preserve_the_backbone_and_change_the_id(bundled, architectures, rng):
    for backbone in architectures(bundled, 20):
        before = backbone.id  # the cached id must not be copied
        drawn = bundled.sample_branches(backbone, rng)
        assert drawn.stages == backbone.stages
        assert drawn.id == Architecture.from_json(drawn.to_json()).id
        assert (drawn.id == before) == (drawn == backbone)
        assert drawn.cells == backbone.cells
        parts = [c.nodes for c in backbone.cells] or [len(stage.blocks) for stage in backbone.stages]
        reached = [{0, *(e.target for e in c.edges)} for c in backbone.cells] or [set(range(n)) for n in parts]
        active = [s for s in bundled.spec.sites() if s.block is None or s.block in reached[s.stage]]
        assert [(e.stage, e.block) for e in drawn.exits] == [(s.stage, s.block) for s in active]
        genes = bundled.spec.policy.thresholds.genes
        criterion = bundled.spec.policy.criterion[0]
        policy = None if genes is None else ExitPolicy(criterion, (genes[0],) * len(drawn.exits))
        bundled.encode(Candidate(drawn, policy))


def test_architectures_round_trip_through_json(bundled, architectures):
    for architecture in architectures(bundled, 50):
        again = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
        assert again == architecture
        assert again.id == architecture.id
        assert hash(again) == hash(architecture)


def test_ids_are_the_same_in_every_process(make_small):
    """Result files refer to ids, so the hash must not change."""
    architecture = make_small("costly_branch").decode(()).architecture
    assert architecture.id == "3c3f35dbce"
    assert str(architecture) == "8 | 8:basic1 4/2:basic1 | @1[conv3x4,conv3x4,conv3x4]"


def test_ids_of_committed_results_are_still_valid(root):
    """New fields are omitted from the JSON at their default."""
    lines = (root / "results" / "cifar10_mini" / "trials.jsonl").read_text(encoding="utf-8").splitlines()[:20]
    for trial in map(json.loads, lines):
        architecture = Architecture.from_json(trial["architecture"])
        assert architecture.to_json() == trial["architecture"]
        assert {point["architecture_id"] for point in trial["points"]} <= {architecture.id}


def test_the_text_shows_all_that_is_not_at_its_default():
    block = Block(op="mbconv", kernel=5, expand=4.0, se=True, act="hswish")
    layer = BranchLayer(op="resize+conv", kernel=3, width=2.0, side=8)
    assert (str(block), str(layer)) == ("mbconv5e4-se-hswish", "resize+conv3x2@8")


def test_an_exit_after_a_missing_block_cannot_be_lowered(make_small):
    architecture = make_small("costly_branch").decode(()).architecture
    wrong = architecture.model_copy(update={"exits": (Exit(stage=0, block=1, layers=()),)})
    with pytest.raises(ValueError, match="every exit must be at a site that exists"):
        lower(wrong)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_policy_is_written_to_its_genes_only(make_small, data):
    space = make_small("threshold_genes")
    genome = data.draw(genomes(space))
    candidate = space.decode(genome)
    choices = space.spec.policy.thresholds.genes
    thresholds = tuple(
        data.draw(st.sampled_from([None if c == "never" else c for c in choices])) for _ in candidate.architecture.exits
    )
    criterion = data.draw(st.sampled_from(space.spec.policy.criterion))
    policy = ExitPolicy(criterion, thresholds)
    written = space.with_policy(genome, policy)
    again = space.decode(written)
    assert again.architecture == candidate.architecture and again.policy.thresholds == thresholds
    assert again.policy.criterion == (criterion if any(t is not None for t in thresholds) else "margin")
    names = [name for name, values in space.genes.items() if len(values) > 1]
    changed = {name for name, a, b in zip(names, genome, written, strict=True) if a != b}
    assert all(name.startswith("policy.") for name in changed)


def test_a_policy_with_thresholds_outside_the_choices_is_refused(make_small):
    space = make_small("threshold_genes")
    genome = genome_of(space, exit__stage1__present=True, exit__stage2__present=False)
    with pytest.raises(ValueError):
        space.with_policy(genome, ExitPolicy("margin", (0.3,)))
    with pytest.raises(ValueError, match="not of this space"):
        space.with_policy(genome, ExitPolicy("margin", (0.5, 0.5)))
