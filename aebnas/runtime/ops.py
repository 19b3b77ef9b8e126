"""Every op that a Graph node can name: the dict `OPS`. One line in it makes a module an op.

Imports no torch before a module is built, so that specs are checked, counted and drawn without it. Weight sharing
slices the parameters of any op by shape (`aebnas/supernet/elastic.py`), so an op needs no further code to be elastic.
"""

from . import cost_rules
from .choice_rules import choice_op
from .op import Op, OpaqueOp, stated_counts, stated_shape
from .shape_rules import boosted, class_scores, equal, resized, window

__all__ = ["BOOST", "OPAQUE", "OPS", "Op"]

OPAQUE = "module"
"""Op name of an imported module, whose inner layers a Graph doesn't describe."""

BOOST = "boost"
"""Op name of the sum that an exit of a boosted network gives: its own logits and half of the previous exit's."""

_CONV = ("in_channels", "out_channels", "kernel", "stride")
_MBCONV = (*_CONV, "expand")
_STATED = ("out_shape", "macs", "params", "norm_channels")

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
    "classifier": Op(
        "simple_layers.Classifier", class_scores, cost_rules.classifier_counts, ("in_channels", "classes"), ("pool",)
    ),
    BOOST: Op("simple_layers.Boost", boosted, cost_rules.free, many_inputs=True),
    OPAQUE: OpaqueOp("", stated_shape, stated_counts, _STATED, ("peak_bytes",), many_inputs=True),
}
OPS["choice"] = choice_op(OPS)
