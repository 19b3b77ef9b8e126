"""The distinct blocks and branch layers that choices allow, and the genes that select them.

A choice of an attribute that the op doesn't have is inactive: it is set to None or its default, so that it makes no
difference.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from aebnas.space.architecture import Block, BranchLayer
from aebnas.space.branch_spec import BranchChoices
from aebnas.space.fields import SKIP, active, canonical
from aebnas.space.stage_spec import BlockChoices


def block_genes(choices: BlockChoices) -> dict[str, tuple[Any, ...]]:
    """The choices of one block position, by field of `Block` (`op` may also be `skip`)."""
    return {name: getattr(choices, name) for name in Block.model_fields}


def layer_genes(choices: BranchChoices) -> dict[str, tuple[Any, ...]]:
    """The choices of one branch layer, by field of `BranchLayer`."""
    genes = {name: getattr(choices, name) for name in BranchLayer.model_fields if name not in ("op", "side")}
    return {"op": choices.layer} | genes | {"side": choices.side or (None,)}


def named(place: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the fields of a block or branch layer by the names of their genes."""
    return {f"{place}.{name}": value for name, value in values.items()}


def values_of(place: str, part: type[Block] | type[BranchLayer], choices: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `named`: the values that the genes select for the fields of a block or branch layer."""
    return {name: choices[f"{place}.{name}"] for name in part.model_fields}


def encode_part(place: str, part: Block | BranchLayer) -> dict[str, Any]:
    """Values of the genes of a block or branch layer, without inactive ones."""
    fields = part.model_dump(exclude={"op"})
    return named(place, {"op": part.op} | active(part.op, fields))


def make_block(selected: Mapping[str, Any]) -> Block:
    """The block with the value selected for each field."""
    return Block(**canonical(selected))


def make_branch_layer(selected: Mapping[str, Any]) -> BranchLayer:
    """The branch layer with the value selected for each field."""
    return BranchLayer(**canonical(selected))


def blocks(choices: BlockChoices) -> tuple[Block, ...]:
    """Every distinct block that a position may have."""
    genes = block_genes(choices)
    genes["op"] = tuple(op for op in genes["op"] if op != SKIP)
    return tuple(dict.fromkeys(make_block(selected) for selected in _combinations(genes)))


def branch_layers(choices: BranchChoices) -> tuple[BranchLayer, ...]:
    """Every distinct layer that a branch may have at one of its positions."""
    return tuple(dict.fromkeys(make_branch_layer(selected) for selected in _combinations(layer_genes(choices))))


def _combinations(genes: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(genes, values, strict=True)) for values in product(*genes.values())]
