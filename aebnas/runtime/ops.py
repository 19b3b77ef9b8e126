"""Every op a Graph node can name, once: the dict `OPS`. A line in it makes an op of a module.

Imports no torch before a module is built, so that specs are checked, counted and drawn without it. Weight sharing
slices the parameters of any op by shape (`aebnas/supernet/elastic.py`), so an op needs nothing more to become elastic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import cost_rules
from .choice_rules import choice_counts, choice_shape
from .cost_rules import CountRule
from .shape_rules import ShapeRule, class_scores, equal, resized, window

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Op:
    """A module with its shape rule, its cost rule and its attributes, the arguments of its constructor.

    `module` is the class, or where it stands in this package (`blocks.Conv`), which is loaded when it is first asked
    for. The attributes say which choices mean something for the op: one that takes `expand` is given the block's
    expansion, one that doesn't leaves that gene inactive. `needs` must be given, `options` have a default.
    `many_inputs` tells whether the op takes more than one input.
    """

    module: str | type[nn.Module]
    out_shape: ShapeRule
    counts: CountRule
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    many_inputs: bool = False

    @cached_property
    def takes(self) -> frozenset[str]:
        """Names of all attributes."""
        return frozenset(self.needs + self.options)

    @cached_property
    def kind(self) -> type[nn.Module]:
        """The module's class."""
        if not isinstance(self.module, str):
            return self.module
        file, _, name = self.module.rpartition(".")
        return getattr(import_module(f".{file}", __package__), name)

    def build(self, **attrs: Any) -> nn.Module:
        """A module with these attributes."""
        return self.kind(**attrs)


OPAQUE = "module"
"""Op name of an imported module that a Graph carries without looking inside."""

_CONV = ("in_channels", "out_channels", "kernel", "stride")
_MBCONV = (*_CONV, "expand")

OPS: dict[str, Op] = {
    "conv": Op("blocks.Conv", window, cost_rules.conv_counts, _CONV, ("act",)),
    "sepconv": Op("blocks.SepConv", window, cost_rules.sepconv_counts, _CONV, ("act",)),
    "basic": Op("blocks.Basic", window, cost_rules.basic_counts, _CONV, ("act",)),
    "mbconv": Op("blocks.MBConv", window, cost_rules.mbconv_counts, _MBCONV, ("se", "act")),
    "fused_mbconv": Op("blocks.FusedMBConv", window, cost_rules.fused_mbconv_counts, _MBCONV, ("se", "act")),
    "maxpool": Op("simple_layers.MaxPool", window, cost_rules.free, ("kernel", "stride")),
    "avgpool": Op("simple_layers.AvgPool", window, cost_rules.free, ("kernel", "stride")),
    "resize": Op("simple_layers.Resize", resized, cost_rules.free, ("side",)),
    "add": Op("simple_layers.Add", equal, cost_rules.free, many_inputs=True),
    "choice": Op("choice.Choice", choice_shape, choice_counts, ("ops", "start"), many_inputs=True),
    "classifier": Op(
        "simple_layers.Classifier", class_scores, cost_rules.classifier_counts, ("in_channels", "classes"), ("pool",)
    ),
}
