"""The model card of an export: what the model is, how to run it, its figures and its limits."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aebnas.core.confidence_intervals import wilson
from aebnas.cost.counts import count_graph
from aebnas.runtime.difficulty import estimator_macs
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import MinExitByClass
from aebnas.runtime.graph import Graph
from aebnas.runtime.monitor import Expected
from aebnas.runtime.preprocessing import CHANNELS, ImageReader, Preprocessing

CLASSES_LISTED = 20
BOOSTED = """

The network is boosted: the logits of an exit are those of its branch and half of the previous exit's. So every branch
on the way runs, also that of an exit at which no image leaves."""


@dataclass(frozen=True)
class CardFacts:
    """The facts on a card that aren't in the model itself. They are published: no paths, no personal data.

    `metrics`, `exit_shares [e]` and `exit_accuracy [e]` (fractions; None where no sample leaves) were measured
    on `samples` images of `split` (of `measured_on`, where that isn't the dataset), and so were `exit_ece [e]` and
    `exit_ece_before [e]`: the calibration error of each exit over all of them, with its temperature and without (empty
    where not measured). `training` is a sentence or two on the training, `device` markdown on predicted and measured
    latency and energy, `thresholds` a sentence on the goal and the images of thresholds that weren't found in the
    search. `promise` is that of a risk goal, as JSON. `rules` are the space's criteria, patience and stop thresholds
    and the method of the threshold search, which `calibrate` with new images searches again; None in folders of earlier
    versions. Raises ValueError for figures out of range or for differing numbers of exits.
    """

    name: str
    dataset: str
    split: str
    samples: int
    metrics: Mapping[str, float]
    exit_shares: tuple[float, ...]
    exit_accuracy: tuple[float | None, ...]
    training: str
    aebnas_version: str
    device: str = ""
    date: str | None = None
    measured_on: str | None = None
    thresholds: str | None = None
    promise: Mapping[str, Any] | None = None
    rules: Mapping[str, Any] | None = None
    exit_ece: tuple[float, ...] = ()
    exit_ece_before: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, but got {self.samples}")
        if not all(math.isfinite(value) for value in self.metrics.values()):
            raise ValueError(f"metrics must be finite, but got {dict(self.metrics)}")
        if len(self.exit_shares) != len(self.exit_accuracy):
            raise ValueError(
                f"exit_shares and exit_accuracy must be of equally many exits, but got {len(self.exit_shares)} "
                f"and {len(self.exit_accuracy)}"
            )

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return dataclasses.asdict(self) | {"metrics": dict(self.metrics)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "CardFacts":
        """Read what `to_json` wrote."""
        names = ("exit_shares", "exit_accuracy", "exit_ece", "exit_ece_before")
        lists = {name: tuple(value[name]) for name in names if name in value}
        return cls(**{**value, **lists})


@dataclass(frozen=True)
class ExportCosts:
    """MACs of a sample that leaves at each exit under a policy `[e]`, including the branches it passed and the estimate
    of its difficulty where the policy uses it.

    `full_macs` are those of a sample that leaves at the last exit, `audit_macs` those of one that runs to it without
    leaving anywhere before, `macs_without_exits` those of the same backbone without early exits.
    """

    macs_to_exit: tuple[int, ...]
    full_macs: int
    macs_without_exits: int
    audit_macs: int

    @classmethod
    def of(cls, graph: Graph, policy: ExitPolicy) -> "ExportCosts":
        """Count a graph under a policy; raises UserError for an op without a cost rule."""
        macs = count_graph(graph).macs
        runs_e = np.array([policy.runs(index) for index in range(len(graph.exits))])
        difficulty = 0 if policy.difficulty is None else estimator_macs(graph.input_shape)
        to_exit = tuple((macs.to_exit(runs_e) + difficulty).tolist())
        return cls(to_exit, to_exit[-1], int(macs.without_exits), int(macs.taken_only[-1]))


def model_card(
    facts: CardFacts,
    graph: Graph,
    policy: ExitPolicy,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
) -> str:
    """The card as markdown; raises ValueError when the facts are of another number of exits."""
    if len(facts.exit_shares) != len(graph.exits):
        raise ValueError(f"facts must be of {len(graph.exits)} exits, but got {len(facts.exit_shares)}")
    sections = [
        f"# {facts.name}",
        f"An image classifier with {len(graph.exits)} exits: an image leaves at the first exit that is confident "
        f"enough, and the layers after it do not run. Trained on {facts.dataset}, "
        f"found by aebnas {facts.aebnas_version}{f' on {facts.date}' if facts.date else ''}.",
        _run_section(preprocessing),
        _input_section(preprocessing, class_names),
        _exits_section(facts, graph, policy, class_names),
        _figures_section(facts, graph, policy),
        *([] if facts.promise is None else [_promise_section(facts.promise)]),
        _deployment_section(facts),
        f"## Training\n\n{facts.training}" + (f" {facts.thresholds}" if facts.thresholds else ""),
        _limits_section(facts),
    ]
    return "\n\n".join(sections) + "\n"


def _run_section(preprocessing: Preprocessing) -> str:
    image = "image.png" if preprocessing.shape[0] in CHANNELS else "image.npy"
    return f"""## Run it

Requires Python 3.11 or newer with torch, numpy, pillow and safetensors; nothing else.

```
python model.py {image}
python model.py --check
```

The first prints class, probability, exit taken and share of the full multiply-adds; the second runs the
recorded images and compares the outputs with the recorded ones. `--device cuda` runs either there. From Python, in this
folder:

```python
from model import Model
predictions = Model.load().predict("{image}")
```

`Model.load(device="cuda", dtype=torch.bfloat16)` runs the network on another device or in another number type."""


def _input_section(preprocessing: Preprocessing, class_names: Sequence[str]) -> str:
    channels, height, width = preprocessing.shape
    listed = ", ".join(class_names[:CLASSES_LISTED])
    more = ", and so on" if len(class_names) > CLASSES_LISTED else ""
    return f"""## Input and output

{_image_kinds(channels)} of {height} x {width} pixels (height x width), 8 bits a channel. Arrays must be uint8
`[n, {height}, {width}, {channels}]`, that of a `.npy` file `[{height}, {width}, {channels}]`.
{_reading(preprocessing.reader)}

Normalisation is part of the model. For other drivers `runtime/preprocessing.py` reads and normalises images without
torch: `Preprocessing.from_json` reads `preprocessing.json`.

{len(class_names)} classes: {listed}{more} (all in `preprocessing.json`)."""


def _image_kinds(channels: int) -> str:
    return {1: "Grey images", 3: "RGB images"}.get(channels, f"Arrays of {channels} channels")


def _reading(reader: ImageReader) -> str:
    """How image files become pixels."""
    if reader.shape[0] not in CHANNELS:
        return "Image files, which have 1 or 3 channels, cannot be used."
    ground = f"the colour {', '.join(map(str, reader.ground))} (red, green, blue)"
    fit = {
        "crop": "their centre, in this aspect ratio, is resized",
        "stretch": "they are resized without keeping their aspect ratio",
        "pad": f"they are resized in their aspect ratio and surrounded by {ground}",
    }[reader.fit]
    antialiased = "" if reader.resize == "nearest" else ", antialiased"
    return f"""Image files may be of any format that Pillow reads and of any size: {fit}
({reader.resize}{antialiased}). They are decoded in full, the orientation in EXIF is applied, transparent pixels lie on
{ground}, 16-bit grey is scaled to 8 bits, of several frames the first is read, and colour profiles are not applied.
Floating-point images are refused."""


def _exits_section(facts: CardFacts, graph: Graph, policy: ExitPolicy, class_names: Sequence[str]) -> str:
    costs = ExportCosts.of(graph, policy)
    same, boosted = ("backbone", BOOSTED) if graph.boosted else ("network", "")
    rows = ["| exit | leaves if score > | share | accuracy there | MACs to there |", "|---|---|---|---|---|"]
    for index, macs in enumerate(costs.macs_to_exit):
        accuracy, share = facts.exit_accuracy[index], facts.exit_shares[index]
        there = "-" if accuracy is None else f"{accuracy:.2%}"
        cost = f"{macs:,}" if policy.runs(index) else "-"
        rows.append(f"| {index + 1} | {policy.threshold_text(index)} | {share:.1%} | {there} | {cost} |")
    return f"""## Exits

Score: {policy.criterion}, in [0, 1]. Shares and accuracies are those of {_where(facts)}.

{chr(10).join(rows)}{_other_rules(policy, class_names)}

{_calibration(facts, policy)}

MACs (multiply-adds of convolutions and linear layers) include the exit branches passed on the way. The same
{same} without early exits takes {costs.macs_without_exits:,}.{boosted}"""


def _calibration(facts: CardFacts, policy: ExitPolicy) -> str:
    """Whether probabilities are calibrated, the temperatures, and the remaining calibration error."""
    columns = []
    if policy.temperatures:
        head = (
            "Probabilities are calibrated: an exit's logits are divided by its temperature, fitted on images that the "
            "weights were not trained on."
        )
        columns.append(("temperature", [f"{value:.4g}" for value in policy.temperatures]))
        columns.append(("ECE without temperature", [f"{value:.4f}" for value in facts.exit_ece_before]))
    else:
        head = "Probabilities are not calibrated: no temperatures were fitted."
    columns.append(("ECE", [f"{value:.4f}" for value in facts.exit_ece]))
    if facts.exit_ece:
        head += " ECE is the expected calibration error of an exit over all samples."
    columns = [(name, values) for name, values in columns if values]
    if not columns:
        return head
    header = [f"| exit | {' | '.join(name for name, _ in columns)} |", "|---" * (1 + len(columns)) + "|"]
    rows = zip(*(values for _, values in columns), strict=True)
    return "\n".join(
        [head, "", *header, *(f"| {number} | {' | '.join(row)} |" for number, row in enumerate(rows, start=1))]
    )


def _figures_section(facts: CardFacts, graph: Graph, policy: ExitPolicy) -> str:
    counts = count_graph(graph)
    rows = "\n".join(f"| {name} | {_figure(value)} |" for name, value in facts.metrics.items())
    low, high = wilson(facts.metrics["accuracy"], facts.samples)
    device = f"\n\n{facts.device}" if facts.device else ""
    return f"""## Figures

On {_where(facts)}; the 95 % interval of the accuracy is {low:.4g} to {high:.4g}:

| metric | value |
|---|---|
{rows}

{counts.params.total:,} parameters, {counts.weight_bytes.total:,} bytes of weights (fp32).{device}"""


def _promise_section(promise: Mapping[str, Any]) -> str:
    uses = promise.get("certify_uses", 1)
    several = (
        ""
        if uses < 2
        else f"\n\nPolicies of this network have been tested on these samples {uses} times; the promise holds for each "
        "of them separately, not for the best of several."
    )
    return f"""## Promise about risk

{promise["promise"]}

| n | epsilon | delta | candidates passed |
|---|---|---|---|
| {promise["n"]:,} | {promise["epsilon"]:g} | {promise["delta"]:g} | {promise["passed"]} of {promise["candidates"]} |

The samples were not used for anything else in making this model. The promise holds for images from the same
distribution; it doesn't hold for others, nor after thresholds are changed or adapted.{several}"""


def _deployment_section(facts: CardFacts) -> str:
    return f"""## After deployment

`model.monitor.report()` returns how many images left at each exit and the mean confidence there. After every
{Expected(facts.exit_shares, facts.samples).window:,} images `model.monitor.drift` is updated: whether an exit's rate
is outside its band (`monitor.json`). If so, collect labelled images and, where aebnas is installed, find new
thresholds: `aebnas calibrate FOLDER --data new.npz --accuracy-target 0.9` (`x`, uint8 images, and `y`, their classes).

`model.adapt(target=0.9)` adapts thresholds to the images seen instead: a share of them (`audit_share`) also runs
to the last exit, whose prediction serves as the label of the early one. `model.adaptive.state` is the entire state."""


def _limits_section(facts: CardFacts) -> str:
    return f"""## Limits

- Made for images like those of {facts.dataset}. Any other image is also assigned one of its classes, often with a
  high probability.
- The thresholds were tuned on clean images. Blurred, noisy or out-of-distribution ones may leave too early (and be
  wrong) or too late (and cost more than the average above).
- The figures hold for the split named above; with a small number of samples their confidence intervals are wide.

## Licence

`model.py` and `runtime/` are part of aebnas (Apache-2.0). The weights are under the terms of those who
trained them; the terms of the data apply, too."""


def _where(facts: CardFacts) -> str:
    return f"{facts.samples:,} samples of the `{facts.split}` split of {facts.measured_on or facts.dataset}"


def _other_rules(policy: ExitPolicy, class_names: Sequence[str]) -> str:
    """The rules that decide besides scores and thresholds, as a markdown list; empty where there are none."""
    if not policy.sentences:
        return ""
    lines = [*policy.sentences, *_exits_by_class(policy, class_names)]
    return "\n\n" + "\n".join(f"- {line}" for line in lines) + "\n\nAll numbers are in `policy.json`."


def _exits_by_class(policy: ExitPolicy, class_names: Sequence[str]) -> list[str]:
    """The minimum exits of predicted classes that differ from the lowest one, a line per exit."""
    rule = policy.find(MinExitByClass)
    exits = () if rule is None else rule.exits
    lines = []
    for exit_ in sorted(set(exits) - {min(exits, default=0)}):
        names = [name for name, own in zip(class_names, exits, strict=True) if own == exit_]
        more = ", and so on" if len(names) > CLASSES_LISTED else ""
        lines.append(f"Minimum exit {exit_ + 1}: {', '.join(names[:CLASSES_LISTED])}{more}.")
    return lines


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
