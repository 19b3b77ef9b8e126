"""The tiny run by relaxed networks: a space of one cell, and what its experiment says besides."""

from tiny_run import EXPERIMENT, TRAIN

SPACE = {
    "input": {"channels": 1, "resolution": 8},
    "classes": 10,
    "stem": {"width": 4},
    "backbone": "dag",
    "dag": {"nodes": 2, "ops": ["zero", "identity", {"op": "conv", "kernel": [1, 3]}], "stacks": [{"width": 6}]},
    "exits": {"at": "every_node", "depth": [0, 1]},
    "policy": {"thresholds": {"optimise": {"per_exit": 5, "max_points": 6}}},
}
DARTS = {
    "data": EXPERIMENT["data"] | {"splits": {"arch": 0.2, "search": 0.2, "calibrate": 0.2, "certify": 0}},
    "strategy": {"name": "adaptive_darts", "lambdas": [0.05, 1.0]},
    "relaxed": TRAIN | {"epochs": 3, "arch_lr": 0.05, "lambda_warmup_epochs": 1, "controller": 2, "min_share": 0.0},
    "evaluate": {"weights": "finetune(1)", "calibration_images": 128},
    "retrain": TRAIN | {"weights": "kept", "epochs": 1, "lr": 8.8},
}
