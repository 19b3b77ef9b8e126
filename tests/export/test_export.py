import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import aebnas.runtime
from aebnas.cost.counts import count_graph
from aebnas.data.augment import Preprocessing
from aebnas.errors import UserError
from aebnas.export.bundle import FILES, export_model
from aebnas.export.card import CardFacts
from aebnas.export.model import BadInput, Model, main
from aebnas.runtime.decide import ExitPolicy
from aebnas.runtime.graph import INPUT, Graph, GraphExit, Node
from aebnas.runtime.network import Network
from aebnas.space.genome import SearchSpace
from aebnas.space.lower import lower

SPACE = Path(__file__).parents[2] / "search_spaces" / "digits_tiny.yaml"
NAMES = tuple(f"digit {number}" for number in range(10))


def facts(exits: int) -> CardFacts:
    rest = (0.0,) * (exits - 1)
    return CardFacts(
        name="a7-knee",
        dataset="digits",
        split="search",
        samples=143,
        metrics={"accuracy": 0.9722, "avg_macs": 12345.0},
        exit_shares=(1.0, *rest),
        exit_accuracy=(0.9722,) + (None,) * (exits - 1),
        training="Trained for 3 epochs.",
        aebnas_version="0.1.0",
    )


def random_network(channels: int = 1, seed: int = 0) -> Network:
    """Two exits and a head, everything random, so that pictures differ in where they leave."""
    space = SearchSpace.load(SPACE)
    architecture = space.extreme(largest=True).model_copy(update={"channels": channels})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(lower(architecture)).eval()
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.5 if "running_var" in name else torch.randn_like(tensor) * 0.3)
    return network


def pictures(channels: int = 1, n: int = 40) -> torch.Tensor:
    return torch.randint(256, (n, channels, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def preprocessing(channels: int = 1) -> Preprocessing:
    return Preprocessing(mean=(0.4, 0.5, 0.6)[:channels], std=(0.2, 0.3, 0.25)[:channels], shape=(channels, 8, 8))


def midway_policy(network: Network, x_nchw: torch.Tensor) -> ExitPolicy:
    """Thresholds in the middle of the widest gap about the median: some leave at each, none on the edge."""
    thresholds = []
    with torch.no_grad():
        for logits_nc in network(x_nchw)[:-1]:
            scores = logits_nc.softmax(-1).amax(-1).sort().values
            middle = scores[len(scores) // 3 : 2 * len(scores) // 3]
            widest = int(middle.diff().argmax())
            thresholds.append(float((middle[widest] + middle[widest + 1]) / 2))
    return ExitPolicy("confidence", tuple(thresholds))


def export(folder: Path, channels: int = 1, seed: int = 0) -> tuple[Network, ExitPolicy]:
    network = random_network(channels, seed)
    policy = midway_policy(network, preprocessing(channels).apply(pictures(channels)))
    kept = facts(len(network.graph.exits))
    export_model(folder, network, policy, preprocessing(channels), NAMES, pictures(channels), kept)
    return network, policy


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that no test may change."""
    folder = tmp_path_factory.mktemp("grey") / "model"
    export(folder)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An export of a test's own, to be damaged."""
    export(tmp_path / "model")
    return tmp_path / "model"


def files_of(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"}


def run_without_aebnas(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python where `import aebnas` fails, started from a directory of no consequence."""
    stub = tmp_path / "stub"
    stub.mkdir(exist_ok=True)
    (stub / "aebnas.py").write_text("raise ImportError('aebnas is not to be had here')\n")
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


def test_it_runs_where_aebnas_is_not(grey: Path, tmp_path: Path) -> None:
    checked = run_without_aebnas(tmp_path, str(grey / "model.py"), "--check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith("check passed: 40 samples")
    Image.fromarray(pictures()[0, 0].numpy()).save(tmp_path / "a digit.png")
    named = run_without_aebnas(tmp_path, str(grey / "model.py"), "a digit.png", "a digit.png")
    assert (named.returncode, named.stderr) == (0, "")
    lines = named.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("a digit.png: digit ") and "of 3, " in lines[0]
    assert lines[0].endswith("% of full MACs")


def test_the_api_is_imported_from_anywhere(grey: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.append({str(grey)!r}); from model import Model; import numpy as np; "
        "print(Model.load().predict(np.zeros((1, 8, 8), np.uint8))[0]._fields, 'aebnas' in sys.modules)"
    )
    ran = run_without_aebnas(tmp_path, "-c", code)
    assert ran.stdout.strip() == "('label', 'class_name', 'probability', 'exit_taken', 'macs') False", ran.stderr


@pytest.mark.parametrize("channels", [1, 3])
def test_predictions_are_those_of_the_network(tmp_path: Path, channels: int) -> None:
    network, policy = export(tmp_path / "model", channels)
    answer = network.infer(preprocessing(channels).apply(pictures(channels)), policy)
    assert len(set(answer.exit_index.tolist())) == 3
    model = Model.load(tmp_path / "model")
    arrays = pictures(channels).permute(0, 2, 3, 1).numpy()
    batch = model.predict(arrays)
    singly = [model.predict(arrays[i : i + 1])[0] for i in range(len(arrays))]
    macs = count_graph(network.graph).macs.to_exit()
    for i, prediction in enumerate(batch):
        label, taken = int(answer.logits[i].argmax()), int(answer.exit_index[i])
        assert prediction[:2] == (label, NAMES[label])
        assert prediction.probability == pytest.approx(float(answer.logits[i].softmax(-1)[label]), abs=1e-6)
        assert (prediction.exit_taken, prediction.macs) == (taken + 1, macs[taken])
        assert (singly[i].label, singly[i].exit_taken) == (prediction.label, prediction.exit_taken)
        assert singly[i].probability == pytest.approx(prediction.probability, abs=1e-5)
    assert model.full_macs == macs[-1]


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_turned_into_what_the_network_takes(tmp_path: Path, channels: int) -> None:
    export(tmp_path / "model", channels)
    model = Model.load(tmp_path / "model")
    array = pictures(channels)[0].permute(1, 2, 0).numpy()
    fitting = Image.fromarray(array[..., 0] if channels == 1 else array)
    fitting.save(tmp_path / "fitting.png")
    wanted = model.predict(array[None])
    assert model.predict(fitting) == model.predict([tmp_path / "fitting.png"]) == wanted
    assert model.predict(str(tmp_path / "fitting.png")) == wanted
    other = Image.fromarray(pictures(3)[1].permute(1, 2, 0).numpy()).resize((21, 13)).convert("RGBA")
    middle = (4, 0, 17, 13)  # its largest square
    as_needed = other.convert("L" if channels == 1 else "RGB").resize((8, 8), Image.Resampling.BILINEAR, middle)
    assert model.predict(other) == model.predict(np.asarray(as_needed).reshape(1, 8, 8, channels))
    assert model.predict([]) == model.predict(np.zeros((0, 8, 8, channels), np.uint8)) == []


def test_grey_arrays_need_no_channel_axis(grey: Path) -> None:
    model, array = Model.load(grey), pictures()[:, 0].numpy()
    assert model.predict(array) == model.predict(array[..., None])


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8)), np.zeros((2, 9, 8, 1), np.uint8), np.zeros((8, 8), np.uint8)])
def test_arrays_of_another_kind_are_refused(grey: Path, images: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"must be uint8 \[n, 8, 8, 1\], but got"):
        Model.load(grey).predict(images)


def test_16_bit_pictures_are_refused(grey: Path) -> None:
    with pytest.raises(BadInput, match="8 bits a channel, but got mode I;16"):
        Model.load(grey).predict(Image.fromarray(np.zeros((8, 8), np.uint16)))


def test_loading_leaves_random_numbers_alone(grey: Path) -> None:
    before = torch.random.get_rng_state()
    Model.load(grey)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_folder_holds_what_was_promised(grey: Path) -> None:
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


def test_the_network_given_stays_as_it_was(tmp_path: Path) -> None:
    network = random_network().double().train()
    policy = ExitPolicy("margin", (None, 0.5))
    export_model(tmp_path / "model", network, policy, preprocessing(), NAMES, pictures(), facts(3))
    assert network.training and next(network.parameters()).dtype == torch.float64
    assert not Model.load(tmp_path / "model").check().problems


def test_an_exit_that_is_never_taken_costs_nothing(tmp_path: Path) -> None:
    network = random_network()
    macs = count_graph(network.graph).macs
    policy = ExitPolicy("entropy", (None, 0.5))
    export_model(tmp_path / "model", network, policy, preprocessing(), NAMES, pictures(), facts(3))
    costs = json.loads((tmp_path / "model" / "costs.json").read_text())
    branch = macs.branch_e
    assert costs["macs_to_exit"][1] == macs.backbone_e[1] + branch[1]
    assert costs["full_macs"] == macs.backbone_e[2] + branch[1] + branch[2]
    assert costs["macs_without_exits"] == macs.backbone_e[2] + branch[2]
    assert "| 1 | never | " in (tmp_path / "model" / "README.md").read_text()


def test_the_card_says_what_where_and_of_how_many(grey: Path) -> None:
    card = (grey / "README.md").read_text()
    for part in (
        "# a7-knee",
        "143 samples of the `search` split of digits",
        "| accuracy | 0.9722 |",
        "## Limits",
    ):
        assert part in card
    assert card.count("\n| ") == 1 + 3 + 1 + 2  # both tables: their heads, three exits, two metrics
    assert str(Path.home()) not in card and str(grey) not in card


def change_weights(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    weights["nodes.stem.conv.0.weight"] += 0.5
    save_file(weights, folder / "weights.safetensors")


def own_main(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command as if it were the folder's own `model.py`, without the seconds a new process takes."""
    monkeypatch.setattr("aebnas.export.model.__file__", str(folder / "model.py"))
    return main(arguments)


def test_other_weights_fail_the_check(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own_main(own, monkeypatch, "--check") == 0
    change_weights(own)
    assert own_main(own, monkeypatch, "--check") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("check passed")
    assert lines[1].startswith("check failed: ") and lines[2].startswith("sample ")


def rewrite_record(folder: Path, **changed: np.ndarray) -> None:
    with np.load(folder / "check.npz") as file:
        record = dict(file) | changed
    np.savez_compressed(folder / "check.npz", **record)


def test_the_check_compares_logits_exits_and_labels(own: Path) -> None:
    with np.load(own / "check.npz") as file:
        record = dict(file)
    model = Model.load(own)
    logits = record["logits"].copy()
    logits[3, 2] += 0.01
    rewrite_record(own, logits=logits)
    assert [p.split(":")[0] for p in model.check().problems] == ["sample 3"]
    labels = record["labels"].copy()
    labels[7] = (labels[7] + 1) % 10
    rewrite_record(own, logits=record["logits"], labels=labels)
    assert "sample 7: class" in model.check().problems[0]
    exits = record["exit_index"].copy()
    exits[5] = (exits[5] + 1) % 3
    rewrite_record(own, labels=record["labels"], exit_index=exits)
    (problem,) = model.check().problems
    assert problem == f"sample 5: exit {record['exit_index'][5] + 1}, recorded was exit {exits[5] + 1}"


def test_a_sample_on_the_threshold_may_leave_elsewhere(own: Path) -> None:
    with np.load(own / "check.npz") as file:
        logits, exits = torch.from_numpy(file["logits"]), file["exit_index"]
    first = int(np.flatnonzero(exits == 0)[0])
    policy = json.loads((own / "policy.json").read_text())
    score = float(logits[first].softmax(-1).amax())
    for moved, undecided, problems in [(5e-6, 1, 0), (5e-5, 0, 1)]:
        policy["thresholds"][0] = score + moved  # now it stays on, where the record says that it left
        (own / "policy.json").write_text(json.dumps(policy))
        result = Model.load(own).check()
        mine = [problem for problem in result.problems if problem.startswith(f"sample {first}:")]
        assert (result.undecided >= undecided, len(mine)) == (True, problems)


@pytest.mark.parametrize("name", sorted(FILES - {"README.md", "model.py"}))
def test_a_missing_or_damaged_file_gives_one_line(
    own: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (own / name).read_bytes()
    if name != "runtime/__init__.py":  # half a docstring aside, a module can be cut to what still runs
        (own / name).write_bytes(whole[: len(whole) // 2] + (b"\n(" if name.endswith(".py") else b""))
        assert own_main(own, monkeypatch, "--check") == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
    (own / name).unlink()
    assert own_main(own, monkeypatch, "--check") == 2
    error = capsys.readouterr().err
    assert error == f"error: {own / name}: no such file\n"


def test_files_of_different_models_are_told(own: Path, tmp_path: Path) -> None:
    export(tmp_path / "colour", channels=3)
    for name in ("preprocessing.json", "weights.safetensors", "graph.json"):
        kept = (own / name).read_bytes()
        (own / name).write_bytes((tmp_path / "colour" / name).read_bytes())
        with pytest.raises(BadInput):
            Model.load(own)
        (own / name).write_bytes(kept)
    (own / "policy.json").write_text('{"criterion": "margin", "thresholds": [0.5]}')
    with pytest.raises(BadInput, match="do not belong together"):
        Model.load(own)


def test_bad_pictures_give_one_line(
    grey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(tmp_path / "whole.png")
    half = (tmp_path / "whole.png").read_bytes()[:1500]
    (tmp_path / "half.png").write_bytes(half)
    (tmp_path / "text.png").write_text("not a picture")
    for name in ("half.png", "text.png", "missing.png", "."):
        assert own_main(grey, monkeypatch, str(tmp_path / "whole.png"), str(tmp_path / name)) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1
        assert captured.err.startswith(f"error: {tmp_path / name}: ")


@pytest.mark.parametrize("arguments", [[], ["--check", "picture.png"], ["--no-such"]])
def test_arguments_that_make_no_sense(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_a_previous_export_is_replaced(own: Path) -> None:
    Model.load(own)  # leaves bytecode beside the runtime
    before = (own / "weights.safetensors").read_bytes()
    export(own, seed=1)
    assert (own / "weights.safetensors").read_bytes() != before
    assert files_of(own) == FILES and [path.name for path in own.parent.iterdir()] == ["model"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    export(tmp_path / "model")
    assert files_of(tmp_path / "model") == FILES


def test_other_peoples_files_are_left_alone(own: Path, tmp_path: Path) -> None:
    (own / "notes.txt").write_text("mine")
    kept = {name: (own / name).read_bytes() for name in files_of(own)}
    with pytest.raises(UserError, match=r"previous export, but got a folder with notes\.txt"):
        export(own, seed=1)
    assert {name: (own / name).read_bytes() for name in files_of(own)} == kept
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="must be a directory, but got a file"):
        export(tmp_path / "file")


def test_a_failed_export_leaves_the_previous_one(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {name: (own / name).read_bytes() for name in files_of(own)}
    rename = Path.rename

    def full_disk(path: Path, target: Path) -> Path:
        if path.name == "export":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full_disk)
    with pytest.raises(UserError, match=r"cannot be written: .*No space left"):
        export(own, seed=1)
    assert {name: (own / name).read_bytes() for name in files_of(own)} == kept
    assert [path.name for path in own.parent.iterdir()] == ["model"]


def test_imported_modules_are_refused(tmp_path: Path) -> None:
    node = Node.make("net", "module", (INPUT,), out_shape=(8, 4, 4), macs=1, params=1, norm_channels=0)
    head = Node.make("head", "classifier", ("net",), in_channels=8, classes=10)
    network = Network(Graph((1, 8, 8), (node, head), (GraphExit("net", "head"),)), {"net": torch.nn.Identity()})
    policy = ExitPolicy("margin", ())
    with pytest.raises(UserError, match="node 'net': imported modules cannot be exported yet"):
        export_model(tmp_path / "model", network, policy, preprocessing(), NAMES, pictures(), facts(1))
    assert not (tmp_path / "model").exists()


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = random_network()
    network.state_dict()["nodes.stem.conv.0.weight"][0] = float("nan")
    policy = ExitPolicy("margin", (0.5, 0.5))
    with pytest.raises(UserError, match=r"'nodes\.stem\.conv\.0\.weight' must be finite"):
        export_model(tmp_path / "model", network, policy, preprocessing(), NAMES, pictures(), facts(3))
    assert not list(tmp_path.iterdir())


def test_parts_of_different_models_are_refused(tmp_path: Path) -> None:
    network, policy = random_network(), ExitPolicy("margin", (0.5, 0.5))
    good = [preprocessing(), NAMES, pictures(), facts(3)]
    for place, wrong in enumerate([preprocessing(3), NAMES[:9], pictures(n=0), facts(4)]):
        parts = [wrong if index == place else part for index, part in enumerate(good)]
        with pytest.raises(ValueError, match="but got"):
            export_model(tmp_path / "model", network, policy, *parts)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_facts_that_cannot_be_are_refused() -> None:
    for changed in ({"samples": 0}, {"metrics": {"accuracy": float("nan")}}, {"exit_accuracy": (0.5,)}):
        with pytest.raises(ValueError, match="but got"):
            replace(facts(3), **changed)  # type: ignore[arg-type]
