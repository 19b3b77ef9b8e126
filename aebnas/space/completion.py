"""What a space's YAML may leave out where the images are known: `input`, keys of it, and `classes`."""

from typing import Any

from aebnas.core.errors import SpecError
from aebnas.core.resolution import Resolution
from aebnas.core.spec_base import REQUIRED
from aebnas.runtime.shape_rules import Shape
from aebnas.space.fields import as_tuple
from aebnas.space.input_spec import InputSpec

NEEDED = ("input.resolution", "classes")
"""The keys without a default that images show."""


def completed(value: Any, image: Shape | None = None, classes: int | None = None) -> Any:
    """A space's mapping, as read from YAML, with what it leaves out taken from the images; what it holds stays.

    `image` is the shape (c, h, w) of every image, `classes` the number of classes; None where they aren't known. The
    images' size is filled in beside several resolutions only, since a single one that isn't theirs may be a mistake.
    """
    if not isinstance(value, dict) or not isinstance(value.get("input") or {}, dict):
        return value  # an error of another kind
    given = {k: v for k, v in (value.get("input") or {}).items() if v is not None or k not in InputSpec.model_fields}
    whole = {k: v for k, v in value.items() if v is not None or k != "classes"}
    if image is not None:
        channels, height, width = image
        size = Resolution(height, width)
        given = {"channels": channels, "resolution": size.to_json()} | given
        resolutions = as_tuple(given["resolution"])
        if len(resolutions) > 1 and size != _largest(resolutions):
            given.setdefault("image_size", size.to_json())
    if classes is not None:
        whole.setdefault("classes", classes)
    return whole | {"input": given}


def with_remedy(error: SpecError, value: Any) -> SpecError:
    """An error in a completed mapping; of what images would have shown and it lacks, it names all and says so."""
    if error.rule != REQUIRED or error.path not in NEEDED:
        return error
    missing = [name for name in NEEDED if _lacks(value, name)]
    rule = "required where no data are named to take it from (--spec names an experiment and so its data)"
    return SpecError(" and ".join(missing), rule, error.file)


def _lacks(value: Any, name: str) -> bool:
    for key in name.split("."):
        value = value.get(key)
    return value is None


def _largest(resolutions: tuple[Any, ...]) -> Resolution | None:
    """The largest of several; None where some aren't resolutions."""
    try:
        return max(map(Resolution.of, resolutions))
    except ValueError:
        return None
