"""Settings of trainings as earlier versions wrote them, in today's terms."""

from collections.abc import Mapping
from typing import Any

from aebnas.training.recipes.presets import CLASSIC, DECOUPLED_BATCH


def upgraded_experiment(value: Any) -> Any:
    """The experiment of a `config.json`, whose trainings may have been written before there were recipes."""
    if not isinstance(value, dict):
        return value
    value = dict(value)
    for name in ("supernet", "retrain", "relaxed"):
        if isinstance(value.get(name), dict):
            value[name] = upgraded_training(value[name], value[name].get("epochs"))
    evaluate = value.get("evaluate")
    if isinstance(evaluate, dict) and isinstance(evaluate.get("training"), dict):
        epochs = str(evaluate.get("weights")).partition("(")[2].rstrip(")")
        training = upgraded_training(evaluate["training"], int(epochs) if epochs.isdigit() else None)
        value["evaluate"] = evaluate | {"training": training}
    return value


def upgraded_training(value: Mapping[str, Any], epochs: Any) -> dict[str, Any]:
    """The settings of one training of so many epochs; unchanged if they have a recipe.

    The learning rate was SGD's own, and shares of the training were numbers of epochs. Values that aren't numbers, or
    out of range, stay for the check of the spec to report.
    """
    # the only recipe that earlier versions knew, and that only supernets named
    if value.get("recipe", "sandwich") != "sandwich" or not isinstance(epochs, int):
        return dict(value)
    try:
        return _upgraded(value, epochs)
    except (TypeError, ZeroDivisionError):
        return dict(value)


def _upgraded(value: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    new = {key: setting for key, setting in value.items() if key not in ("warmup_epochs", "recipe")}
    new["recipe"] = "classic"
    batch, momentum = value.get("batch_size", CLASSIC["batch_size"]), value.get("momentum", CLASSIC["momentum"])
    if "lr" in value:
        new["lr"] = value["lr"] * DECOUPLED_BATCH / batch * (1 + 1 / (1 - momentum))
        new["weight_decay"] = value.get("weight_decay", 5e-4) * new["lr"]
    new["warmup"] = min(value.get("warmup_epochs", 1.0) / epochs, 0.999)
    if isinstance(exits := value.get("exits"), dict):
        new["exits"] = _upgraded_exits(exits, epochs)
    return new


def _upgraded_exits(value: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    old = ("warmup_epochs", "activation_epochs", "backbone_epochs")
    new = {key: setting for key, setting in value.items() if key not in old}
    new["backbone_first"] = min(value.get("warmup_epochs", 0) / epochs, 0.999)
    new["activation_share"] = min(value.get("activation_epochs", 1) / epochs, 1.0)
    if backbone := value.get("backbone_epochs", 0):
        new |= {"frozen_backbone": 1 - backbone / epochs, "backbone_first": 0.0}
    return new
