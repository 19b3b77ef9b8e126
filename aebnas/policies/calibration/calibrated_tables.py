"""The tables from which a network is scored: first its exits' temperatures are fitted on `calibrate`."""

from collections.abc import Mapping

from aebnas.core.progress import MakeBar, no_bar
from aebnas.cost.model import COUNTS, CostModel
from aebnas.data.image_set import ImageSet
from aebnas.data.splits import CALIBRATE
from aebnas.policies.calibration.temperature import fit_temperatures
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.sample_costs import table_costs
from aebnas.policies.exit_table.tabulate import record_logits
from aebnas.policies.threshold_search.find import rules_for
from aebnas.runtime.network import Network
from aebnas.runtime.preprocessing import Preprocessing
from aebnas.space.policy_spec import PolicySpec

Tables = dict[str, ExitTable]
"""Split name -> table."""


def calibrated_tables(
    network: Network,
    images: Mapping[str, ImageSet],
    preprocessing: Preprocessing,
    policy: PolicySpec,
    costs: CostModel = COUNTS,
    keep_logits: bool = False,
    progress: MakeBar = no_bar,
) -> Tables:
    """Tables of `network` (in evaluation mode, fp32) on splits, with temperatures fitted on `calibrate`, one of them.

    They hold the scores of all rules that are searched for the network under `policy` (see `rules_for`), with those
    temperatures. Raises ValueError for NaN logits, UserError for a layer whose cost isn't known.
    """
    recorded = {name: record_logits(network, split, preprocessing, progress) for name, split in images.items()}
    fitted_on = recorded[CALIBRATE]
    rules = rules_for(policy, stop_heads=fitted_on.stop_logits_nk is not None)
    temperatures = fit_temperatures(fitted_on.logits_nec.numpy(), fitted_on.labels_n.numpy())
    return {
        name: each.table(rules.scores, table_costs(costs, network.graph, each.chosen), keep_logits, temperatures)
        for name, each in recorded.items()
    }
