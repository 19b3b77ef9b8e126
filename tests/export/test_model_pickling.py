"""An exported model is copied, pickled, sent to worker processes and read by `torch.load`, where aebnas is not."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from exporting import export, pixels

from aebnas.export.model import BadInput, Model

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {p}": lambda model, p=p: pickle.loads(pickle.dumps(model, p)) for p in (2, pickle.HIGHEST_PROTOCOL)},
}

WRITE = """
import sys
sys.path.insert(0, sys.argv[1])
import multiprocessing
import numpy as np, torch
from model import BadInput, Model

def work(model):
    return model.predict(np.full((3, 8, 8), 7, np.uint8)), model.infer(np.full((1, 8, 8), 7, np.uint8))

if __name__ == "__main__":
    model = Model.load(sys.argv[1])
    wanted = work(model)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        got = pool.apply(work, (model,))
        assert got[0] == wanted[0] and torch.equal(got[1].logits, wanted[1].logits), got
        assert pool.map(model.predict, [np.full((3, 8, 8), 7, np.uint8)]) == [wanted[0]]
        try:
            pool.apply(model.predict, ("none.png",))
        except BadInput as error:
            assert "none.png: must be an image file" in str(error)
        else:
            raise AssertionError("no error came back")
    torch.save({"model": model}, "model.pt")
    again = torch.load("model.pt", weights_only=False)["model"]
    assert type(again) is Model and again.predict(np.full((3, 8, 8), 7, np.uint8)) == wanted[0]
    print("fine")
"""

READ = """
import numpy as np, torch
model = torch.load("model.pt", weights_only=False)["model"]
print(model.monitor.report()["seen"], len(model.predict(np.zeros((2, 8, 8), np.uint8))), model.monitor.report()["seen"])
"""


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_answers_alike_and_goes_on_where_the_model_was(grey: Path, how: str) -> None:
    model = Model.load(grey)
    model.adapt(every=20, window=20, audit_share=1.0, target=1.0, eta=0.5)
    model.predict(pixels())
    other = COPIES[how](model)
    assert type(other) is Model and other.network is not model.network
    assert other.monitor.report() == model.monitor.report()
    assert other.adaptive is not None and other.adaptive.state.seen == 40
    assert other.predict(pixels()) == model.predict(pixels())
    assert other.adaptive.state.seen == 80 and other.monitor.report() == model.monitor.report()
    other.predict(pixels())
    assert model.monitor.report()["seen"] == 80
    assert not other.check().problems


@pytest.mark.parametrize("how", COPIES)
def test_another_policy_stays_with_a_copy(grey: Path, how: str) -> None:
    model = Model.load(grey)
    model.policy = type(model.policy)("confidence", (None, None))
    assert {prediction.exit_taken for prediction in COPIES[how](model).predict(pixels())} == {3}


@pytest.mark.parametrize("part", ["monitor", "adaptive"])
def test_what_counts_can_be_copied_by_itself(grey: Path, part: str) -> None:
    model = Model.load(grey)
    model.adapt()
    model.predict(pixels())
    other = copy.deepcopy(getattr(model, part))
    model.predict(pixels())
    assert str(other.state) != str(getattr(model, part).state)


def test_a_folder_that_has_changed_since_is_refused(own: Path) -> None:
    kept = pickle.dumps(Model.load(own))
    export(own, seed=1)
    with pytest.raises(BadInput, match="must be as it was when the model was read"):
        pickle.loads(kept)


def test_workers_and_later_processes_read_it_without_aebnas(grey: Path, tmp_path: Path) -> None:
    (tmp_path / "aebnas.py").write_text("raise ImportError('aebnas is not to be had here')")
    (tmp_path / "write.py").write_text(WRITE)
    (tmp_path / "read.py").write_text(READ)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    for command, wanted in (["write.py", str(grey)], "fine"), (["read.py"], "4 2 6"):
        ran = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert (ran.stdout.strip(), ran.returncode) == (wanted, 0), ran.stderr
