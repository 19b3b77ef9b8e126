"""Commands on search spaces and specs: `space` and `schema`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from aebnas.core.errors import UserError


def space(
    file: Annotated[Path, typer.Argument(help="A search space, such as search_spaces/digits_tiny.yaml.")],
    samples: Annotated[int, typer.Option(help="Number of random architectures to print.", min=0)] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the random architectures.", min=0)] = 11,
) -> None:
    """Print a space's exact size, bounds of its costs and a few architectures."""
    import numpy as np

    from aebnas.cost.bounds.space_bounds import space_bounds
    from aebnas.cost.counts import count_graph
    from aebnas.space.genome import SearchSpace
    from aebnas.space.lowering import lower
    from aebnas.space.min_exits import without_named_classes
    from aebnas.space.size import count_architectures, count_candidates

    loaded = SearchSpace(without_named_classes(SearchSpace.load(file).spec))
    macs = space_bounds(loaded.spec, lambda counts: counts.macs)
    params = space_bounds(loaded.spec, lambda counts: counts.params)
    print(f"{file}")
    print(f"  architectures   {count_architectures(loaded.spec):,}")
    print(f"  candidates      {count_candidates(loaded.spec):,} (with threshold genes, if any)")
    print(f"  genes           {len(loaded.gene_sizes)}")
    print(f"  MACs            {macs.lower:,} to {macs.upper:,} for a sample that runs everything")
    print(f"  min. avg MACs   {macs.first_exit:,} (all samples leave at the cheapest exit)")
    print(f"  params          {params.lower:,} to {params.upper:,}")
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        architecture = loaded.decode(loaded.sample(rng)).architecture
        cost = count_graph(lower(architecture)).macs.total
        print(f"  sample {architecture.id}  {cost / 1e6:.2f}M MACs  {architecture}")


def schema(
    of: Annotated[str, typer.Argument(help="space or experiment.")] = "space",
) -> None:
    """Print a JSON Schema, which editors use to check and complete specs."""
    from aebnas.core.spec_base import Spec
    from aebnas.run.experiment_spec import ExperimentSpec
    from aebnas.space.spec import SpaceSpec

    models: dict[str, type[Spec]] = {"space": SpaceSpec, "experiment": ExperimentSpec}
    if of not in models:
        raise UserError(f"schema must be one of {', '.join(models)}, but got '{of}'")
    print(json.dumps(models[of].model_json_schema(), indent=2))
