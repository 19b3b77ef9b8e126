"""Running a network in training, compiled by torch.compile where the recipe says so."""

import shutil
from collections.abc import Callable

import torch

from aebnas.runtime.network import Network, Outputs
from aebnas.training.training_spec import LoopSpec

MIN_STEPS = 1000
"""Steps from which compiling is worth its time."""

Forward = Callable[..., Outputs]
"""`forward(x_nchw, active)`; see `Network.outputs`."""


def outputs_of(network: Network, spec: LoopSpec) -> Forward:
    """`network.outputs`, compiled or not. One program is compiled for each size of images and set of exits."""
    if not _worth_compiling(spec):
        return network.outputs
    compiled: Forward = torch.compile(network.outputs, dynamic=False)
    return compiled


def _worth_compiling(spec: LoopSpec) -> bool:
    if spec.compile != "auto":
        return spec.compile
    if torch.are_deterministic_algorithms_enabled():
        return False
    return torch.cuda.is_available() or shutil.which("g++") is not None
