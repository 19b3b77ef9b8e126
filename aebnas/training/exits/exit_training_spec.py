"""How exits take part in a training: the `exits:` of `retrain:`, `evaluate.training` and `supernet:`. No torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec

Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class ExitTrainingSpec(Spec):
    """How exits are trained; by default all jointly, from the first epoch."""

    warmup_epochs: Count = 0
    """Initial epochs that train only the last exit."""
    activation: Literal["all", "shallow_first", "deep_first"] = "all"
    """How early exits are added after that: `all` at once, or one by one from the shallow or the deep end."""
    activation_epochs: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1
    """Epochs between the additions of two exits that are added one by one."""
    backbone_epochs: Count = 0
    """Of all epochs, this many train only the last exit; then the backbone and its norm statistics are frozen, and the
    branches train (two-stage training)."""
    blended: bool = False
    """A single loss on the mixture of all exits' logits under learned weights, instead of one per exit (a baseline that
    requires every exit)."""
    policy_loss: Annotated[float, Field(strict=True, ge=0)] = 0.0
    """Weight of DART's L_policy: the expected share of the full cost if a sample leaves where its confidence exceeds
    `policy_threshold`, softened by `policy_temperature`. With `stop_heads`, weight of the expected cost of their
    decisions."""
    policy_threshold: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.9
    """Confidence threshold that L_policy assumes."""
    policy_temperature: Annotated[float, Field(strict=True, gt=0)] = 0.05
    """Softness of that threshold."""
    stop_heads: bool = False
    """Give each early exit a stop head, trained by the expected loss under its decisions; the criteria `learned` and
    `dual` require it."""

    @model_validator(mode="after")
    def _blended_excludes_others(self) -> "ExitTrainingSpec":
        others = [name for name in ("policy_loss", "stop_heads", "backbone_epochs") if getattr(self, name)]
        if self.activation != "all" or self.warmup_epochs:
            others.append("activation" if self.activation != "all" else "warmup_epochs")
        if self.blended and others:
            raise SpecError("blended", f"cannot be combined with {others[0]}")
        return self

    def active(self, epoch: int, exits: int) -> tuple[bool, ...]:
        """Which of `exits` exits train in an epoch (from 0), `[exits]` from shallow to deep; the last always does."""
        since = epoch - self.warmup_epochs
        if since < 0:
            return (False,) * (exits - 1) + (True,)
        if self.activation == "all":
            return (True,) * exits
        count = min(exits - 1, 1 + since // self.activation_epochs)
        early = (True,) * count + (False,) * (exits - 1 - count)
        return (early if self.activation == "shallow_first" else early[::-1]) + (True,)
