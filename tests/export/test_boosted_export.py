"""Exports of boosted networks: the sums cross from exit to exit in the folder's own code, and `never` branches run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import NAMES, SPACE, facts, midway_policy, pixels, preprocessing

from aebnas.cost.counts import count_graph
from aebnas.export.folder import export_model
from aebnas.export.model import Model
from aebnas.export.recalibrate import retune
from aebnas.policies.threshold_search.goal import Goal
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.runtime.normalise import normalise
from aebnas.space.architecture import Architecture
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower


@pytest.fixture(scope="module")
def network(randomise_module) -> Network:
    largest = SearchSpace.load(SPACE).extreme(largest=True)
    parts = {name: getattr(largest, name) for name in Architecture.model_fields}
    return randomise_module(Network(lower(Architecture(**parts | {"boosted": True}))), 2).eval()


@pytest.fixture(scope="module")
def policy(network: Network) -> ExitPolicy:
    """The first exit is never; the second is taken by some."""
    found = midway_policy(network, normalise(pixels(), preprocessing()))
    return ExitPolicy("confidence", (None, found.thresholds[1]), (1.0, 1.0, 2.0))


@pytest.fixture
def folder(network: Network, policy: ExitPolicy, tmp_path: Path) -> Path:
    export_model(tmp_path / "model", network, policy, preprocessing(), NAMES, pixels(), facts(3))
    return tmp_path / "model"


def test_the_folder_predicts_bitwise_as_the_network(network: Network, policy: ExitPolicy, folder: Path) -> None:
    model = Model.load(folder)
    assert model.check().problems == ()
    expected = network.infer(normalise(pixels(), preprocessing()), policy)
    assert set(expected.exit_index.tolist()) == {1, 2}
    found = model.infer(pixels())
    assert torch.equal(found.logits, expected.logits) and torch.equal(found.exit_index, expected.exit_index)
    assert model.network.graph.to_json() == network.graph.to_json() and model.network.graph.boosted


def test_costs_charge_the_branches_of_never_exits(network: Network, folder: Path) -> None:
    costs, macs = json.loads((folder / "costs.json").read_text()), count_graph(network.graph).macs
    assert costs["macs_to_exit"] == macs.to_exit().tolist()
    assert costs["full_macs"] == costs["audit_macs"] == macs.total
    assert costs["macs_without_exits"] == macs.without_exits < macs.total
    card = (folder / "README.md").read_text()
    assert "The network is boosted: the logits of an exit are those of its branch and half of the previous" in card
    assert f"backbone without early exits takes {costs['macs_without_exits']:,}." in card


def test_an_audit_is_charged_with_the_branches_that_run_for_it(folder: Path) -> None:
    model = Model.load(folder)
    assert model.adapt(audit_share=1.0).audit_cost == 1.0
    costs = json.loads((folder / "costs.json").read_text())
    del costs["audit_macs"]  # as in exports of earlier versions
    (folder / "costs.json").write_text(json.dumps(costs))
    assert Model.load(folder).adapt().audit_cost == costs["macs_without_exits"] / costs["full_macs"]


def test_thresholds_and_temperatures_are_found_again_from_the_folder(folder: Path, tmp_path: Path) -> None:
    images = pixels(n=300).permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "new.npz", x=images, y=Model.load(folder).infer(images).logits.argmax(1).numpy())
    found = retune(folder, tmp_path / "new.npz", Goal(beta=0.1), per_exit=6)
    model = Model.load(folder)
    assert model.check().problems == () and model.policy.to_json() == found.policy.to_json()
    assert len(model.policy.temperatures) == 3 and model.network.graph.boosted
