"""Exports whose policy uses more than a score: difficulty, temperatures, coefficients; and online adaptation."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exporting import NAMES, facts, midway_policy, pixels, preprocessing, random_network

from aebnas.data.image_set import ImageSet
from aebnas.export.card import model_card
from aebnas.export.folder import export_model
from aebnas.export.model import Model
from aebnas.policies.exit_table.difficulty_fit import fit_difficulty
from aebnas.runtime.difficulty import estimator_macs
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import MinExitByClass
from aebnas.runtime.normalise import normalise
from aebnas.runtime.threshold_rules import Coefficients, DifficultyOffset


@pytest.fixture(scope="module")
def dart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with temperatures, thresholds by difficulty and coefficients by class."""
    folder = tmp_path_factory.mktemp("dart") / "model"
    network = random_network()
    plain = midway_policy(network, normalise(pixels(), preprocessing()))
    images = ImageSet.of(pixels(), torch.zeros(40, dtype=torch.int64), 10)
    policy = replace(
        plain,
        temperatures=(0.8, 1.3, 2.0),
        rules=(Coefficients(((1.0,), (0.95,) * 10)), DifficultyOffset(fit_difficulty(images), 0.1)),
    )
    export_model(folder, network, policy, preprocessing(), NAMES, pixels(), facts(3))
    return folder


def test_the_folder_decides_as_the_policy_and_passes_its_own_check(dart: Path) -> None:
    model = Model.load(dart)
    assert model.check().problems == ()
    network = random_network()
    alpha_n = model.policy.difficulty.alpha(pixels())
    expected = network.infer(normalise(pixels(), preprocessing()), model.policy, alpha_n)
    assert model.infer(pixels()).exit_index.tolist() == expected.exit_index.tolist()
    assert len(set(expected.exit_index.tolist())) > 1


def test_the_estimate_of_difficulty_is_part_of_the_costs(dart: Path, grey: Path) -> None:
    with_difficulty, without = (json.loads((folder / "costs.json").read_text()) for folder in (dart, grey))
    more = [a - b for a, b in zip(with_difficulty["macs_to_exit"], without["macs_to_exit"], strict=True)]
    assert more == [estimator_macs((1, 8, 8))] * 3
    assert with_difficulty["macs_without_exits"] == without["macs_without_exits"]


def test_the_card_lists_the_rules_of_the_policy(dart: Path, grey: Path) -> None:
    rich, plain = ((folder / "README.md").read_text(encoding="utf-8") for folder in (dart, grey))
    assert "- 0.1 times the image's difficulty" in rich
    assert "Probabilities are calibrated" in rich and all(
        f"| {row} |" in rich for row in ("1 | 0.8", "2 | 1.3", "3 | 2")
    )
    assert "Probabilities are not calibrated: no temperatures were fitted." in plain
    assert "All numbers are in `policy.json`" in rich and "All numbers are in" not in plain


def test_the_card_names_the_classes_that_have_minimum_exits() -> None:
    """By exit; those of the lowest one aren't listed."""
    policy = ExitPolicy("margin", (0.3, 0.5), rules=(MinExitByClass((1, 0, 2, 1) + (0,) * 6),))
    names = ["cat", "dog", "deer", "frog", *map(str, range(6))]
    card = model_card(facts(3), random_network().graph, policy, preprocessing(), names)
    assert "- Minimum exit 2: cat, frog.\n- Minimum exit 3: deer.\n" in card and "Minimum exit 1" not in card


def test_probabilities_are_calibrated_by_the_exits_temperature(dart: Path) -> None:
    model = Model.load(dart)
    array = pixels().permute(0, 2, 3, 1).numpy()
    found = model.infer(pixels())
    for prediction, logits_c, taken in zip(model.predict(array), found.logits, found.exit_index, strict=True):
        scaled_c = logits_c / model.policy.temperatures[int(taken)]
        assert prediction.probability == pytest.approx(scaled_c.softmax(0).max().item(), rel=1e-4)


def test_adaptation_can_be_turned_on_and_off(dart: Path) -> None:
    model = Model.load(dart)
    fixed = model.infer(pixels()).exit_index.tolist()
    adaptive = model.adapt(every=20, window=20, audit_share=1.0, target=1.0, eta=0.5)
    for _ in range(3):
        model.infer(pixels())
    assert adaptive.state.seen == 120
    assert adaptive.state.coefficients_ek.max() > 1.05
    assert model.check().problems == ()  # the check uses the exported policy
    model.adaptive = None
    assert model.infer(pixels()).exit_index.tolist() == fixed
