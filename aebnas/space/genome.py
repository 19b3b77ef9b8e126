"""Genomes: integer vectors that pick one choice per gene, and the SearchSpace that reads and writes them.

Genes with a single choice are left out. Inactive genes (blocks beyond the depth, branches of absent exits,
thresholds of absent exits) don't change what a genome decodes to, so equal networks get equal ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aebnas.core.errors import in_file
from aebnas.core.spec_base import read_spec
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.architecture import Architecture, Block, BranchLayer, Cell, Exit, Site, Stage, Stem
from aebnas.space.cells import cell_genes, decode_cells, encode_cells, end_of_range, has_node, is_edge_gene
from aebnas.space.choices import block_genes, layer_genes, make_block, make_branch_layer
from aebnas.space.fields import SKIP, active
from aebnas.space.layers import space_layers
from aebnas.space.min_exits import min_exits
from aebnas.space.spec import SpaceSpec

Choices = Mapping[str, Any]
"""One value per gene name."""


@dataclass(frozen=True)
class Candidate:
    """What a genome stands for: an architecture, and its policy where thresholds are genes (else None)."""

    architecture: Architecture
    policy: ExitPolicy | None


@dataclass(frozen=True)
class SearchSpace:
    """A checked space; raises SpecError when some architecture of it could not be built."""

    spec: SpaceSpec
    genes: dict[str, tuple[Any, ...]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "genes", _genes(self.spec))
        space_layers(self.spec)

    @classmethod
    def load(cls, path: Path) -> "SearchSpace":
        """Read a space's YAML file."""
        spec = read_spec(SpaceSpec, path)
        with in_file(path):
            return cls(spec)

    @property
    def gene_sizes(self) -> tuple[int, ...]:
        """Number of choices of each gene of a genome."""
        return tuple(len(values) for values in self.genes.values() if len(values) > 1)

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        """A genome with every gene drawn uniformly."""
        return tuple(int(gene) for gene in rng.integers(0, self.gene_sizes))

    def decode(self, genome: Sequence[int]) -> Candidate:
        """The candidate of a genome; raises ValueError for a wrong length or a gene out of range."""
        if len(genome) != len(self.gene_sizes):
            raise ValueError(f"a genome must have {len(self.gene_sizes)} genes, but got {len(genome)}")
        rest = iter(genome)
        choices: dict[str, Any] = {}
        for name, values in self.genes.items():
            index = int(next(rest)) if len(values) > 1 else 0
            if not 0 <= index < len(values):
                raise ValueError(f"gene {name} must be in 0..{len(values) - 1}, but got {index}")
            choices[name] = values[index]
        return _decode(self.spec, choices)

    def encode(self, candidate: Candidate) -> tuple[int, ...]:
        """A genome that decodes to this candidate, inactive genes 0; raises ValueError if it isn't of this space."""
        choices = _encode(self.spec, candidate)
        genome = []
        for name, values in self.genes.items():
            value = choices.get(name, values[0])
            if value not in values:
                raise ValueError(f"{name} must be one of {values}, but got {value}")
            if len(values) > 1:
                genome.append(values.index(value))
        if self.decode(genome) != candidate:
            raise ValueError("the candidate is not of this space")
        return tuple(genome)

    def with_policy(self, genome: Sequence[int], policy: ExitPolicy) -> tuple[int, ...]:
        """The genome with the policy's criterion and thresholds in the genes of its exits, all others as they are.

        Raises ValueError for a value that isn't a choice, or a policy for another number of exits.
        """
        written = _encode(self.spec, Candidate(self.decode(genome).architecture, policy))
        policies = {name: value for name, value in written.items() if name.startswith("policy.")}
        names = [name for name, values in self.genes.items() if len(values) > 1]
        return tuple(
            self.genes[name].index(policies[name]) if name in policies else int(gene)
            for name, gene in zip(names, genome, strict=True)
        )

    def extreme(self, largest: bool) -> Architecture:
        """The architecture with the largest (smallest) choice everywhere, for the sandwich rule.

        The largest has the highest resolution and every exit, the smallest only those exits that must be there,
        and `skip` where it is offered. Among other ops, activations and pools it takes the first.
        """
        choices = {name: _end_of_range(self.spec, name, values, largest) for name, values in self.genes.items()}
        return _decode(self.spec, choices).architecture

    def sample_branches(self, backbone: Architecture, rng: np.random.Generator) -> Architecture:
        """The same backbone with every exit present, each with a random branch."""
        choices = {
            name: True if name.endswith(".present") else values[int(rng.integers(len(values)))]
            for name, values in self.genes.items()
            if name.startswith("exit.")
        }
        # not model_copy, which would keep the cached id
        parts = {name: getattr(backbone, name) for name in Architecture.model_fields}
        return Architecture(**parts | {"exits": _decode_exits(self.spec, backbone.stages or backbone.cells, choices)})


def _genes(spec: SpaceSpec) -> dict[str, tuple[Any, ...]]:
    """Every gene's name and its choices, in genome order."""
    genes: dict[str, tuple[Any, ...]] = {
        "input.resolution": spec.input.resolution,
        "stem.width": spec.stem.width,
        "stem.act": spec.stem.act,
    }
    if spec.dag is not None:
        genes |= cell_genes(spec.dag)
    for number, stage in enumerate(spec.stages):
        here = f"stage{number + 1}"
        genes |= {f"{here}.width": stage.width, f"{here}.stride": stage.stride, f"{here}.depth": stage.depth}
        for position in range(max(stage.depth)):
            genes |= _named(f"{here}.block{position + 1}", block_genes(stage.at(position)))
    for site in spec.sites():
        here, branch = f"exit.{site.name}", spec.branch(site)
        genes[f"{here}.present"] = (False, True) if branch.optional else (True,)
        genes |= {f"{here}.depth": branch.depth, f"{here}.pool": branch.pool}
        for layer in range(max(branch.depth)):
            genes |= _named(f"{here}.layer{layer + 1}", layer_genes(branch))
    if spec.policy.thresholds.genes is not None:
        genes["policy.criterion"] = spec.policy.criterion
        genes |= {f"policy.{site.name}.threshold": spec.policy.thresholds.genes for site in spec.sites()}
    return genes


def _named(place: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a part under the names of their genes."""
    return {f"{place}.{name}": value for name, value in values.items()}


def _chosen(place: str, part: type[Block] | type[BranchLayer], choices: Choices) -> dict[str, Any]:
    """The other way round: what the genes choose for the fields of a part."""
    return {name: choices[f"{place}.{name}"] for name in part.model_fields}


def _decode(spec: SpaceSpec, choices: Choices) -> Candidate:
    stages = tuple(_decode_stage(spec, number, choices) for number in range(len(spec.stages)))
    cells: tuple[Cell, ...] = ()
    if spec.dag is not None:
        cells = decode_cells(spec.dag, choices, _present_exits(spec, choices))
    resolution = choices["input.resolution"]
    architecture = Architecture(
        channels=spec.input.channels,
        resolution=resolution,
        image_side=None if resolution == spec.input.side else spec.input.side,
        classes=spec.classes,
        stem=Stem(
            width=choices["stem.width"], kernel=spec.stem.kernel, stride=spec.stem.stride, act=choices["stem.act"]
        ),
        stages=stages,
        cells=cells,
        exits=_decode_exits(spec, stages or cells, choices),
    )
    return Candidate(architecture, _decode_policy(spec, architecture, choices))


def _decode_stage(spec: SpaceSpec, number: int, choices: Choices) -> Stage:
    here = f"stage{number + 1}"
    positions = [_chosen(f"{here}.block{position + 1}", Block, choices) for position in range(choices[f"{here}.depth"])]
    kept = [position for position in positions if position["op"] != SKIP]
    if not kept:  # a stage changes width and stride, so one block has to stay
        kept = [positions[0] | {"op": next(op for op in spec.stages[number].op if op != SKIP)}]
    return Stage(width=choices[f"{here}.width"], stride=choices[f"{here}.stride"], blocks=tuple(map(make_block, kept)))


def _decode_exits(spec: SpaceSpec, parts: Sequence[Stage | Cell], choices: Choices) -> tuple[Exit, ...]:
    """The exits that are present and lie within a backbone of these stages or cells."""

    def is_there(site: Site) -> bool:
        part = parts[site.stage]
        if isinstance(part, Cell):
            return has_node(part, site.block)
        # behind the last block lies the stage's end, so there a within-stage exit is inactive
        return site.block is None or site.block < len(part.blocks)

    return tuple(present for present in _present_exits(spec, choices) if is_there(present.site))


def _present_exits(spec: SpaceSpec, choices: Choices) -> list[Exit]:
    return [_decode_exit(site, choices) for site in spec.sites() if choices[f"exit.{site.name}.present"]]


def _decode_exit(site: Site, choices: Choices) -> Exit:
    here = f"exit.{site.name}"
    layers = [
        make_branch_layer(_chosen(f"{here}.layer{layer + 1}", BranchLayer, choices))
        for layer in range(choices[f"{here}.depth"])
    ]
    return Exit(**site.model_dump(), layers=tuple(layers), pool=choices[f"{here}.pool"])


def _decode_policy(spec: SpaceSpec, architecture: Architecture, choices: Choices) -> ExitPolicy | None:
    if spec.policy.thresholds.genes is None:
        return None
    values = [choices[f"policy.{present.site.name}.threshold"] for present in architecture.exits]
    thresholds = tuple(None if value == "never" else float(value) for value in values)
    # where no exit can be taken the criterion is inactive
    active = any(threshold is not None for threshold in thresholds)
    criterion = choices["policy.criterion"] if active else spec.policy.criterion[0]
    return ExitPolicy(criterion, thresholds, rules=min_exits(spec, architecture).rules)


def _encode(spec: SpaceSpec, candidate: Candidate) -> dict[str, Any]:
    architecture, policy = candidate.architecture, candidate.policy
    thresholds_fit = policy is None or len(policy.thresholds) == len(architecture.exits)
    if len(architecture.stages) != len(spec.stages) or not thresholds_fit:
        raise ValueError("the candidate is not of this space")
    choices: dict[str, Any] = {
        "input.resolution": architecture.resolution,
        "stem.width": architecture.stem.width,
        "stem.act": architecture.stem.act,
    }
    for number, stage in enumerate(architecture.stages):
        here, kept = f"stage{number + 1}", len(stage.blocks)
        depth = next((d for d in spec.stages[number].depth if d >= kept), kept)
        choices |= {f"{here}.width": stage.width, f"{here}.stride": stage.stride, f"{here}.depth": depth}
        for index in range(depth):
            at = f"{here}.block{index + 1}"
            choices |= {f"{at}.op": SKIP} if index >= kept else _encode_part(at, stage.blocks[index])
    if spec.dag is not None:
        choices |= encode_cells(spec.dag, architecture)
    for index, present in enumerate(architecture.exits):
        site = present.site
        here = f"exit.{site.name}"
        choices |= {f"{here}.present": True, f"{here}.depth": len(present.layers), f"{here}.pool": present.pool}
        for number, layer in enumerate(present.layers, start=1):
            choices |= _encode_part(f"{here}.layer{number}", layer)
        if policy is not None:
            threshold = policy.thresholds[index]
            choices[f"policy.{site.name}.threshold"] = "never" if threshold is None else threshold
    if policy is not None:
        choices["policy.criterion"] = policy.criterion
    return choices


def _encode_part(place: str, part: Block | BranchLayer) -> dict[str, Any]:
    fields = part.model_dump(exclude={"op"})
    return _named(place, {"op": part.op} | active(part.op, fields))


def _end_of_range(spec: SpaceSpec, name: str, values: tuple[Any, ...], largest: bool) -> Any:
    if spec.dag is not None and is_edge_gene(name):
        return end_of_range(spec.dag, largest)
    if name.endswith(".op"):
        return SKIP if SKIP in values and not largest else next(value for value in values if value != SKIP)
    if name.startswith("policy.") or name.endswith((".act", ".pool")):
        return values[0]
    if name.endswith(".stride"):  # a small stride leaves large maps
        largest = not largest
    return max(values) if largest else min(values)
