"""How exits take part in a training: the `exits:` of `retrain:`, `evaluate.training` and `supernet:`. No torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec

PartialShare = Annotated[float, Field(strict=True, ge=0, lt=1)]


class ExitTrainingSpec(Spec):
    """How exits are trained; by default all jointly, from the first step. Shares are of the whole training, with
    `frozen_backbone` those of `activation` are of the stage that trains the branches."""

    backbone_first: PartialShare = 0.0
    """Initial share that trains only the last exit (mixed training: the backbone first, then all exits jointly)."""
    activation: Literal["all", "shallow_first", "deep_first"] = "all"
    """How early exits are added after that: `all` at once, or one by one from the shallow or the deep end."""
    activation_share: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.1
    """Share between the additions of two exits that are added one by one."""
    frozen_backbone: PartialShare = 0.0
    """Final share in which only the branches are trained, on the frozen backbone with its norm statistics; before it
    only the last exit is trained (two-stage training). 0 for joint training."""
    gradient_rescaling: bool = False
    """Each part of the backbone gets the mean of its exits' gradients instead of their sum, weighted as the losses are
    (gradient equilibrium, Li et al. 2019)."""
    reach_weights: bool = False
    """With `frozen_backbone`, weigh an exit's loss by the share of samples that reach it under `policy_threshold`,
    instead of by `exit_weights`."""
    blended: bool = False
    """A single loss on the mixture of all exits' logits under learned weights, instead of one per exit (a baseline that
    requires every exit)."""
    policy_loss: Annotated[float, Field(strict=True, ge=0)] = 0.0
    """Weight of DART's L_policy: the expected share of the full cost if a sample leaves where its confidence exceeds
    `policy_threshold`, softened by `policy_temperature`. With `stop_heads`, weight of the expected cost of their
    decisions."""
    policy_threshold: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.9
    """Confidence threshold that L_policy and `reach_weights` assume."""
    policy_temperature: Annotated[float, Field(strict=True, gt=0)] = 0.05
    """Softness of that threshold."""
    stop_heads: bool = False
    """Give each early exit a stop head, trained by the expected loss under its decisions; the criteria `learned` and
    `dual` require it."""

    @model_validator(mode="after")
    def _blended_excludes_others(self) -> "ExitTrainingSpec":
        names = ("policy_loss", "stop_heads", "frozen_backbone", "gradient_rescaling", "backbone_first")
        others = [name for name in names if getattr(self, name)]
        if self.activation != "all":
            others.append("activation")
        if self.blended and others:
            raise SpecError("blended", f"cannot be combined with {others[0]}")
        return self

    @model_validator(mode="after")
    def _stages_exclude_others(self) -> "ExitTrainingSpec":
        if self.frozen_backbone and self.backbone_first:
            rule = "must be 0 with frozen_backbone, which trains the backbone first itself"
            raise SpecError("backbone_first", f"{rule}, but got {self.backbone_first}")
        if self.reach_weights and not self.frozen_backbone:
            raise SpecError("reach_weights", "must be set only with frozen_backbone")
        return self

    def active(self, progress: float, exits: int) -> tuple[bool, ...]:
        """Which of `exits` exits train at a share of the training in [0, 1), `[exits]` from shallow to deep.

        The last always does.
        """
        since = progress - self.backbone_first
        if since < 0:
            return (False,) * (exits - 1) + (True,)
        if self.activation == "all":
            return (True,) * exits
        count = min(exits - 1, 1 + int(since / self.activation_share + 1e-9))
        early = (True,) * count + (False,) * (exits - 1 - count)
        return (early if self.activation == "shallow_first" else early[::-1]) + (True,)
