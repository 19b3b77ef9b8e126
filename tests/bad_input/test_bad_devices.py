"""Searches for a device that can't be, given to `aebnas search`."""

from typing import Any

import pytest
from made_up_device import made_up, write_made_up
from tiny_run import ON_DEVICE, SPACE, write_spec

from aebnas.space.spec import SpaceSpec

PROFILE = {"profile": "chip.json"}
CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"device": None}, "objectives.1: must be a metric without a device, or device.profile must name a profile"),
    ({"device": None, "objectives": ["accuracy", "params"]}, "constraints.0: must be a metric without a device, or"),
    ({"device": {}}, "device.profile: this key is required"),
    ({"device": {"profile": "none.json"}}, "device.profile: must be the file of a device profile, but '"),
    ({"device": PROFILE | {"threads": 4}}, "device.threads: must be 1, as chip.json was measured, but got 4"),
    ({"device": PROFILE | {"batch": 8}}, "device.batch: must be 1, as chip.json was measured, but got 8"),
    ({"device": PROFILE | {"dtype": "bf16"}}, "device.dtype: must be fp32, as chip.json was measured, but got bf16"),
    ({"device": PROFILE | {"dtype": "int8"}}, "device.dtype: "),
    (
        {"device": PROFILE | {"memory_format": "channels_last"}},
        "device.memory_format: must be contiguous, as chip.json was measured, but got channels_last",
    ),
    ({"device": PROFILE | {"compiled": True}}, "device.compiled: must be False, as chip.json was measured"),
    ({"device": PROFILE | {"treads": 1}}, "device.treads: unknown key, did you mean 'threads'?"),
    ({"objectives": ["accuracy", "latency"]}, "objectives.1: metric must be one of accuracy, balanced_accuracy, "),
    ({"constraints": ["latency_ms@p98 <= 1"]}, "constraints.0: metric must be one of accuracy, "),
    ({"constraints": ["avg_macs@p99 <= 1"]}, "constraints.0: metric must be one of accuracy, "),
    (
        {"constraints": ["latency_ms <= 0.001"]},
        "constraints.0: no architecture of the space can satisfy 'latency_ms <= 0.001' (minimum latency_ms is ",
    ),
    (
        {"constraints": ["latency_ms@p99 <= 1e-3"]},
        "constraints.0: no architecture of the space can satisfy 'latency_ms@p99 <= 0.001' (minimum ",
    ),
    (
        {"constraints": ["energy_mj <= 1e-9"]},
        "constraints.0: no architecture of the space can satisfy 'energy_mj <= 1e-09' (minimum energy_mj is ",
    ),
    (
        {"constraints": ["latency_ms >= 1e6"]},
        "constraints.0: no architecture of the space can satisfy 'latency_ms >= 1e+06' (maximum latency_ms is ",
    ),
    (
        {"constraints": ["peak_memory_bytes <= 600"]},
        "constraints.0: no architecture of the space can satisfy 'peak_memory_bytes <= 600' (minimum peak_memory_by",
    ),
]


@pytest.mark.parametrize("changes, message", CHANGES, ids=[message[:60] for _, message in CHANGES])
def test_what_cannot_be(changes, message, refused, tmp_path):
    spec = write_spec(tmp_path, **ON_DEVICE | changes)
    write_made_up(SPACE, tmp_path / "chip.json")
    line = refused(tmp_path, "search", spec, "--out", tmp_path / "run")
    assert line.startswith(f"{spec}: {message}"), line


def test_a_layer_that_the_profile_lacks_is_named(refused, tmp_path):
    spec = write_spec(tmp_path, **ON_DEVICE)
    whole = made_up(SpaceSpec.model_validate(SPACE))
    lacking = {key: timed for key, timed in whole.layers.items() if key[0] != "mbconv"}
    made_up(SpaceSpec.model_validate(SPACE), layers=lacking).save(tmp_path / "chip.json")
    line = refused(tmp_path, "search", spec, "--out", tmp_path / "run")
    assert "chip.json: must hold stage1.block1.mbconv (" in line and "profile this one" in line


@pytest.mark.parametrize(
    "content, message",
    [
        ("not a profile", "chip.json: must be a device profile, but got another file"),
        ('{"format": 1}', "chip.json: must be a device profile, but got another file"),
        ('{"format": 7}', "chip.json: format must be 1, but got 7"),
    ],
)
def test_what_is_no_profile(content, message, refused, tmp_path):
    spec = write_spec(tmp_path, **ON_DEVICE)
    (tmp_path / "chip.json").write_text(content)
    assert message in refused(tmp_path, "search", spec, "--out", tmp_path / "run")


@pytest.mark.parametrize("old, new", [('"batch": 1', '"batch": 0'), ('"ms": 0.', '"ms": -0.'), ('"fp32"', '"fp3"')])
def test_a_profile_with_a_figure_that_cannot_be(old, new, refused, tmp_path):
    spec = write_spec(tmp_path, **ON_DEVICE)
    text = write_made_up(SPACE, tmp_path / "chip.json").read_text()
    assert old in text
    (tmp_path / "chip.json").write_text(text.replace(old, new, 1))
    assert "chip.json: must be a device profile" in refused(tmp_path, "search", spec, "--out", tmp_path / "run")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--onnx"], "--onnx must be combined with --emit, but got no --emit"),
        (["--emit", "DIR", "--import", "r.json"], "--emit, --import and --pairs cannot be combined"),
        (["--pairs", "none.jsonl"], "--device-name, the name of the device, is required when --pairs is given"),
        (["--pairs", "none.jsonl", "--device-name", "phone"], "none.jsonl: cannot be read"),
        (["--helper", "chip.json"], "--helper must be combined with --whole, --pairs or --import"),
        (["--whole", "--helper", "none.json"], "none.json: cannot be read"),
        (["--whole", "--helper", "chip.json"], "chip.json: must hold "),
        (["--import", "chip.json"], "chip.json: must be what measure.py wrote, but got another file"),
        (["--device", "tpu"], "--device must be one of cpu, cuda, but got 'tpu'"),
        (["--memory-format", "odd"], "--memory-format must be one of contiguous, channels_last, but got 'odd'"),
        (["--out", "chip.json"], "chip.json: must not exist yet, but does; choose another --out, or delete it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_profile_that_cannot_be_made(options, message, refused, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_made_up(SPACE, tmp_path / "chip.json")
    line = refused(tmp_path, "profile", root / "search_spaces" / "digits_tiny.yaml", *options)
    assert line.startswith(message), line
