"""The settings of the `evaluate:` part of an experiment. Imports no torch."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from aebnas.core.spec_base import Spec, parse_spec
from aebnas.core.spec_types import MaxPflop, Processes, Threads
from aebnas.training.training_spec import LoopSpec, TrainSpec

_MODE = re.compile(r"supernet|(finetune|scratch)\(([1-9][0-9]{0,5})\)")


def _known_mode(text: str) -> str:
    if not _MODE.fullmatch(text):
        raise ValueError("must be supernet, finetune(EPOCHS) or scratch(EPOCHS) with a whole number of at least 1")
    return text


Mode = Annotated[
    str, AfterValidator(_known_mode), WithJsonSchema({"type": "string", "pattern": f"^({_MODE.pattern})$"})
]


class EvaluateSpec(Spec):
    """How candidates are scored."""

    weights: Mode = "supernet"
    """`supernet` inherits weights and recalibrates norms; `finetune(EPOCHS)` then trains each candidate separately;
    `scratch(EPOCHS)` trains it from newly initialised weights and requires no supernet."""
    training: LoopSpec | None = None
    """How candidates are trained separately; as `retrain` if absent."""
    workers: Processes = 0
    """Ray actors that score candidates; 0 scores in this process, with equal results."""
    threads: Threads = 1
    """CPU threads of each worker."""
    gpus_per_worker: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0
    """GPUs of each worker; with a fraction several share one. On GPUs results are equal only up to rounding."""
    calibration_images: Annotated[int, Field(strict=True, ge=2)] = 512
    """Training images on which norm statistics of a candidate are recalibrated."""

    max_pflop: MaxPflop | None = None
    """Bound of the search's compute in PFLOP: of all trials together, it counts separate or relaxed trainings, the norm
    statistics and the scoring of their candidates, but not the supernet's training. The search ends after the candidate
    that reaches it, in the order in which candidates were proposed; no bound if absent."""

    @property
    def mode(self) -> Literal["supernet", "finetune", "scratch"]:
        """The mode that `weights` names, without the number of epochs."""
        name = self.weights.partition("(")[0]
        return "scratch" if name == "scratch" else "finetune" if name == "finetune" else "supernet"

    @property
    def source(self) -> str:
        """The source of a candidate's weights, as text for reports."""
        epochs = self.weights.partition("(")[2].rstrip(")")
        return {
            "supernet": "inherited from the supernet",
            "finetune": f"fine-tuned for {epochs} epochs from the supernet's",
            "scratch": f"trained for {epochs} epochs from scratch",
        }[self.mode]

    def candidate_training(self, default: TrainSpec) -> TrainSpec | None:
        """How a candidate is trained separately; None where it isn't. `default` is used where `training` is absent."""
        if self.mode == "supernet":
            return None
        epochs = int(self.weights.partition("(")[2].rstrip(")"))
        settings = (self.training or default).model_dump(include=set(LoopSpec.model_fields))
        return parse_spec(TrainSpec, {"epochs": epochs, **settings}, None, "evaluate.training")
