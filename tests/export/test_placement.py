"""The device and the number type of an exported model."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exporting import own_main, pixels
from PIL import Image
from safetensors.torch import load_file, save_file

from aebnas.export.model import BadInput, Model
from aebnas.runtime.self_check import IN_BFLOAT16, IN_FLOAT16, IN_FLOAT32, tolerance_of

DTYPES = [torch.float64, torch.float16, torch.bfloat16]
ABSENT = "cuda" if not torch.cuda.is_available() else "mps"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_network_runs_in_the_number_type(grey: Path, dtype: torch.dtype) -> None:
    plain, model = Model.load(grey), Model.load(grey, device="cpu", dtype=dtype)
    assert {parameter.dtype for parameter in model.network.parameters()} == {dtype} and model.dtype == dtype
    expected, got = plain.infer(pixels()), model.infer(pixels())
    assert got.logits.dtype == torch.float32 and got.exit_index.dtype == torch.int64
    limit = tolerance_of(model.device, dtype).logits
    same = got.exit_index == expected.exit_index
    assert same.float().mean() >= 0.9
    assert ((got.logits - expected.logits).abs() <= limit * (1 + expected.logits.abs()))[same].all()
    assert (dtype == torch.float64) or not torch.equal(got.logits, expected.logits)  # it did run in that type
    assert model.check().problems == () and model.predict([]) == []
    assert model.monitor.report()["seen"] == 40


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_weights_fail_the_check_in_every_type(own: Path, dtype: torch.dtype) -> None:
    weights = load_file(own / "weights.safetensors")
    weights["nodes.stem.conv.0.weight"] += 0.5
    save_file(weights, own / "weights.safetensors")
    assert Model.load(own, dtype=dtype).check().problems


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_runs_where_the_model_did(grey: Path, copied: Any) -> None:
    model = Model.load(grey, device="cpu", dtype=torch.bfloat16)
    again = copied(model)
    assert (again.device, again.dtype) == (torch.device("cpu"), torch.bfloat16)
    assert torch.equal(again.infer(pixels()).logits, model.infer(pixels()).logits)


def test_adaptation_runs_in_the_number_type(grey: Path) -> None:
    model = Model.load(grey, dtype=torch.float64)
    adaptive = model.adapt(every=20, window=20, audit_share=0.5)
    assert model.infer(pixels()).logits.dtype == torch.float32 and adaptive.state.seen == 40


UNKNOWN = "device must be a device of PyTorch, but got "
UNFIT = "device must be one that can run the network, but got "
NO_TYPE = "dtype must be one of torch.float32, torch.bfloat16, torch.float16, torch.float64, but got "
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no device": ({"device": "fridge"}, f"{UNKNOWN}'fridge': "),
    "no text": ({"device": 1.5}, f"{UNKNOWN}1.5: "),
    "a device that isn't there": ({"device": ABSENT}, f"{UNFIT}{ABSENT} with torch.float32: "),
    "a device without results": ({"device": "meta"}, f"{UNFIT}meta, which computes nothing"),
    "a number that isn't there": ({"device": "cuda:99"}, f"{UNFIT}cuda:99 with torch.float32: "),
    "integers": ({"dtype": torch.int8}, f"{NO_TYPE}torch.int8"),
    "the name of a type": ({"dtype": "float16"}, f"{NO_TYPE}'float16'"),
    "the type of an array": ({"dtype": np.float16}, f"{NO_TYPE}<class 'numpy.float16'>"),
}


@pytest.mark.parametrize("settings, expected", BAD.values(), ids=BAD)
def test_what_cannot_run_is_refused_in_one_line(grey: Path, settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadInput) as raised:
        Model.load(grey, **settings)
    assert str(raised.value).startswith(expected) and "\n" not in str(raised.value)


def test_the_command_takes_a_device(grey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (9, 9), 80).save(tmp_path / "a.png")
    assert own_main(grey, str(tmp_path / "a.png")) == own_main(grey, str(tmp_path / "a.png"), "--device", "cpu") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert own_main(grey, "--check", "--device", "cpu") == 0
    capsys.readouterr()
    for arguments in (["--check"], [str(tmp_path / "a.png")]):
        assert own_main(grey, *arguments, "--device", ABSENT) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: device must be one that can run the network") and error.count("\n") == 1


def test_the_tolerance_of_the_check_is_that_of_the_number_type() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert tolerance_of(cpu, torch.float32) == tolerance_of(cpu, torch.float64) == IN_FLOAT32
    assert tolerance_of(cuda, torch.float64) == IN_FLOAT32
    assert tolerance_of(cuda, torch.float32) == tolerance_of(cpu, torch.float16) == IN_FLOAT16
    assert tolerance_of(cuda, torch.bfloat16) == IN_BFLOAT16
