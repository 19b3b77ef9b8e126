"""The settings of the `supernet:` and `retrain:` parts of an experiment. Imports no torch."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import REQUIRED, Spec, updated
from aebnas.core.spec_types import Epochs, MaxPflop, Processes, Threads
from aebnas.training.exits.exit_training_spec import ExitTrainingSpec
from aebnas.training.recipes.presets import FAST, PRESETS, RecipeName

Precision = Literal["auto", "fp32", "bf16", "fp16"]
ExitWeights = Literal["equal", "linear"] | dict[str, Annotated[float, Field(strict=True, ge=0)]]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Positive = Annotated[float, Field(strict=True, gt=0)]
Momentum = Annotated[float, Field(strict=True, ge=0, lt=1)]


class LoopSpec(Spec):
    """Settings of the training loop except its length. A `recipe` gives the values of the keys that are absent."""

    recipe: RecipeName = "fast"
    """The preset that gives the values of absent keys; the defaults shown are those of `fast`."""
    batch_size: Annotated[int, Field(strict=True, ge=2, le=1_000_000)] | Literal["auto"] = FAST["batch_size"]
    """Images per step, summed over all workers. `auto`: 512, fewer (but at least 16) where an epoch would have fewer
    than 16 steps, and for images of more than 64 x 64 pixels."""
    optimiser: Literal["sgd", "muon"] = FAST["optimiser"]
    """`sgd` with Nesterov momentum for all parameters, or `muon` (Jordan et al. 2024) for the filters of convolutions
    beside it for all others."""
    lr: Positive = FAST["lr"]
    """Peak learning rate of SGD, decoupled from momentum and batch size (Jordan 2024): SGD's own is
    lr * batch / (1024 * (1 + 1 / (1 - momentum)))."""
    momentum: Momentum = FAST["momentum"]
    """Nesterov momentum of SGD."""
    weight_decay: Annotated[float, Field(strict=True, ge=0)] = FAST["weight_decay"]
    """Weight decay of weights under SGD (norms and biases have none), decoupled from the learning rate: at its peak a
    step shrinks weights by weight_decay * batch / (1024 * (1 + 1 / (1 - momentum)))."""
    muon_lr: Positive = FAST["muon_lr"]
    """Peak learning rate of Muon: the length of a step relative to that of a layer's filters, which have norm 1 on
    average."""
    muon_momentum: Momentum = FAST["muon_momentum"]
    """Nesterov momentum of Muon."""
    schedule: Literal["cosine", "linear", "triangle"] = FAST["schedule"]
    """How the learning rate falls after the warm-up: `cosine` (half a cosine) and `linear` to 0, after a rise from 0;
    `triangle` linearly to 0.07 of the peak, after a rise from 0.2 of it."""
    warmup: Annotated[float, Field(strict=True, ge=0, lt=1)] = FAST["warmup"]
    """Share of the training in which the learning rate rises linearly."""
    norm_bias_lr: Positive = FAST["norm_bias_lr"]
    """Factor on the learning rate of norms' biases."""
    identity_init: bool = FAST["identity_init"]
    """Convolutions with at least as many output as input channels begin as the identity on their first channels
    (a partial Dirac), instead of randomly. For newly initialised weights."""
    whiten: bool = FAST["whiten"]
    """The stem's filters begin as the whitening of its patches of training images, each filter with its negative. For
    newly initialised weights."""
    label_smoothing: Annotated[float, Field(strict=True, ge=0, lt=1)] = FAST["label_smoothing"]
    """Share of each label's probability that is spread over all classes."""
    distillation: Share = FAST["distillation"]
    """Share of the loss computed against the teacher's probabilities instead of the labels. The teacher is the largest
    subnet; for a single network the network itself."""
    distil_from: Literal["last", "ensemble"] = FAST["distil_from"]
    """The teacher's probabilities: those of its `last` exit, or of the mean of all its exits' logits (`ensemble`), from
    which the last exit learns, too."""
    exit_weights: ExitWeights = "equal"
    """Weights of the exits' losses: `equal`, `linear` (exit i of E by i/E, as DART), or by site, named as in
    `exits.at`, such as `{stage1: 0.3, last: 1}`; they are scaled to sum to 1."""
    exits: ExitTrainingSpec = ExitTrainingSpec()
    """How exits take part in the training."""
    clip: Positive = FAST["clip"]
    """Maximum norm of the gradient (clipping): a guard against a rare step that would destroy the weights."""
    ema: Momentum = FAST["ema"]
    """Decay of the moving average of the weights, which is what is evaluated and saved; 0 turns averaging off. Norm
    statistics are estimated for the averaged weights at the end, so they need no momentum that fits it."""
    lookahead: Annotated[int, Field(strict=True, ge=0, le=1000)] = FAST["lookahead"]
    """Steps between two updates of lookahead (Zhang et al. 2019), which moves the weights back to their moving average
    with the decay 0.95^steps * progress^3 (Jordan 2024); 0 is off. Excludes `ema`."""
    resolution_steps: tuple[tuple[Share, Annotated[float, Field(strict=True, gt=0, le=1)]], ...] = FAST[
        "resolution_steps"
    ]
    """Progressive resolution: pairs of a share of the training and the scale of the images' sides from there on, such
    as `[[0, 0.625], [0.3, 0.75], [0.6, 1]]`. Sides are rounded to what the network divides evenly; where maps would
    become smaller than 4 pixels, or the space resizes images itself, images keep their size."""
    precision: Precision = "auto"
    """`auto` is bf16 where that is faster (GPUs; a CPU is measured once), else fp32. A resumed training keeps the
    format it started with."""
    channels_last: bool = True
    """Train in the channels_last memory format."""
    compile: Literal["auto", True, False] = False
    """Compile single networks with torch.compile; `auto` where a GPU or a C++ compiler is there and the training has
    3,000 or more steps. Results differ from those of the same network uncompiled by rounding."""
    validate_every: Annotated[int, Field(strict=True, ge=1)] = 1
    """Epochs between validations."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        """Values of the recipe for absent keys."""
        name = value.get("recipe", cls.model_fields["recipe"].default) if isinstance(value, dict) else None
        preset = next((preset for known, preset in PRESETS.items() if known == name), None)
        return value if preset is None else dict(preset) | cls.preset_changes() | value

    @classmethod
    def preset_changes(cls) -> dict[str, Any]:
        """Values of presets that don't hold for this kind of training."""
        return {}

    @field_validator("resolution_steps")
    @classmethod
    def _rising_steps(cls, steps: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        shares = [share for share, _ in steps]
        if steps and (shares[0] != 0 or shares != sorted(set(shares)) or steps[-1][1] != 1):
            raise ValueError("must begin at share 0, rise, and end with scale 1")
        return steps

    @model_validator(mode="after")
    def _one_average(self) -> "LoopSpec":
        if self.lookahead and self.ema:
            raise SpecError("lookahead", f"must be 0 where ema is on, but got {self.lookahead}")
        return self


class TrainSpec(LoopSpec):
    """Settings of the training loop; its length is what of `epochs`, `steps` and `max_pflop` ends first."""

    epochs: Epochs | None = None
    """Number of epochs."""
    steps: Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)] | None = None
    """Number of steps, instead of epochs: for small sets, whose epochs have few of them."""
    max_pflop: MaxPflop | None = None
    """Bound of the training's compute in PFLOP (10^15 floating-point operations), where its schedule ends: of the
    forward and backward passes of all steps, not of validations and the final norm statistics."""

    @model_validator(mode="after")
    def _one_length(self) -> "TrainSpec":
        if self.epochs is not None and self.steps is not None:
            raise SpecError("steps", f"must be absent where epochs is given, but got {self.steps}")
        if self.epochs is None and self.steps is None and self.max_pflop is None:
            raise SpecError("epochs", f"{REQUIRED}, or steps, or max_pflop")
        return self

    def planned_steps(self, per_epoch: int) -> int | None:
        """Number of steps, with `per_epoch` of them in an epoch; None where only `max_pflop` limits it."""
        return self.steps if self.epochs is None else self.epochs * per_epoch

    def part(self, share: float, per_epoch: int) -> "TrainSpec":
        """The settings of a stage that is this share of the training."""
        steps = self.planned_steps(per_epoch)
        length = {"epochs": None, "steps": None if steps is None else max(1, round(steps * share))}
        return updated(self, length | {"max_pflop": self.max_pflop and self.max_pflop * share})

    @property
    def length(self) -> str:
        """For people, such as `30 epochs`."""
        parts = [] if self.epochs is None else [f"{self.epochs} epochs"]
        parts += [] if self.steps is None else [f"{self.steps} steps"]
        parts += [] if self.max_pflop is None else [f"{self.max_pflop:g} PFLOP"]
        return " or ".join(parts)


TrainSpecType = TypeVar("TrainSpecType", bound=TrainSpec)


class SupernetSpec(TrainSpec):
    """Sandwich training (Yu & Huang 2019): each step trains the largest, the smallest and random backbones.

    With workers, training is data-parallel on Ray: each takes an equal share of every batch, each on its own GPU where
    the cluster has GPUs.
    """

    random_subnets: Annotated[int, Field(strict=True, ge=0, le=100)] = 2
    """Random backbones per step."""
    branches: Annotated[int, Field(strict=True, ge=1, le=100)] = 2
    """Sets of random exit branches on every backbone path, which share its forward pass."""
    workers: Processes = 0
    """Ray workers that train data-parallel; 0 or 1 trains in this process."""
    threads: Threads | None = None
    """CPU threads of each worker; the machines' cores are divided among the workers if absent."""
    sync_norms: bool = True
    """Batch norm uses the statistics of the whole batch, so a step equals that of a single process; otherwise each
    worker normalises its own share, which is faster."""

    @model_validator(mode="after")
    def _equal_shares(self) -> "SupernetSpec":
        if self.batch_size == "auto":
            return self
        share, rest = divmod(self.batch_size, max(1, self.workers))
        if rest or share < 2:
            got = f"{self.batch_size} for {self.workers}"
            raise SpecError("batch_size", f"must give each worker an equal share of 2 or more, but got {got}")
        return self

    @model_validator(mode="after")
    def _exits_of_many_networks(self) -> "SupernetSpec":
        for name in ("frozen_backbone", "blended", "policy_loss", "stop_heads"):
            if getattr(self.exits, name):
                raise SpecError(f"exits.{name}", "must be set only for the training of single networks")
        return self

    @model_validator(mode="after")
    def _uncompiled(self) -> "SupernetSpec":
        if self.compile:
            rule = "must be false for a supernet, whose subnets differ in every step"
            raise SpecError("compile", f"{rule}, but got {self.compile}")
        return self


class RetrainSpec(TrainSpec):
    """Training of one selected architecture."""

    weights: Literal["supernet", "scratch", "kept"] = "supernet"
    """Initial weights: the supernet's, newly initialised ones (`scratch`), or those under which a separately trained
    candidate was scored (`kept`)."""
