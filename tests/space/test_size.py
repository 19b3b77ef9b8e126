"""The exact size of a space, compared with enumeration."""

from aebnas.space.branch_spec import ExitsSpec
from aebnas.space.dag import DagSpec
from aebnas.space.size import count_architectures, count_candidates


def test_counts_equal_enumeration(small, everything):
    candidates = everything(small)
    assert count_architectures(small.spec) == len({c.architecture.id for c in candidates})
    assert count_candidates(small.spec) == len({(c.architecture.id, c.policy) for c in candidates})


def test_a_count_by_hand(make_small):
    # 2 stems; stage 1 with 1, 2 or 3 blocks of one kind; an exit after it with one branch, or none;
    # stage 2 with 2 widths, 2 strides
    assert count_architectures(make_small("skip").spec) == 2 * 3 * 2 * (2 * 2)


def test_distinct_architectures_have_distinct_ids(small, everything):
    architectures = {candidate.architecture for candidate in everything(small)}
    assert len({architecture.id for architecture in architectures}) == len(architectures)


def test_big_spaces_are_counted_exactly(bundled):
    dag = bundled.spec.dag
    if dag is None:
        more = {"stages": bundled.spec.stages * 9}
    else:
        larger = DagSpec.model_validate(dag.model_dump() | {"stacks": dag.stacks * 6, "shared": False})
        more = {"dag": larger, "exits": ExitsSpec(at=())}
    doubled = bundled.spec.model_copy(update=more)
    size = count_architectures(doubled)
    assert size > 2**64
    assert isinstance(size, int)
    wider = doubled.stem.model_copy(update={"width": (1, 2, 3)})
    before = len(doubled.stem.width)
    assert count_architectures(doubled.model_copy(update={"stem": wider})) * before == size * 3
