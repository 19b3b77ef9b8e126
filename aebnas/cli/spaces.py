"""Commands on search spaces and specs: `space` and `schema`."""

import json
from typing import Annotated

import typer

from aebnas.cli.arguments import Space, SpaceData
from aebnas.core.errors import UserError


def space(
    file: Space,
    spec: SpaceData = None,
    samples: Annotated[int, typer.Option(help="Number of random architectures to print.", min=0)] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the random architectures.", min=0)] = 11,
) -> None:
    """Print a space's exact size, bounds of its costs and a few architectures."""
    import numpy as np

    from aebnas.cost.bounds.space_bounds import space_bounds
    from aebnas.cost.counts import count_graph
    from aebnas.run.space_file import load_space
    from aebnas.runtime.shape_rules import shape_text
    from aebnas.space.lowering import lower
    from aebnas.space.size import count_architectures, count_candidates

    loaded = load_space(file, spec)
    macs = space_bounds(loaded.spec, lambda counts: counts.macs)
    params = space_bounds(loaded.spec, lambda counts: counts.params)
    print(f"{file}")
    print(f"  images          {shape_text(loaded.spec.input.shape)}, {loaded.spec.classes:,} classes")
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
