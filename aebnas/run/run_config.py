"""`config.json` of a run: the specs it was started with, written, read and compared."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aebnas.core.earlier_names import with_present_names
from aebnas.core.errors import SpecError, UserError, in_file
from aebnas.core.spec_base import parse_spec, short
from aebnas.cost.latency.network_profile import Profile
from aebnas.run.earlier_trainings import upgraded_experiment
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.run.run_directory import Config, Run
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import RENAMED, SpaceSpec


@dataclass(frozen=True)
class RunConfig:
    """The specs that a run was started with; `base` is where relative paths of the experiment start."""

    experiment: ExperimentSpec
    space: SearchSpace
    base: Path

    @classmethod
    def read(cls, run: Run) -> "RunConfig":
        """Read a run's `config.json`; raises UserError with the path of an invalid value."""
        config, source = run.config(), run.folder / "config.json"
        experiment = parse_spec(ExperimentSpec, upgraded_experiment(config.get("experiment")), source, "experiment")
        spec = parse_spec(SpaceSpec, _present(config.get("space")), source, "space")
        with in_file(source, "space"):
            space = SearchSpace(spec)
        base = config.get("base")
        if not isinstance(base, str):
            raise SpecError("base", f"must be a path, but got {short(base)}", source)
        return cls(experiment, space, Path(os.path.normpath(run.folder.resolve() / base)))

    def to_json(self, folder: Path, profile: Profile | None) -> Config:
        """The content of `config.json` in `folder`: the specs with all defaults, `base` relative to the folder, and
        the digest of the device profile if there is one."""
        relative = Path(os.path.relpath(self.base.resolve(), folder.resolve())).as_posix()
        space = self.space.spec.model_dump(mode="json")
        config: Config = {"experiment": self.experiment.to_json(), "space": space, "base": relative}
        if profile is not None:
            config["device_profile"] = profile.digest
        return json.loads(json.dumps(config))


def config_with_defaults(known: Config) -> Config:
    """A `config.json` of an earlier version, with defaults for keys that it lacks; unchanged if it can't be read."""
    try:
        experiment = parse_spec(ExperimentSpec, upgraded_experiment(known.get("experiment")), "config.json")
        space = parse_spec(SpaceSpec, _present(known.get("space")), "config.json")
    except UserError:
        return known
    return known | {"experiment": experiment.to_json(), "space": space.model_dump(mode="json")}


def _present(space: Any) -> Any:
    """A space's JSON with the present names of its fields."""
    return with_present_names(space, RENAMED)
