"""Running a network in training, compiled by torch.compile where the recipe says so."""

import shutil
from collections.abc import Callable

import torch

from aebnas.core.spec_base import updated
from aebnas.runtime.network import Network, Outputs
from aebnas.training.training_spec import TrainSpec

MIN_STEPS = 3000
"""Steps from which compiling is worth its time: a minute or two, for steps that are about an eighth shorter."""

Forward = Callable[..., Outputs]
"""`forward(x_nchw, active)`; see `Network.outputs`."""


def with_compiling_decided(spec: TrainSpec, per_epoch: int) -> TrainSpec:
    """The settings with `compile: auto` replaced by true or false; `per_epoch` is steps in an epoch."""
    if spec.compile != "auto":
        return spec
    steps = spec.planned_steps(per_epoch)
    long = steps is None or steps >= MIN_STEPS
    can = torch.cuda.is_available() or shutil.which("g++") is not None
    return updated(spec, {"compile": long and can and not torch.are_deterministic_algorithms_enabled()})


def outputs_of(network: Network, spec: TrainSpec) -> Forward:
    """`network.outputs`, compiled or not. One program is compiled for each size of images and set of exits."""
    if spec.compile is not True:
        return network.outputs
    compiled: Forward = torch.compile(network.outputs, dynamic=False)
    return compiled
