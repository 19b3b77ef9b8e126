"""A small learnable problem: some of the digits, a small supernet, and a training task for both."""

import pytest
import torch

from aebnas.data.batches import Batches, eval_batches
from aebnas.data.channel_statistics import measure_preprocessing
from aebnas.data.data_spec import AugmentSpec, DataSpec
from aebnas.data.datasets import load_train
from aebnas.runtime.network import Network
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.supernet import Supernet
from aebnas.training.sandwich import SandwichTask
from aebnas.training.single_network import SingleTask
from aebnas.training.training_spec import SupernetSpec, TrainSpec

PLAIN = {"recipe": "classic", "batch_size": 64, "precision": "fp32", "lr": 17.6, "warmup": 0.5}


@pytest.fixture(scope="session")
def some_digits(tmp_path_factory):
    """(train of 256, validation of 100)."""
    images = load_train(DataSpec(name="digits"), tmp_path_factory.getbasetemp())
    return images.subset(torch.arange(256)), images.subset(torch.arange(256, 356))


@pytest.fixture(scope="session")
def preprocessing(some_digits):
    return measure_preprocessing(some_digits[0])


@pytest.fixture(scope="session")
def batches(some_digits, preprocessing):
    return Batches(some_digits[0], preprocessing, AugmentSpec(), 64)


@pytest.fixture(scope="session")
def calibration(some_digits, preprocessing):
    return [x_nchw for x_nchw, _ in eval_batches(some_digits[0], preprocessing, 128)]


@pytest.fixture(scope="session")
def two_stages() -> SearchSpace:
    """Two stages with an exit site each: one optional branch in all its forms at each site."""
    value = {
        "input": {"channels": 1, "resolution": 8},
        "classes": 10,
        "stem": {"width": 4},
        "stages": [
            {"width": [4, 8], "depth": [1, 2], "op": ["basic", "mbconv"], "kernel": [1, 3], "expand": 2},
            {"width": [8, 12], "depth": 1, "stride": 2, "op": "basic"},
            {"width": [8, 12], "depth": 1, "op": "basic"},
        ],
        "exits": {"depth": [0, 1, 2], "layer": ["conv", "maxpool"], "width": [1, 2]},
    }
    return SearchSpace(SpaceSpec.model_validate(value))


@pytest.fixture(scope="session")
def make_sandwich(two_stages, some_digits, preprocessing, calibration):
    """The function from settings to a new SandwichTask; equal settings give equal weights."""

    def make(**settings) -> SandwichTask:
        spec = SupernetSpec(**({"epochs": 2, "random_subnets": 0, "branches": 1} | PLAIN | settings))
        supernet = Supernet(two_stages.spec, torch.Generator().manual_seed(3))
        return SandwichTask(supernet, two_stages, spec, some_digits[1], preprocessing, calibration)

    return make


@pytest.fixture
def make_single(two_stages, some_digits, preprocessing, calibration):
    """The same for a SingleTask on the largest architecture."""

    def make(**settings) -> SingleTask:
        spec = TrainSpec(**({"epochs": 2} | PLAIN | settings))
        architecture = two_stages.extreme(largest=True)
        with torch.random.fork_rng():
            torch.manual_seed(3)
            network = Network(lower(architecture))
        return SingleTask(network, architecture, spec, some_digits[1], preprocessing, calibration)

    return make
