"""Every training on unbalanced data: with class weights, or balanced sampling, the rare class is recognised."""

import numpy as np
import pytest
import torch

from aebnas.data.batches import Batches, eval_batches
from aebnas.data.class_balance import balanced_weights
from aebnas.data.data_spec import AugmentSpec
from aebnas.data.image_set import ImageSet
from aebnas.policies.exit_table.tabulate import tabulate
from aebnas.runtime.preprocessing import ImageReader, Preprocessing
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.supernet import Supernet
from aebnas.training.exits.add_stop_heads import add_stop_heads
from aebnas.training.exits.exit_training_spec import ExitTrainingSpec
from aebnas.training.loop import fit
from aebnas.training.sandwich import SandwichTask
from aebnas.training.single_network import fresh_network
from aebnas.training.stages import fit_network
from aebnas.training.training_spec import SupernetSpec, TrainSpec

SPACE = SearchSpace(
    SpaceSpec.model_validate(
        {
            "input": {"channels": 1, "resolution": 4},
            "classes": 3,
            "stem": {"width": 4},
            "stages": [{"width": [4, 8], "depth": 1, "op": "basic"}, {"width": 8, "depth": 1, "op": "basic"}],
            "exits": {"at": ["stage1"], "optional": False},
        }
    )
)
SETTINGS = {"epochs": 4, "batch_size": 32, "precision": "fp32", "recipe": "classic", "lr": 35.2, "distillation": 0.3}
PREPROCESSING = Preprocessing((0.5,), (0.25,), ImageReader((1, 4, 4)))
BALANCES = {"none": (False, False), "weights": (True, False), "sampling": (False, True)}


def images(counts, seed):
    """Grey images of overlapping brightness, which rises with the class; class 2 has no image."""
    generator = torch.Generator().manual_seed(seed)
    labels_n = torch.tensor([0] * counts[0] + [1] * counts[1])
    level_n = 110 + 30 * labels_n[:, None, None, None] + 25 * torch.randn(len(labels_n), 1, 1, 1, generator=generator)
    pixels = (level_n + 20 * torch.randn(len(labels_n), 1, 4, 4, generator=generator)).clamp(0, 255)
    return ImageSet.of(pixels.to(torch.uint8), labels_n, 3)


TRAIN, TEST = images((300, 20), 1), images((200, 200), 2)
CALIBRATION = [x_nchw for x_nchw, _ in eval_batches(TRAIN, PREPROCESSING, 160)]


def batches(balance, **augment):
    weighted, sampled = BALANCES[balance]
    weights = balanced_weights(TRAIN.labels, TRAIN.classes) if weighted else None
    return Batches(TRAIN, PREPROCESSING, AugmentSpec(**augment), 32, balanced=sampled, class_weights=weights)


def recalls(network):
    """Share of correct test images of the frequent and of the rare class, at the last exit."""
    table = tabulate(network, TEST, PREPROCESSING, ["confidence"])
    correct_n = table.correct_ne[:, -1]
    return [float(correct_n[np.asarray(TEST.labels) == label].mean()) for label in (0, 1)]


def single(balance, exits=None, **augment):
    architecture = SPACE.extreme(largest=True)
    spec = TrainSpec(**SETTINGS, exits=exits or ExitTrainingSpec())
    network = add_stop_heads(fresh_network(architecture, 5), spec.exits)
    trained = fit_network(
        network, architecture, spec, batches(balance, **augment), 7, "test", None, None, CALIBRATION, CALIBRATION
    )
    return recalls(trained)


def sandwich(balance):
    architecture, spec = SPACE.extreme(largest=True), SupernetSpec(**SETTINGS, random_subnets=0, branches=1)
    supernet, made = Supernet(SPACE.spec, torch.Generator().manual_seed(3)), batches(balance)
    task = SandwichTask(supernet, SPACE, spec, TEST, PREPROCESSING, CALIBRATION, made.class_weights)
    trained = fit(task, made, spec, 7, "test", None)
    return recalls(trained.extract(architecture, trained.recalibrate(architecture, CALIBRATION)))


CASES = {
    "labels": single,
    "mixup": lambda balance: single(balance, mixup=0.2),
    "stop heads": lambda balance: single(balance, ExitTrainingSpec(stop_heads=True)),
    "blended": lambda balance: single(balance, ExitTrainingSpec(blended=True)),
    "supernet": sandwich,
}


@pytest.mark.parametrize("case", CASES)
def test_the_rare_class_is_recognised_more_often(case):
    found = {balance: CASES[case](balance) for balance in BALANCES}
    for balance in ("weights", "sampling"):
        assert found[balance][1] > found["none"][1] + 0.1, found
        assert np.mean(found[balance]) > np.mean(found["none"]), found
