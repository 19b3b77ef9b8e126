"""Python shown in the documentation runs, on a search of a second or two and on what is exported from it."""

import re
import sys

import pytest
from PIL import Image
from shown_code import blocks
from tiny_run import EXPERIMENT, write_spec

import aebnas

SHOWN = [block for block in blocks("python") if "OPS[" not in block.code]  # test_own_op.py runs that one
SPLITS = {"search": 0.2, "calibrate": 0.2, "certify": 0.2}
"""A bounded risk needs images of `certify`."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`my.yaml`, its run in `results/my`, and in `deployed` a network with images beside it."""
    folder = tmp_path_factory.mktemp("shown")
    write_spec(folder, data=EXPERIMENT["data"] | {"splits": SPLITS}).rename(folder / "my.yaml")
    run = aebnas.search(folder / "my.yaml", folder / "results" / "my")
    exported = run.pick("knee").export(folder / "deployed")
    for name in ("image.png", "more.png"):
        Image.new("L", (12, 12), 128).save(exported / name)
    return folder


@pytest.mark.filterwarnings("ignore")  # matplotlib's own
@pytest.mark.parametrize("block", SHOWN, ids=lambda block: block.at)
def test_it_runs(block, folder, monkeypatch, capsys):
    deployed = "from model import" in block.code or "from preprocessing import" in block.code
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(folder / "deployed" if deployed else folder)
    if deployed:
        monkeypatch.syspath_prepend(folder / "deployed")
    shown = {"__name__": "shown"}
    exec(block.code, shown)
    assert {"aebnas", "Model", "Preprocessing"} & set(shown)
    assert ("print(" in block.code) == bool(capsys.readouterr().out)
    for exported in re.findall(r'export\("(.*?)"\)', block.code):
        assert (folder / exported / "model.py").exists()
    for name in ("model", "preprocessing"):
        sys.modules.pop(name, None)
