"""How exits join a training: what `exits:` may say in `retrain:`, `evaluate.training` and `supernet:`. No torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec

Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class ExitTrainingSpec(Spec):
    """How exits are trained; by default all jointly, from the first epoch.

    `warmup_epochs`: so many epochs the last exit alone. `activation`: then all early exits at once, or one after
    another, every `activation_epochs`. `backbone_epochs`: of all epochs so many train the last exit alone; then the
    backbone is frozen, its norm statistics too, and the branches train (two stages). `blended`: one loss, that of the
    mixture of all exits' logits under learned weights, in place of a loss per exit (a baseline: it needs every exit).
    `policy_loss` weighs DART's L_policy, the expected share of the full cost if a sample leaves where its confidence
    exceeds about `policy_threshold`, softened by `policy_temperature`. `stop_heads` gives each early exit a stop head,
    trained by the loss expected under its decisions plus `policy_loss` times their expected cost.
    """

    warmup_epochs: Count = 0
    activation: Literal["all", "shallow_first", "deep_first"] = "all"
    activation_epochs: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1
    backbone_epochs: Count = 0
    blended: bool = False
    policy_loss: Annotated[float, Field(strict=True, ge=0)] = 0.0
    policy_threshold: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.9
    policy_temperature: Annotated[float, Field(strict=True, gt=0)] = 0.05
    stop_heads: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> "ExitTrainingSpec":
        others = [name for name in ("policy_loss", "stop_heads", "backbone_epochs") if getattr(self, name)]
        if self.activation != "all" or self.warmup_epochs:
            others.append("activation" if self.activation != "all" else "warmup_epochs")
        if self.blended and others:
            raise SpecError("blended", f"must stand alone, but got {others[0]} with it")
        return self

    def active(self, epoch: int, exits: int) -> tuple[bool, ...]:
        """Which of `exits` exits train in an epoch (from 0), shallow to deep; the last always does."""
        since = epoch - self.warmup_epochs
        if since < 0:
            return (False,) * (exits - 1) + (True,)
        if self.activation == "all":
            return (True,) * exits
        count = min(exits - 1, 1 + since // self.activation_epochs)
        early = (True,) * count + (False,) * (exits - 1 - count)
        return (early if self.activation == "shallow_first" else early[::-1]) + (True,)
