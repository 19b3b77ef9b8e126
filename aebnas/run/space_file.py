"""A search space for given data: found, completed by what the images show, and checked against them.

Imports no torch.
"""

from pathlib import Path

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import read_spec
from aebnas.data.data_shape import DataShape, data_shape
from aebnas.data.data_spec import DataSpec
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.runtime.shape_rules import shape_text
from aebnas.space.bundled import find_space
from aebnas.space.genome import SearchSpace
from aebnas.space.min_exits import without_named_classes
from aebnas.space.spec import SpaceSpec


def load_space(space: Path, spec_file: Path | None = None) -> SearchSpace:
    """A space by its file or a bundled space's name; what it leaves out is taken from the data of an experiment.

    Minimum exits of classes that are given by name are left out, since only a search needs them.

    Raises SpecError for an invalid space, and UserError for data that can't be read.
    """
    file = find_space(space)
    if spec_file is None:
        return SearchSpace(without_named_classes(SearchSpace.load(file).spec))
    data = data_shape(read_spec(ExperimentSpec, spec_file).data, spec_file.parent)
    return SearchSpace(without_named_classes(SearchSpace.load(file, data.image, data.classes).spec))


def check_fits(space: SpaceSpec, data: DataSpec, shape: DataShape, space_file: Path) -> None:
    """Raise SpecError unless a space is for images of this shape and as many classes, all with their names."""
    if shape.image != space.input.shape:
        rule = f"must fit the images of {data.name}, which are {shape_text(shape.image)}"
        raise SpecError("input", f"{rule}, but got {shape_text(space.input.shape)}", space_file)
    if shape.classes != space.classes:
        raise SpecError("classes", f"must be {shape.classes}, as in the data, but got {space.classes}", space_file)
