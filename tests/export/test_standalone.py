import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import NAMES, export, facts, files_of, pixels, preprocessing, random_network
from PIL import Image
from safetensors.torch import load_file

import aebnas.runtime
from aebnas.cost.counts import count_graph
from aebnas.export.folder import FILES, export_model
from aebnas.export.model import BadInput, Model
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.normalise import normalise


def run_without_aebnas(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python where `import aebnas` fails, from an unrelated directory."""
    stub = tmp_path / "stub"
    stub.mkdir(exist_ok=True)
    (stub / "aebnas.py").write_text("raise ImportError('aebnas is not available here')\n")
    (stub / "runtime.py").write_text("raise ImportError('another package named runtime')\n")
    environment = os.environ | {"PYTHONPATH": str(stub), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_an_export_runs_without_aebnas(grey: Path, tmp_path: Path) -> None:
    checked = run_without_aebnas(tmp_path, str(grey / "model.py"), "--check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith("check passed: 40 samples")
    Image.fromarray(pixels()[0, 0].numpy()).save(tmp_path / "a digit.png")
    named = run_without_aebnas(tmp_path, str(grey / "model.py"), "a digit.png", "a digit.png")
    assert (named.returncode, named.stderr) == (0, "")
    lines = named.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("a digit.png: digit ") and "of 3, " in lines[0]
    assert lines[0].endswith("% of full MACs")


def test_the_api_can_be_imported_from_any_directory(grey: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.append({str(grey)!r}); from model import Model; import numpy as np; "
        "print(Model.load().predict(np.zeros((1, 8, 8), np.uint8))[0]._fields, 'aebnas' in sys.modules)"
    )
    ran = run_without_aebnas(tmp_path, "-c", code)
    assert ran.stdout.strip() == "('label', 'class_name', 'probability', 'exit_taken', 'macs') False", ran.stderr


@pytest.mark.parametrize("channels", [1, 3])
def test_predictions_are_those_of_the_network(tmp_path: Path, channels: int) -> None:
    network, policy = export(tmp_path / "model", channels)
    expected = network.infer(normalise(pixels(channels), preprocessing(channels)), policy)
    assert len(set(expected.exit_index.tolist())) == 3
    model = Model.load(tmp_path / "model")
    arrays = pixels(channels).permute(0, 2, 3, 1).numpy()
    batch = model.predict(arrays)
    singly = [model.predict(arrays[i : i + 1])[0] for i in range(len(arrays))]
    macs = count_graph(network.graph).macs.to_exit()
    for i, prediction in enumerate(batch):
        label, taken = int(expected.logits[i].argmax()), int(expected.exit_index[i])
        assert prediction[:2] == (label, NAMES[label])
        assert prediction.probability == pytest.approx(float(expected.logits[i].softmax(-1)[label]), abs=1e-6)
        assert (prediction.exit_taken, prediction.macs) == (taken + 1, macs[taken])
        assert (singly[i].label, singly[i].exit_taken) == (prediction.label, prediction.exit_taken)
        assert singly[i].probability == pytest.approx(prediction.probability, abs=1e-5)
    assert model.full_macs == macs[-1]


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_converted_to_the_networks_input(tmp_path: Path, channels: int) -> None:
    export(tmp_path / "model", channels)
    model = Model.load(tmp_path / "model")
    array = pixels(channels)[0].permute(1, 2, 0).numpy()
    fitting = Image.fromarray(array[..., 0] if channels == 1 else array)
    fitting.save(tmp_path / "fitting.png")
    wanted = model.predict(array[None])
    assert model.predict(fitting) == model.predict([tmp_path / "fitting.png"]) == wanted
    assert model.predict(str(tmp_path / "fitting.png")) == wanted
    other = Image.fromarray(pixels(3)[1].permute(1, 2, 0).numpy()).resize((21, 13)).convert("RGBA")
    middle = (4, 0, 17, 13)  # its largest square
    as_needed = other.convert("L" if channels == 1 else "RGB").resize((8, 8), Image.Resampling.BILINEAR, middle)
    assert model.predict(other) == model.predict(np.asarray(as_needed).reshape(1, 8, 8, channels))
    assert model.predict([]) == model.predict(np.zeros((0, 8, 8, channels), np.uint8)) == []


def test_grey_arrays_may_have_no_channel_axis(grey: Path) -> None:
    model, array = Model.load(grey), pixels()[:, 0].numpy()
    assert model.predict(array) == model.predict(array[..., None])


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8)), np.zeros((2, 9, 8, 1), np.uint8), np.zeros((8, 8), np.uint8)])
def test_arrays_of_another_kind_are_refused(grey: Path, images: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"must be uint8 array \[n, 8, 8, 1\], but got"):
        Model.load(grey).predict(images)


def test_floating_point_images_are_refused(grey: Path) -> None:
    with pytest.raises(BadInput, match=r"^an image must hold whole numbers, but got floating-point ones \(mode F\)$"):
        Model.load(grey).predict(Image.new("F", (8, 8)))


def test_loading_does_not_change_the_random_state(grey: Path) -> None:
    before = torch.random.get_rng_state()
    Model.load(grey)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_folder_holds_all_files_and_the_runtimes_code(grey: Path) -> None:
    assert files_of(grey) == FILES
    assert aebnas.runtime.__file__
    for copied in (grey / "runtime").glob("*.py"):
        assert copied.read_bytes() == (Path(aebnas.runtime.__file__).parent / copied.name).read_bytes()
    weights = load_file(grey / "weights.safetensors")
    own_names = {name for name in random_network().state_dict() if not name.endswith("num_batches_tracked")}
    assert set(weights) == own_names
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert not list(grey.parent.glob(".*"))
    assert len({path.stat().st_mode for path in grey.rglob("*") if path.is_file()}) == 1


def test_the_given_network_is_not_changed(tmp_path: Path) -> None:
    network = random_network().double().train()
    policy = ExitPolicy("margin", (None, 0.5))
    export_model(tmp_path / "model", network, policy, preprocessing(), NAMES, pixels(), facts(3))
    assert network.training and next(network.parameters()).dtype == torch.float64
    assert not Model.load(tmp_path / "model").check().problems


def test_an_exit_that_is_never_taken_costs_nothing(tmp_path: Path) -> None:
    network = random_network()
    macs = count_graph(network.graph).macs
    policy = ExitPolicy("entropy", (None, 0.5))
    export_model(tmp_path / "model", network, policy, preprocessing(), NAMES, pixels(), facts(3))
    costs = json.loads((tmp_path / "model" / "costs.json").read_text())
    branch = macs.branch_e
    assert costs["macs_to_exit"][1] == macs.backbone_e[1] + branch[1]
    assert costs["full_macs"] == macs.backbone_e[2] + branch[1] + branch[2]
    assert costs["macs_without_exits"] == macs.backbone_e[2] + branch[2]
    assert "| 1 | never | " in (tmp_path / "model" / "README.md").read_text()
