"""How exits join a training: what `exits:` may say in `retrain:`, `evaluate.training` and `supernet:`. No torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec

Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class ExitTrainingSpec(Spec):
    """How exits are trained; by default all jointly, from the first epoch."""

    warmup_epochs: Count = 0
    """Epochs at the beginning that train the last exit only."""
    activation: Literal["all", "shallow_first", "deep_first"] = "all"
    """How early exits join after that: `all` at once, or one after another from the shallow or the deep end."""
    activation_epochs: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1
    """Epochs between two exits that join one after another."""
    backbone_epochs: Count = 0
    """Of all epochs, this many train the last exit only; then the backbone is frozen, its norm statistics too, and the
    branches train (two-stage training)."""
    blended: bool = False
    """One loss, that of the mixture of all exits' logits under learned weights, in place of one per exit (a baseline:
    it needs every exit)."""
    policy_loss: Annotated[float, Field(strict=True, ge=0)] = 0.0
    """Weight of DART's L_policy: the expected share of the full cost if a sample leaves where its confidence exceeds
    about `policy_threshold`. With `stop_heads`, weight of the expected cost of their decisions."""
    policy_threshold: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.9
    """Confidence threshold that L_policy assumes."""
    policy_temperature: Annotated[float, Field(strict=True, gt=0)] = 0.05
    """Softness of that threshold."""
    stop_heads: bool = False
    """Give each early exit a stop head, trained by the loss expected under its decisions; the criteria `learned` and
    `dual` need it."""

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
