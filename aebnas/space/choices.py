"""The distinct blocks and branch layers that choices stand for, and the genes that pick them.

A choice that an op doesn't take is inactive: it is set to None or its default, so that it doesn't count.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from aebnas.space.architecture import Block, BranchLayer
from aebnas.space.fields import SKIP, taken_by
from aebnas.space.spec import BlockChoices, BranchChoices

INACTIVE = {"kernel": None, "expand": None, "width": None, "side": None, "se": False, "act": "relu"}
"""Value of each field of a block or a branch layer where its op doesn't take it."""
ATTRIBUTE = {"width": "out_channels"}
"""The op's attribute behind a field, where it has another name."""


def block_genes(choices: BlockChoices) -> dict[str, tuple[Any, ...]]:
    """The choices of one block position, by field of `Block` (`op` may also be `skip`)."""
    return {name: getattr(choices, name) for name in Block.model_fields}


def layer_genes(choices: BranchChoices) -> dict[str, tuple[Any, ...]]:
    """The choices of one branch layer, by field of `BranchLayer`."""
    genes = {name: getattr(choices, name) for name in BranchLayer.model_fields if name not in ("op", "side")}
    return {"op": choices.layer} | genes | {"side": choices.side or (None,)}


def active(op: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What of the values chosen the op takes."""
    taken = taken_by(op)
    return {name: value for name, value in chosen.items() if ATTRIBUTE.get(name, name) in taken}


def make_block(chosen: Mapping[str, Any]) -> Block:
    """The block of one value per gene."""
    return Block(**_canonical(chosen))


def make_branch_layer(chosen: Mapping[str, Any]) -> BranchLayer:
    """The branch layer of one value per gene."""
    return BranchLayer(**_canonical(chosen))


def blocks(choices: BlockChoices) -> tuple[Block, ...]:
    """Every distinct block that can stand at a position."""
    genes = block_genes(choices)
    genes["op"] = tuple(op for op in genes["op"] if op != SKIP)
    return tuple(dict.fromkeys(make_block(chosen) for chosen in _combinations(genes)))


def branch_layers(choices: BranchChoices) -> tuple[BranchLayer, ...]:
    """Every distinct layer that a branch can have at one of its positions."""
    return tuple(dict.fromkeys(make_branch_layer(chosen) for chosen in _combinations(layer_genes(choices))))


def _canonical(chosen: Mapping[str, Any]) -> dict[str, Any]:
    op = chosen["op"]
    fields = {name: value for name, value in chosen.items() if name != "op"}
    return {"op": op} | {name: INACTIVE[name] for name in fields} | active(op, fields)


def _combinations(genes: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(genes, values, strict=True)) for values in product(*genes.values())]
