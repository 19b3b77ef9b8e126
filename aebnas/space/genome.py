"""Genomes: integer vectors that select one choice per gene, and the SearchSpace that decodes and encodes them.

Genes with a single choice are omitted. Inactive genes (blocks beyond the depth, branches and thresholds of absent
exits) don't change what a genome decodes to, so equal networks have equal ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aebnas.core.errors import SpecError, in_file
from aebnas.core.spec_base import parse_spec
from aebnas.core.yaml_reader import read_yaml
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Architecture, BranchLayer, Cell, Exit, Site, Stage, Stem
from aebnas.space.choices import encode_part, layer_genes, make_branch_layer, named, values_of
from aebnas.space.completion import completed, with_remedy
from aebnas.space.fields import SKIP
from aebnas.space.layers import space_layers
from aebnas.space.min_exits import min_exits
from aebnas.space.spec import SpaceSpec

Choices = Mapping[str, Any]
"""One value per gene name."""


@dataclass(frozen=True)
class Candidate:
    """What a genome encodes: an architecture, and its policy where thresholds are genes (else None)."""

    architecture: Architecture
    policy: ExitPolicy | None


@dataclass(frozen=True)
class SearchSpace:
    """A checked space; raises SpecError where one of its architectures couldn't be built."""

    spec: SpaceSpec
    genes: dict[str, tuple[Any, ...]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "genes", _genes(self.spec))
        space_layers(self.spec)

    @classmethod
    def load(cls, path: Path, image: Shape | None = None, classes: int | None = None) -> "SearchSpace":
        """Read a space's YAML file.

        What it leaves out of `input` and `classes` is taken from `image`, the shape (c, h, w) of the data's images, and
        from the number of `classes`. Raises SpecError for an invalid space, and where something is still missing.
        """
        value = completed(read_yaml(path), image, classes)
        try:
            spec = parse_spec(SpaceSpec, value, path)
        except SpecError as error:
            raise with_remedy(error, value) from None
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
        """A genome that decodes to `candidate`, inactive genes 0; raises ValueError for one of another space."""
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
        """The genome with the policy's criterion and thresholds in the genes of its exits, all other genes unchanged.

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

        The largest has the highest resolution and every exit, the smallest only required exits and `skip` where it is
        a choice. Of other ops, activations and pools both have the first.
        """
        choices = {name: _extreme_choice(self.spec, name, values, largest) for name, values in self.genes.items()}
        return _decode(self.spec, choices).architecture

    def sample_branches(self, backbone: Architecture, rng: np.random.Generator) -> Architecture:
        """The same backbone with every exit present, each with a random branch, boosted or not if both are choices."""
        choices = {
            name: True if name.endswith(".present") else values[int(rng.integers(len(values)))]
            for name, values in self.genes.items()
            if name.startswith("exit.")
        }
        # not model_copy, which would copy the cached id
        parts = {name: getattr(backbone, name) for name in Architecture.model_fields}
        exits, offered = _decode_exits(self.spec, backbone.parts, choices), self.genes["exits.boosted"]
        boosted = offered[int(rng.integers(len(offered)))] if len(offered) > 1 else offered[0]
        return Architecture(**parts | {"exits": exits, "boosted": boosted and bool(exits)})


def _genes(spec: SpaceSpec) -> dict[str, tuple[Any, ...]]:
    """Every gene's name and its choices, in genome order."""
    genes: dict[str, tuple[Any, ...]] = {
        "input.resolution": spec.input.resolution,
        "stem.width": spec.stem.width,
        "stem.act": spec.stem.act,
    }
    genes |= spec.layout.genes()
    for site in spec.sites():
        here, branch = f"exit.{site.name}", spec.branch(site)
        genes[f"{here}.present"] = (False, True) if branch.optional else (True,)
        genes |= {f"{here}.depth": branch.depth, f"{here}.pool": branch.pool}
        for layer in range(max(branch.depth)):
            genes |= named(f"{here}.layer{layer + 1}", layer_genes(branch))
    genes["exits.boosted"] = spec.exits.boosted if spec.sites() else (False,)
    if spec.policy.thresholds.genes is not None:
        genes["policy.criterion"] = spec.policy.criterion
        genes |= {f"policy.{site.name}.threshold": spec.policy.thresholds.genes for site in spec.sites()}
    return genes


def _decode(spec: SpaceSpec, choices: Choices) -> Candidate:
    parts: dict[str, Any] = {spec.layout.field: spec.layout.decode(choices, _present_exits(spec, choices))}
    resolution = choices["input.resolution"]
    exits = _decode_exits(spec, parts[spec.layout.field], choices)
    architecture = Architecture(
        channels=spec.input.channels,
        resolution=resolution,
        image_size=spec.input.image_size_for(resolution),
        classes=spec.classes,
        stem=Stem(
            width=choices["stem.width"], kernel=spec.stem.kernel, stride=spec.stem.stride, act=choices["stem.act"]
        ),
        exits=exits,
        boosted=choices["exits.boosted"] and bool(exits),
        **parts,
    )
    return Candidate(architecture, _decode_policy(spec, architecture, choices))


def _decode_exits(spec: SpaceSpec, parts: Sequence[Stage | Cell], choices: Choices) -> tuple[Exit, ...]:
    """The present exits whose site exists in a backbone of these stages or cells."""
    present = _present_exits(spec, choices)
    return tuple(one for one in present if parts[one.site.stage].has_site(one.site.block))


def _present_exits(spec: SpaceSpec, choices: Choices) -> list[Exit]:
    return [_decode_exit(site, choices) for site in spec.sites() if choices[f"exit.{site.name}.present"]]


def _decode_exit(site: Site, choices: Choices) -> Exit:
    here = f"exit.{site.name}"
    layers = [
        make_branch_layer(values_of(f"{here}.layer{layer + 1}", BranchLayer, choices))
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
    if not thresholds_fit:
        raise ValueError("the candidate is not of this space")
    choices: dict[str, Any] = {
        "input.resolution": architecture.resolution,
        "stem.width": architecture.stem.width,
        "stem.act": architecture.stem.act,
    }
    choices |= spec.layout.encode(architecture)
    if architecture.exits:  # else the gene is inactive
        choices["exits.boosted"] = architecture.boosted
    for index, present in enumerate(architecture.exits):
        site = present.site
        here = f"exit.{site.name}"
        choices |= {f"{here}.present": True, f"{here}.depth": len(present.layers), f"{here}.pool": present.pool}
        for number, layer in enumerate(present.layers, start=1):
            choices |= encode_part(f"{here}.layer{number}", layer)
        if policy is not None:
            threshold = policy.thresholds[index]
            choices[f"policy.{site.name}.threshold"] = "never" if threshold is None else threshold
    if policy is not None:
        choices["policy.criterion"] = policy.criterion
    return choices


def _extreme_choice(spec: SpaceSpec, name: str, values: tuple[Any, ...], largest: bool) -> Any:
    block = spec.layout.extreme_choice(name, largest)
    if block is not None:
        return block
    if name.endswith(".op"):
        return SKIP if SKIP in values and not largest else next(value for value in values if value != SKIP)
    if name.startswith("policy.") or name.endswith((".act", ".pool")):
        return values[0]
    if name.endswith(".stride"):  # a small stride gives large maps
        largest = not largest
    return max(values) if largest else min(values)
