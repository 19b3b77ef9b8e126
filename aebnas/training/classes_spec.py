"""The `classes:` part of an experiment: what trainings do about classes of different size. Imports no torch."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec


def _text_keys(value: Any) -> Any:
    """Names of classes may be numbers, which YAML doesn't read as text."""
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else value


ByName = Annotated[
    dict[str, Annotated[float, Field(strict=True, gt=0)]],
    Field(min_length=1),
    BeforeValidator(_text_keys, json_schema_input_type=dict[str, float]),
]


class ClassesSpec(Spec):
    """What trainings do about classes of different size: nothing, weights in the loss, or balanced sampling.

    It holds for every training of a run: supernet, candidates, relaxed networks, retraining.
    """

    weights: Literal["none", "balanced"] | ByName = "none"
    """Weights of classes in the loss: `balanced` weights each class inversely to its number of training images; or
    weights by the name of the class, such as `{cat: 2.0}` (1 for the others). They are scaled so that the mean over the
    training images is 1."""
    sampling: Literal["none", "balanced"] = "none"
    """`balanced` draws training images with replacement, so that every class is equally frequent in expectation."""

    @model_validator(mode="after")
    def _one_way(self) -> "ClassesSpec":
        if self.weights != "none" and self.sampling != "none":
            raise SpecError("sampling", "must be none where classes have weights, but got balanced")
        return self
