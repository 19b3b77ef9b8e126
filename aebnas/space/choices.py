"""The distinct blocks and branch layers that choices stand for, and the genes that pick them.

A choice that an op doesn't take is inactive: it is set to None or its default, so that it doesn't count.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from aebnas.space.architecture import Block, BranchLayer
from aebnas.space.fields import SKIP, canonical
from aebnas.space.spec import BlockChoices, BranchChoices


def block_genes(choices: BlockChoices) -> dict[str, tuple[Any, ...]]:
    """The choices of one block position, by field of `Block` (`op` may also be `skip`)."""
    return {name: getattr(choices, name) for name in Block.model_fields}


def layer_genes(choices: BranchChoices) -> dict[str, tuple[Any, ...]]:
    """The choices of one branch layer, by field of `BranchLayer`."""
    genes = {name: getattr(choices, name) for name in BranchLayer.model_fields if name not in ("op", "side")}
    return {"op": choices.layer} | genes | {"side": choices.side or (None,)}


def make_block(chosen: Mapping[str, Any]) -> Block:
    """The block of one value per gene."""
    return Block(**canonical(chosen))


def make_branch_layer(chosen: Mapping[str, Any]) -> BranchLayer:
    """The branch layer of one value per gene."""
    return BranchLayer(**canonical(chosen))


def blocks(choices: BlockChoices) -> tuple[Block, ...]:
    """Every distinct block that can stand at a position."""
    genes = block_genes(choices)
    genes["op"] = tuple(op for op in genes["op"] if op != SKIP)
    return tuple(dict.fromkeys(make_block(chosen) for chosen in _combinations(genes)))


def branch_layers(choices: BranchChoices) -> tuple[BranchLayer, ...]:
    """Every distinct layer that a branch can have at one of its positions."""
    return tuple(dict.fromkeys(make_branch_layer(chosen) for chosen in _combinations(layer_genes(choices))))


def _combinations(genes: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(genes, values, strict=True)) for values in product(*genes.values())]
