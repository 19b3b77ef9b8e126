"""Running a network once over a set of images to fill its ExitTable."""

from collections.abc import Sequence

import torch

from aebnas.core.progress import MakeBar, no_bar
from aebnas.cost.model import COUNTS, CostModel
from aebnas.data.batches import eval_batches
from aebnas.data.image_set import ImageSet
from aebnas.policies.exit_table.difficulty_fit import alphas
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.recorded_logits import RecordedLogits
from aebnas.policies.exit_table.sample_costs import table_costs
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.runtime.preprocessing import Preprocessing

EVAL_BATCH = 250


@torch.inference_mode()
def record_logits(
    network: Network, images: ImageSet, preprocessing: Preprocessing, progress: MakeBar = no_bar
) -> RecordedLogits:
    """The outputs of `network` (in evaluation mode, fp32) for `images` at all exits."""
    device = next(network.parameters()).device
    logits, labels, stops = [], [], []
    chosen: dict[str, list[torch.Tensor]] = {}
    with progress("tabulating images", len(images), 0) as bar:
        for x_nchw, labels_n in eval_batches(images, preprocessing, EVAL_BATCH, device):
            outputs = network.outputs(x_nchw)
            logits.append(torch.stack([exit_nc.float().cpu() for exit_nc in outputs.logits], 1))
            if outputs.stop_logits:
                stops.append(torch.stack([logit_n.float().cpu() for logit_n in outputs.stop_logits], 1))
            for name, chosen_n in outputs.chosen.items():
                chosen.setdefault(name, []).append(chosen_n.cpu())
            labels.append(labels_n.cpu())
            bar.advance(len(labels_n))
    together = {name: torch.cat(parts) for name, parts in chosen.items()}
    return RecordedLogits(torch.cat(logits), torch.cat(labels), torch.cat(stops) if stops else None, together)


def tabulate(
    network: Network,
    images: ImageSet,
    preprocessing: Preprocessing,
    criteria: Sequence[str],
    progress: MakeBar = no_bar,
    keep_logits: bool = False,
    difficulty: Difficulty | None = None,
    temperatures: tuple[float, ...] = (),
    costs: CostModel = COUNTS,
) -> ExitTable:
    """The ExitTable of `network` (in evaluation mode, fp32) on `images`, with all costs of `costs`.

    With `difficulty` it holds the difficulty of every image and the cost of the estimate. Raises ValueError for NaN
    logits, UserError for a layer whose cost isn't known.
    """
    recorded = record_logits(network, images, preprocessing, progress)
    table = recorded.table(criteria, table_costs(costs, network.graph, recorded.chosen), keep_logits, temperatures)
    return table if difficulty is None else with_difficulty_of(table, difficulty, images, costs)


def with_difficulty_of(
    table: ExitTable, difficulty: Difficulty, images: ImageSet, costs: CostModel = COUNTS
) -> ExitTable:
    """The table with the images' difficulty and the cost of one estimate; raises UserError where `costs` doesn't have
    that cost."""
    return table.with_difficulty(difficulty, alphas(images, difficulty), costs.difficulty_costs(images.shape))


def tabulate_for(
    policy: ExitPolicy,
    network: Network,
    images: ImageSet,
    preprocessing: Preprocessing,
    progress: MakeBar = no_bar,
    costs: CostModel = COUNTS,
) -> ExitTable:
    """The ExitTable with all values that one policy uses; see `tabulate`."""
    return tabulate(
        network,
        images,
        preprocessing,
        [policy.criterion],
        progress,
        difficulty=policy.difficulty,
        temperatures=policy.temperatures,
        costs=costs,
    )
