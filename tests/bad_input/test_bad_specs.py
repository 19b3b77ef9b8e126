"""Malformed experiments, given to `aebnas search`: one line with file, YAML path, rule and value."""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_run import EXPERIMENT, FEW_GENES, GENES, SPACE

GONE = object()
NAN, INF = float("nan"), float("inf")
CHANGES: list[tuple[str, Any, str]] = [
    # unknown and misspelt keys
    ("stategy", {}, "stategy: unknown key, did you mean 'strategy'?"),
    ("supernet.epoch", 3, "supernet.epoch: unknown key, did you mean 'epochs'?"),
    ("data.splits.serch", 0.1, "data.splits.serch: unknown key, did you mean 'search'?"),
    ("retrain.weight", "scratch", "retrain.weight: unknown key, did you mean 'weights'?"),
    ("evaluate.training", {"epochs": 3}, "evaluate.training.epochs: unknown key"),
    ("zzz", 1, "zzz: unknown key"),
    ("k" * 300, 1, "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...: unknown key"),
    ("two\nlines", 1, r"two\nlines: unknown key"),
    # keys that are missing
    ("space", GONE, "space: this key is required"),
    ("data", GONE, "data: this key is required"),
    ("data.name", GONE, "data.name: this key is required"),
    ("supernet.epochs", GONE, "supernet.epochs: this key is required"),
    ("retrain", GONE, "retrain: this key is required"),
    # wrong types
    ("space", 3, "space: must be a path, but got 3"),
    ("space", None, "space: must be a path, but got nothing"),
    ("data", "digits", "data: must be a mapping of keys, but got 'digits'"),
    ("supernet", [1, 2], "supernet: must be a mapping of keys, but got [1, 2]"),
    ("objectives", "accuracy", "objectives: must be a list, but got 'accuracy'"),
    ("objectives", [1, 2], "objectives.0: must be text, but got 1 (1 more)"),
    ("supernet.epochs", "many", "supernet.epochs: must be a whole number, but got 'many'"),
    ("supernet.epochs", 1.5, "supernet.epochs: must be a whole number, but got 1.5"),
    ("supernet.epochs", True, "supernet.epochs: must be a whole number, but got True"),
    ("supernet.lr", "fast", "supernet.lr: must be a number, but got 'fast'"),
    ("supernet.lr", {}, "supernet.lr: must be a number, but got {}"),
    ("supernet.channels_last", "perhaps", "supernet.channels_last: must be true or false, but got 'perhaps'"),
    ("strategy.population", [8], "strategy.population: must be a whole number, but got [8]"),
    ("constraints", ["params <= 9", 7], "constraints.1: must be text, but got 7"),
    ("target", 17e6, "target: must be a mapping of keys, but got 17000000.0"),
    ("data.class_names", [1, 2], "data.class_names.0: must be text, but got 1 (1 more)"),
    # out of range
    ("supernet.epochs", 0, "supernet.epochs: must be greater than or equal to 1, but got 0"),
    ("supernet.epochs", 10**17, "supernet.epochs: must be less than or equal to 1000000, but got 1000000000"),
    ("supernet.lr", 0, "supernet.lr: must be greater than 0, but got 0"),
    ("supernet.lr", NAN, "supernet.lr: must be a finite number, but got nan"),
    ("supernet.clip", INF, "supernet.clip: must be a finite number, but got inf"),
    ("supernet.momentum", 1, "supernet.momentum: must be less than 1, but got 1"),
    ("supernet.batch_size", 1, "supernet.batch_size: must be greater than or equal to 2, but got 1"),
    ("supernet.distillation", -0.1, "supernet.distillation: must be greater than or equal to 0, but got -0.1"),
    ("strategy.population", 2, "strategy.population: must be greater than or equal to 4, but got 2"),
    ("strategy.crossover_prob", 1.1, "strategy.crossover_prob: must be less than or equal to 1, but got 1.1"),
    ("supernet.max_pflop", 0, "supernet.max_pflop: must be greater than 0, but got 0"),
    ("retrain.max_pflop", -0.5, "retrain.max_pflop: must be greater than 0, but got -0.5"),
    ("evaluate.max_pflop", INF, "evaluate.max_pflop: must be a finite number, but got inf"),
    ("evaluate.max_pflop", "all", "evaluate.max_pflop: must be a number, but got 'all'"),
    ("evaluate.max_pflop", True, "evaluate.max_pflop: must be a number, but got True"),
    ("evaluate.training", {"max_pflop": 1.0}, "evaluate.training.max_pflop: unknown key"),
    ("evaluate.workers", -1, "evaluate.workers: must be greater than or equal to 0, but got -1"),
    ("evaluate.workers", 10**9, "evaluate.workers: must be less than or equal to 1024, but got 1000000000"),
    ("evaluate.threads", 0, "evaluate.threads: must be greater than or equal to 1, but got 0"),
    ("seed", -1, "seed: must be greater than or equal to 0, but got -1"),
    ("data.splits.search", 1.5, "data.splits.search: must be a fraction above 0 and below 1, or a whole number of at"),
    ("data.splits.search", 0, "data.splits.search: must be a fraction above 0 and below 1, or a whole number of at"),
    (
        "data.splits",
        {"search": 0.6, "calibrate": 0.5},
        "data.splits: fractions must sum to less than 1",
    ),
    # names that aren't known
    (
        "objectives",
        ["acuracy", "macs"],
        "objectives.0: metric must be one of accuracy, balanced_accuracy, worst_class",
    ),
    ("objectives", ["accuracy"], "objectives: must name two or more different metrics, but got ['accuracy']"),
    ("objectives", ["accuracy", "worst_class_acuracy"], "objectives.1: metric must be one of accuracy, balanced_"),
    ("constraints", ["balanced_accuracy >= 70"], "constraints.0: must bound balanced_accuracy by a fraction in [0, 1]"),
    ("classes", "balanced", "classes: must be a mapping of keys, but got 'balanced'"),
    ("classes", {"weight": "balanced"}, "classes.weight: unknown key, did you mean 'weights'?"),
    ("classes.weights", "balance", "classes.weights: must be 'none' or 'balanced', but got 'balance', did you mean"),
    ("classes.sampling", "equal", "classes.sampling: must be 'none' or 'balanced', but got 'equal'"),
    ("classes.weights", {}, "classes.weights: "),
    ("classes.weights", {"3": 0}, "classes.weights.3: must be greater than 0, but got 0"),
    ("classes.weights", {"3": "much"}, "classes.weights.3: must be a number, but got 'much'"),
    ("classes.weights", {"30": 2.0}, "classes.weights.30: must be one of the data's classes (0, 1, 2, 3, 4, 5, 6, 7"),
    (
        "classes",
        {"weights": "balanced", "sampling": "balanced"},
        "classes.sampling: must be none where classes have weights, but got balanced",
    ),
    ("objectives", [], "objectives: must name two or more different metrics, but got []"),
    ("objectives", ["macs", "macs"], "objectives: must name two or more different metrics, but got ['macs', 'macs']"),
    (
        "strategy.name",
        "nsga3",
        "strategy.name: must be 'random', 'nsga2' or 'adaptive_darts', but got 'nsga3', did you mean 'nsga2'?",
    ),
    ("data.name", "cifer10", "data.name: must be 'digits', 'npz', 'folder', 'csv', 'cifar10', "),
    ("data.augment", "crop_flop", "data.augment: must be a mapping or one of none, crop_flip, shift_flip, cutout"),
    ("supernet.precision", "fp8", "supernet.precision: must be 'auto', 'fp32', 'bf16' or 'fp16', but got 'fp8'"),
    ("supernet.recipe", "toast", "supernet.recipe: must be 'fast' or 'classic', but got 'toast'"),
    ("supernet.recipe", ["fast"], "supernet.recipe: must be 'fast' or 'classic', but got ['fast']"),
    ("supernet.batch_size", "many", "supernet.batch_size: must be "),
    ("supernet.steps", 7, "supernet.steps: must be absent where epochs is given, but got 7"),
    ("supernet.max_pflop", 0, "supernet.max_pflop: must be greater than 0, but got 0"),
    ("supernet.schedule", "step", "supernet.schedule: must be 'cosine', 'linear' or 'triangle', but got 'step'"),
    ("supernet.warmup", 1, "supernet.warmup: must be less than 1, but got 1"),
    ("supernet.warmup_epochs", 1, "supernet.warmup_epochs: unknown key"),
    ("supernet.lookahead", 5, "supernet.lookahead: must be 0 where ema is on, but got 5"),
    ("supernet.resolution_steps", [[0.5, 1.0]], "supernet.resolution_steps: must begin at share 0, rise, and end "),
    ("supernet.resolution_steps", [[0, 1.0], [0.5, 0.5]], "supernet.resolution_steps: must begin at share 0, rise"),
    ("supernet.resolution_steps", [[0.0, 2.0]], "supernet.resolution_steps.0.1: must be less than or equal to 1"),
    ("supernet.compile", True, "supernet.compile: must be false for a supernet, whose subnets differ in every step"),
    ("retrain.exits", {"reach_weights": True}, "retrain.exits.reach_weights: must be set only with frozen_backbone"),
    ("retrain.exits", {"backbone_first": 1.0}, "retrain.exits.backbone_first: must be less than 1, but got 1.0"),
    ("retrain.weights", "imagenet", "retrain.weights: must be 'supernet', 'scratch' or 'kept', but got 'imagenet'"),
    ("evaluate.weights", "finetune(0)", "evaluate.weights: must be supernet, finetune(EPOCHS) or scratch(EPOCHS)"),
    ("evaluate.weights", "scratch(99999999)", "evaluate.weights: must be supernet, finetune(EPOCHS) or scratch("),
    (
        "ray",
        "lokal",
        "ray: must be 'local', 'auto' or the address of a cluster, HOST:PORT, but got 'lokal'",
    ),
    # constraints and targets
    ("constraints", ["speed <= 4"], "constraints.0: metric must be one of accuracy, "),
    ("constraints", ["params = 4"], "constraints.0: must read 'metric <= number' or 'metric >= number', but got"),
    ("constraints", ["params <= few"], "constraints.0: must bound params by a number, but got 'params <= few'"),
    (
        "constraints",
        ["params <= nan"],
        "constraints.0: must bound params by a finite number of at least 0, but got nan",
    ),
    ("constraints", ["params <= 1e999"], "constraints.0: must bound params by a finite number of at least 0, but got"),
    ("constraints", ["params >= -4"], "constraints.0: must bound params by a finite number of at least 0, but got -4"),
    ("constraints", ["accuracy >= 97"], "constraints.0: must bound accuracy by a fraction in [0, 1], but got 97"),
    (
        "constraints",
        ["params <= 1e5", "macs <= 1e9", "params >= 2e5"],
        "constraints: must be satisfiable together, but got 'params >= 200000' and 'params <= 100000'",
    ),
    (
        "constraints",
        ["macs <= 1e9", "params <= 10"],
        "constraints.1: no architecture of the space can satisfy 'params <= 10' (minimum params is 1,126)",
    ),
    (
        "constraints",
        ["avg_macs <= 1e3"],
        "constraints.0: no architecture of the space can satisfy 'avg_macs <= 1000'",
    ),
    ("constraints", ["macs >= 1e12"], "constraints.0: no architecture of the space can satisfy 'macs >= 1e+12' (max"),
    ("target", {"metric": "accuracy", "value": 1}, "target.metric: must be one that is minimised, but got 'accuracy'"),
    ("target", {"metric": "mac", "value": 1}, "target.metric: metric must be one of "),
    ("target", {"value": 0}, "target.value: must be greater than 0, but got 0"),
    ("target", {"value": 1e4, "tune_thresholds": True}, "target.tune_thresholds: must be false, since the space has "),
    ("target", {"metric": "macs", "value": 9, "tune_thresholds": True}, "target.metric: must be avg_macs where "),
    # keys that don't go together
    ("supernet", GONE, "supernet: is required when evaluate.weights is supernet"),
    (
        "evaluate.weights",
        "scratch(1)",
        "retrain.weights: must be scratch or kept where evaluate.weights is scratch(1), but",
    ),
    ("supernet.workers", 3, "supernet.batch_size: must give each worker an equal share of 2 or more, but got 64 for 3"),
    ("supernet.exit_weights", "halves", "supernet.exit_weights: must be 'equal' or 'linear', but got 'halves'"),
    ("supernet.exit_weights", {"last": 1}, "supernet.exit_weights: must name every exit site, but stage1 is missing"),
    ("retrain.exit_weights", {"stage1": 0, "last": 0}, "retrain.exit_weights: must not all be zero, but got "),
    (
        "supernet.exit_weights",
        {"stage1": 1, "stage2": 1, "last": 1},
        "supernet.exit_weights: must be one of stage1, last, but got 'stage2', did you mean 'stage1'?",
    ),
    ("supernet.exit_weights", {"stage1": -1, "last": 1}, "supernet.exit_weights.stage1: must be greater than or equal"),
    ("data", {"name": "npz"}, "data.path: must name the array file when 'name' is npz, but got nothing"),
    (
        "data",
        {"name": "folder", "path": "."},
        "data.resolution: must be given (pixels a side, or height x width) when 'name' is folder",
    ),
    ("data", {"name": "digits", "path": "x"}, "data.path: must be absent when 'name' is digits (it is for npz, folder"),
    ("data.class_names", ["a", "b"], "data.class_names: must be 10 names, as in the space, but got 2"),
    # paths
    ("space", "spaec.yaml", "space: must be the file of a search space, but '"),
    ("space", "~nobody_of_that_name/space.yaml", "space: must be a path whose '~user' is a user of this machine"),
    ("space", "a\0b", "space: must be a path without null characters, but got "),
]
TEXTS: list[tuple[str, str | bytes, str]] = [
    ("empty", "", ": must hold a mapping of keys, but got nothing"),
    ("only a comment", "# nothing yet\n", ": must hold a mapping of keys, but got nothing"),
    ("a list at top", "- space: x\n", ": must hold a mapping of keys, but got [{'space': 'x'}]"),
    ("a number at top", "3", ": must hold a mapping of keys, but got 3"),
    ("an unclosed list", "objectives: [1", ", line 1, column 15: must be valid YAML, but got: expected ',' or ']'"),
    ("bad indentation", "data:\n  name: x\n root: y", ", line 3, column 2: must be valid YAML, but got: expected <bl"),
    ("a tab", "data:\n\tname: digits", ", line 2, column 1: must be valid YAML, but got: found character '\\t'"),
    (
        "an unclosed quote",
        "space: 'x\n",
        ", line 2, column 1: must be valid YAML, but got: found unexpected end of str",
    ),
    (
        "two documents",
        "seed: 1\n---\nseed: 2",
        ", line 2, column 1: must be valid YAML, but got: but found another doc",
    ),
    ("an unknown alias", "seed: *a", ", line 1, column 7: must be valid YAML, but got: found undefined alias 'a'"),
    ("a bad merge", "<<: 3", ", line 1, column 5: must be valid YAML, but got: expected a mapping or list of mappings"),
    ("a key twice", "seed: 1\nray: local\nseed: 2", ", line 3, column 1: keys must be distinct, but got 'seed' twice"),
    ("a nested key twice", "data: {name: a, name: b}", ", line 1, column 17: data: keys must be distinct, but got 'na"),
    ("a list as key", "? [1, 2]\n: 3", ", line 1, column 3: a key must be a word, but got a list or a mapping"),
    ("a number as key", yaml.safe_dump(EXPERIMENT | {3: 4}), ": 3: keys must be words, but got 3"),
    ("itself", "data: &a [*a]", ", line 1, column 7: data.0: an alias must not refer to a value that contains it"),
    ("a long number", "seed: " + "9" * 5000, ", line 1, column 7: seed: must be a whole number of at most 18 digits"),
    ("a long hexadecimal", "seed: 0x" + "f" * 5000, ", line 1, column 7: seed: must be a whole number of at most 18"),
    ("half a character", 'space: "\\ud800"', ", line 1, column 8: space: must be text, but got half a character in"),
    ("deep nesting", "[" * 5000, ", line 1, column 51: must be nested at most 50 deep, but got more"),
    ("a null byte", "seed: \0", ": must be valid YAML, but got: unacceptable character #x0000"),
    ("latin-1", "space: caf\xe9".encode("latin-1"), ": must be UTF-8 text, but got byte 0xe9 at position 10"),
    ("utf-16", "space: x".encode("utf-16"), ": must be UTF-8 text, but got byte 0xff at position 0"),
    ("an image", b"\x89PNG\r\n\x1a\n", ": must be UTF-8 text, but got byte 0x89 at position 0"),
    ("a large file", "#" * 300_000, ": must be a YAML file of at most 262,144 bytes, but got 300,000"),
    (
        "a bomb",
        "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)),
        ", line 5, column 5: a4: must hold at most 20,000 values, with aliases expanded",
    ),
]


def changed(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A spec with another value at a dotted path, or without the key."""
    spec = deepcopy(spec)
    *parents, last = path.split(".")
    place = spec
    for part in parents:
        place = place.setdefault(part, {})
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return spec


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with a space, a spec that will be bad, and results of another day."""
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    old = tmp_path / "results" / "bad"
    old.mkdir(parents=True)
    (old / "pareto.csv").write_text("id,accuracy\n", encoding="utf-8")
    return tmp_path


def search(refused, project: Path, content: str | bytes) -> str:
    """The error message of a spec after the file's name, with `results/bad` as its run."""
    spec = project / "bad.yaml"
    spec.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refused(project, "search", spec, "--out", project / "results" / "bad")
    assert line.startswith(str(spec)), line
    return line.removeprefix(str(spec))


@pytest.mark.parametrize(
    "path, value, expected_message", CHANGES, ids=[f"{p[:30]}-{n}" for n, (p, _, _) in enumerate(CHANGES)]
)
def test_a_bad_value(refused, project, path, value, expected_message):
    line = search(refused, project, yaml.safe_dump(changed(EXPERIMENT, path, value)))
    assert line.startswith(f": {expected_message}"), line


@pytest.mark.parametrize("content, expected_message", [text[1:] for text in TEXTS], ids=[text[0] for text in TEXTS])
def test_a_bad_text(refused, project, content, expected_message):
    assert search(refused, project, content).startswith(expected_message)


@pytest.mark.parametrize("tag", ["object/apply:os.system", "object/new:os.system", "name:os.system", "module:os"])
def test_a_tag_that_would_run_code_does_not(refused, project, tag, monkeypatch):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("ran"))
    line = search(refused, project, f"space: space.yaml\nseed: !!python/{tag} ['touch {project / 'ran'}']\n")
    assert line.startswith(", line 2, column 7: must be valid YAML, but got: could not determine a constructor for")


def test_too_many_threshold_combinations(refused, project):
    space = GENES | {"policy": {"thresholds": {"genes": [n / 64 for n in range(64)]}}}
    space["stages"] = [FEW_GENES["stages"][0]] * 5
    (project / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    spec = changed(EXPERIMENT, "target", {"value": 1e4, "tune_thresholds": True})
    line = search(refused, project, yaml.safe_dump(spec))
    assert line == ": target.tune_thresholds: must be a grid of at most 1,000,000 combinations, but got 16,777,216"


def test_files_that_are_none(refused, project):
    assert refused(project, "search", project / "none.yaml") == f"{project / 'none.yaml'}: no such file"
    assert refused(project, "search", project) == f"{project}: must be a YAML file, but got a folder"
    assert refused(project, "search", "/dev/null") == "/dev/null: must be a YAML file, but got something else"
    assert refused(project, "search", project / ("x" * 300)).endswith(": cannot be read: File name too long")
    (project / "bad.yaml").write_text(yaml.safe_dump(EXPERIMENT | {"space": "results"}), encoding="utf-8")
    line = refused(project, "search", project / "bad.yaml")
    assert line == f"{project / 'results'}: must be a YAML file, but got a folder"


def test_an_unknown_ablation(refused, project):
    (project / "bad.yaml").write_text(yaml.safe_dump(EXPERIMENT), encoding="utf-8")
    line = refused(project, "search", project / "bad.yaml", "--ablation", "no-branches")
    assert line.startswith("--ablation must be one of fixed-branches, fixed-thresholds, backbone-only, but got")


@pytest.mark.parametrize("criterion", ["patience", "dual", ["confidence", "patience"]])
def test_an_ablation_that_cannot_apply_to_the_policy(refused, project, criterion):
    heads = {"exits": {"stop_heads": True}}
    content = EXPERIMENT | {"evaluate": {"weights": "scratch(1)", "training": heads}}
    content |= {"retrain": EXPERIMENT["retrain"] | heads | {"weights": "scratch"}}
    (project / "bad.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    space = SPACE | {"policy": {"criterion": criterion}}
    (project / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    line = refused(project, "search", project / "bad.yaml", "--ablation", "fixed-thresholds")
    rule = criterion if isinstance(criterion, str) else criterion[-1]
    assert line == (
        "--ablation fixed-thresholds: policy.criterion: must be confidence, entropy, margin or learned, "
        f"whose thresholds can be fixed, but got '{rule}'"
    )


@pytest.mark.parametrize("place", [0, 1, 2, 4])
def test_debug_shows_the_traceback_wherever_it_stands(project, place):
    from aebnas.cli.main import main
    from aebnas.core.errors import UserError

    arguments = ["search", str(project / "none.yaml"), "--out", str(project / "run")]
    arguments.insert(place, "--debug")
    with pytest.raises(UserError, match="no such file"):
        main(arguments)
