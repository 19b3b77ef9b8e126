"""What the `evaluate:` part of an experiment may say. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from aebnas.specfile import Spec


class EvaluateSpec(Spec):
    """How candidates are scored: `weights: supernet` inherits them, norms recalibrated on training pictures.

    `workers: 0` works in this process; more are Ray actors, each with `threads` threads, so that results are
    the same wherever a candidate is scored.
    """

    weights: Literal["supernet"] = "supernet"
    workers: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1)] = 1
    calibration_images: Annotated[int, Field(ge=2)] = 512
