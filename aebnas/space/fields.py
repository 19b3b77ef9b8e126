"""Types of the search-space DSL's values: checked numbers, op names, and choices among them.

A choice is written as one value or a list of distinct values. Names of ops, activations and pools come from
`aebnas/runtime`, so those added there can be used in YAML.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictBool, WithJsonSchema

from aebnas.core.errors import SpecError
from aebnas.core.resolution import Resolution
from aebnas.core.spec_types import Side
from aebnas.runtime.choice_rules import FREE
from aebnas.runtime.ops import OPS
from aebnas.runtime.shape_rules import ACTIVATION_NAMES, GLOBAL_POOL_NAMES

Value = TypeVar("Value", bound=Hashable)

MAX_CHOICES = 64
"""Of one key: with more, the space would be too large to enumerate its layers."""
MAX_VARIANTS = 10_000
"""Of one block or branch layer: the product of the numbers of its choices."""

SKIP = "skip"
"""A block that is omitted."""
CHAIN = "+"
"""Joins the ops of a branch layer: `resize+conv+maxpool`."""
_BLOCK_GIVES = {"in_channels", "out_channels", "kernel", "stride", "expand", "se", "act"}
_LAYER_GIVES = _BLOCK_GIVES | {"side"}


def block_ops() -> list[str]:
    """Ops that can be blocks: those that change width and stride, and need only attributes that a block has."""
    changes = {"in_channels", "out_channels", "stride"}
    return [name for name, op in OPS.items() if changes <= op.takes and _BLOCK_GIVES.issuperset(op.needs)]


def branch_ops() -> list[str]:
    """Ops that can be in branch layers: those of one input that need only attributes that a branch layer has."""
    return [name for name, op in OPS.items() if _LAYER_GIVES.issuperset(op.needs) and not op.many_inputs]


def edge_ops() -> list[str]:
    """Ops that can be edges of a cell: those of one input that preserve its shape at stride 1."""
    return [name for name, op in OPS.items() if not op.many_inputs and _BLOCK_GIVES.issuperset(op.needs)]


def taken_by(op: str) -> frozenset[str]:
    """Attributes of an op, or of all ops of a chain."""
    if op in FREE:
        return frozenset()
    return frozenset().union(*(OPS[part].takes for part in op.split(CHAIN)))


INACTIVE = {"kernel": None, "expand": None, "width": None, "side": None, "se": False, "act": "relu"}
"""Value of each field of a block or branch layer where its op doesn't have the attribute."""
ATTRIBUTE = {"width": "out_channels"}
"""The op's attribute for a field, where it has another name."""


def active(op: str, selected: Mapping[str, Any]) -> dict[str, Any]:
    """The selected values of attributes that the op has."""
    taken = taken_by(op)
    return {name: value for name, value in selected.items() if ATTRIBUTE.get(name, name) in taken}


def canonical(selected: Mapping[str, Any]) -> dict[str, Any]:
    """The values selected for the fields of a block or branch layer; those its op doesn't have are made inactive."""
    op = selected["op"]
    fields = {name: value for name, value in selected.items() if name != "op"}
    return {"op": op} | {name: INACTIVE[name] for name in fields} | active(op, fields)


def as_tuple(value: Any) -> Any:
    """A single value as a tuple of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def distinct(choices: tuple[Value, ...]) -> tuple[Value, ...]:
    """`choices` unchanged; raises ValueError where they are empty, too many or not distinct."""
    if not choices:
        raise ValueError("must have at least one choice")
    if len(choices) > MAX_CHOICES:
        raise ValueError(f"must have at most {MAX_CHOICES} choices, but got {len(choices)}")
    if len(set(choices)) != len(choices):
        raise ValueError("choices must be distinct")
    return choices


def filled(value: Any, choices: type[BaseModel], key: str) -> Any:
    """A mapping from YAML with each entry of `value[key]` completed by the choices of `value`."""
    if not isinstance(value, dict):
        return value
    common = {name: value[name] for name in choices.model_fields if name in value}

    def complete(entry: Any) -> Any:
        return common | entry if isinstance(entry, dict) else entry

    match value.get(key):
        case list() | tuple() as entries:
            return value | {key: [complete(entry) for entry in entries]}
        case dict() as entries:
            return value | {key: {name: complete(entry) for name, entry in entries.items()}}
    return value


def check_variants(choices: BaseModel, part: type[BaseModel]) -> None:
    """Raise ValueError where a block or branch layer (the fields of `part`) has more than MAX_VARIANTS combinations."""
    offered = [getattr(choices, name) for name in part.model_fields]
    variants = math.prod(len(values) for values in offered if isinstance(values, tuple))
    if variants > MAX_VARIANTS:
        raise ValueError(f"must have at most {MAX_VARIANTS:,} combinations of choices, but got {variants:,}")


def check_differ(
    place: str, factors: tuple[float, ...], channels: int, scale: Callable[[int, float], int]
) -> list[int]:
    """Channels times each factor; raises SpecError at the YAML path `place` where two round to the same number."""
    widths = [scale(channels, factor) for factor in factors]
    if len(set(widths)) != len(widths):
        raise SpecError(place, f"must give different widths from {channels} channels, but got {list(factors)}")
    return widths


def _named(name: str, known: Iterable[str]) -> str:
    names = [f"'{one}'" for one in sorted(known)]
    if f"'{name}'" not in names:
        raise ValueError(f"must be {', '.join(names[:-1])} or {names[-1]}")
    return name


def _branch_op(op: str) -> str:
    parts = op.split(CHAIN)
    for part in parts:
        _named(part, branch_ops())
    if len(set(parts)) != len(parts):
        raise ValueError("a chain must hold different ops (for more of one, give the branch more layers)")
    return op


def _odd(kernels: tuple[int, ...]) -> tuple[int, ...]:
    if any(kernel % 2 == 0 for kernel in kernels):
        raise ValueError("kernels must be odd")
    return kernels


def _names_schema(known: Iterable[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": sorted(known)})


Width = Annotated[int, Field(strict=True, ge=1, le=65_536)]
Depth = Annotated[int, Field(strict=True, ge=1, le=100)]
Stride = Annotated[int, Field(strict=True, ge=1, le=4)]
BranchDepth = Annotated[int, Field(strict=True, ge=0, le=3)]
Factor = Annotated[float, Field(strict=True, gt=0, le=100)]
Kernel = Annotated[Side, AfterValidator(lambda kernel: _odd((kernel,))[0])]
BlockOp = Annotated[
    str, AfterValidator(lambda op: _named(op, [*block_ops(), SKIP])), _names_schema([*block_ops(), SKIP])
]
EdgeOp = Annotated[
    str,
    AfterValidator(lambda op: _named(op, [*edge_ops(), *FREE])),
    _names_schema([*edge_ops(), *FREE]),
]
BranchOp = Annotated[str, AfterValidator(_branch_op)]
Act = Annotated[str, AfterValidator(lambda act: _named(act, ACTIVATION_NAMES)), _names_schema(ACTIVATION_NAMES)]
Pool = Annotated[str, AfterValidator(lambda pool: _named(pool, GLOBAL_POOL_NAMES)), _names_schema(GLOBAL_POOL_NAMES)]
Threshold = Annotated[float, Field(strict=True, ge=0, le=1)] | Literal["never"]
Criterion = Literal["confidence", "entropy", "margin", "learned", "patience", "dual"]

Widths = Annotated[
    tuple[Width, ...],
    BeforeValidator(as_tuple, json_schema_input_type=Width | list[Width]),
    AfterValidator(distinct),
]
Depths = Annotated[
    tuple[Depth, ...],
    BeforeValidator(as_tuple, json_schema_input_type=Depth | list[Depth]),
    AfterValidator(distinct),
]
Resolutions = Annotated[
    tuple[Resolution, ...],
    BeforeValidator(as_tuple, json_schema_input_type=Resolution | list[Resolution]),
    AfterValidator(distinct),
]
Kernels = Annotated[
    tuple[Side, ...],
    BeforeValidator(as_tuple, json_schema_input_type=Side | list[Side]),
    AfterValidator(distinct),
    AfterValidator(_odd),
]
Strides = Annotated[
    tuple[Stride, ...],
    BeforeValidator(as_tuple, json_schema_input_type=Stride | list[Stride]),
    AfterValidator(distinct),
]
BranchDepths = Annotated[
    tuple[BranchDepth, ...],
    BeforeValidator(as_tuple, json_schema_input_type=BranchDepth | list[BranchDepth]),
    AfterValidator(distinct),
]
Factors = Annotated[
    tuple[Factor, ...],
    BeforeValidator(as_tuple, json_schema_input_type=Factor | list[Factor]),
    AfterValidator(distinct),
]
Switches = Annotated[
    tuple[StrictBool, ...],
    BeforeValidator(as_tuple, json_schema_input_type=bool | list[bool]),
    AfterValidator(distinct),
]
BlockOps = Annotated[
    tuple[BlockOp, ...],
    BeforeValidator(as_tuple, json_schema_input_type=BlockOp | list[BlockOp]),
    AfterValidator(distinct),
]
EdgeOps = Annotated[
    tuple[EdgeOp, ...],
    BeforeValidator(as_tuple, json_schema_input_type=EdgeOp | list[EdgeOp]),
    AfterValidator(distinct),
]
BranchOps = Annotated[
    tuple[BranchOp, ...],
    BeforeValidator(as_tuple, json_schema_input_type=BranchOp | list[BranchOp]),
    AfterValidator(distinct),
]
Acts = Annotated[
    tuple[Act, ...],
    BeforeValidator(as_tuple, json_schema_input_type=Act | list[Act]),
    AfterValidator(distinct),
]
Pools = Annotated[
    tuple[Pool, ...],
    BeforeValidator(as_tuple, json_schema_input_type=Pool | list[Pool]),
    AfterValidator(distinct),
]
Criteria = Annotated[
    tuple[Criterion, ...],
    BeforeValidator(as_tuple, json_schema_input_type=Criterion | list[Criterion]),
    AfterValidator(distinct),
]
