"""Training recipes by name. Imports no torch."""

from collections.abc import Mapping
from typing import Any, Literal

DECOUPLED_BATCH = 1024
"""Images to which the decoupled learning rate refers."""

RecipeName = Literal["fast", "classic"]

FAST: Mapping[str, Any] = {
    "batch_size": "auto",
    "optimiser": "sgd",
    "lr": 35.2,
    "momentum": 0.9,
    "weight_decay": 0.0176,
    "muon_lr": 0.2,
    "muon_momentum": 0.6,
    "schedule": "linear",
    "warmup": 0.1,
    "norm_bias_lr": 1.0,
    "identity_init": False,
    "whiten": False,
    "label_smoothing": 0.0,
    "distillation": 0.5,
    "distil_from": "last",
    "clip": 50.0,
    "ema": 0.99,
    "lookahead": 0,
    "resolution_steps": ((0.0, 0.625), (0.3, 0.75), (0.6, 1.0)),
}
CLASSIC: Mapping[str, Any] = {
    "batch_size": 128,
    "optimiser": "sgd",
    "lr": 8.8,
    "momentum": 0.9,
    "weight_decay": 0.0044,
    "muon_lr": 0.2,
    "muon_momentum": 0.6,
    "schedule": "cosine",
    "warmup": 0.05,
    "norm_bias_lr": 1.0,
    "identity_init": False,
    "whiten": False,
    "label_smoothing": 0.1,
    "distillation": 0.5,
    "distil_from": "last",
    "clip": 5.0,
    "ema": 0.99,
    "lookahead": 0,
    "resolution_steps": (),
}
PRESETS: Mapping[RecipeName, Mapping[str, Any]] = {"fast": FAST, "classic": CLASSIC}
"""Recipe -> the values of the keys that a spec doesn't give."""
