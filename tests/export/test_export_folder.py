import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exporting import NAMES, export, facts, files_of, pixels, preprocessing, random_network

from aebnas.core.errors import UserError
from aebnas.export.folder import FILES, export_model
from aebnas.export.model import Model
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import INPUT, Graph, GraphExit, Node
from aebnas.runtime.network import Network


def test_the_card_states_figures_split_and_number_of_samples(grey: Path) -> None:
    card = (grey / "README.md").read_text()
    for part in (
        "# a7-knee",
        "143 samples of the `search` split of digits",
        "| accuracy | 0.9722 |",
        "## Limits",
    ):
        assert part in card
    assert card.count("\n| ") == 1 + 3 + 1 + 2  # both tables: headers, three exits, two metrics
    assert str(Path.home()) not in card and str(grey) not in card


def test_a_previous_export_is_replaced(own: Path) -> None:
    Model.load(own)  # writes bytecode beside the runtime
    before = (own / "weights.safetensors").read_bytes()
    export(own, seed=1)
    assert (own / "weights.safetensors").read_bytes() != before
    assert files_of(own) == FILES and [path.name for path in own.parent.iterdir()] == ["model"]


def test_an_export_of_an_older_version_is_replaced(own: Path) -> None:
    (own / "runtime" / "self_check.py").rename(own / "runtime" / "recorded.py")  # its name in version 0.1
    export(own, seed=1)
    assert files_of(own) == FILES
    (own / "graph.json").unlink()
    with pytest.raises(UserError, match=r"previous export, but got a folder with no graph\.json"):
        export(own, seed=1)


def test_a_folder_whose_path_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"folder of an export must have a name in UTF-8, but got bytes b'.*o\\xfct'"):
        export(tmp_path / os.fsdecode(b"o\xfct"))
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    export(tmp_path / "model")
    assert files_of(tmp_path / "model") == FILES


def test_a_folder_with_other_files_is_refused_and_unchanged(own: Path, tmp_path: Path) -> None:
    (own / "notes.txt").write_text("mine")
    before = {name: (own / name).read_bytes() for name in files_of(own)}
    with pytest.raises(UserError, match=r"previous export, but got a folder with notes\.txt"):
        export(own, seed=1)
    assert {name: (own / name).read_bytes() for name in files_of(own)} == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="must be a directory, but got a file"):
        export(tmp_path / "file")


def test_a_failed_export_does_not_change_the_previous_one(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: (own / name).read_bytes() for name in files_of(own)}
    rename = Path.rename

    def full_disk(path: Path, target: Path) -> Path:
        if path.name == "export":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full_disk)
    with pytest.raises(UserError, match=r"cannot be written: .*No space left"):
        export(own, seed=1)
    assert {name: (own / name).read_bytes() for name in files_of(own)} == before
    assert [path.name for path in own.parent.iterdir()] == ["model"]


def test_imported_modules_are_refused(tmp_path: Path) -> None:
    node = Node.make("net", "module", (INPUT,), out_shape=(8, 4, 4), macs=1, params=1, norm_channels=0)
    head = Node.make("head", "classifier", ("net",), in_channels=8, classes=10)
    network = Network(Graph((1, 8, 8), (node, head), (GraphExit("net", "head"),)), {"net": torch.nn.Identity()})
    policy = ExitPolicy("margin", ())
    with pytest.raises(UserError, match="node 'net': must not be an imported module"):
        export_model(tmp_path / "model", network, policy, preprocessing(), NAMES, pixels(), facts(1))
    assert not (tmp_path / "model").exists()


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = random_network()
    network.state_dict()["nodes.stem.conv.0.weight"][0] = float("nan")
    policy = ExitPolicy("margin", (0.5, 0.5))
    with pytest.raises(UserError, match=r"'nodes\.stem\.conv\.0\.weight' must be finite"):
        export_model(tmp_path / "model", network, policy, preprocessing(), NAMES, pixels(), facts(3))
    assert not list(tmp_path.iterdir())


def test_parts_of_different_models_are_refused(tmp_path: Path) -> None:
    network, policy = random_network(), ExitPolicy("margin", (0.5, 0.5))
    good = [preprocessing(), NAMES, pixels(), facts(3)]
    for place, wrong in enumerate([preprocessing(3), NAMES[:9], pixels(n=0), facts(4)]):
        parts = [wrong if index == place else part for index, part in enumerate(good)]
        with pytest.raises(ValueError, match="but got"):
            export_model(tmp_path / "model", network, policy, *parts)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_invalid_facts_are_refused() -> None:
    for changed in ({"samples": 0}, {"metrics": {"accuracy": float("nan")}}, {"exit_accuracy": (0.5,)}):
        with pytest.raises(ValueError, match="but got"):
            replace(facts(3), **changed)  # type: ignore[arg-type]
