import pytest
import torch

from aebnas.training import loop, precision
from aebnas.training.precision import computing_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize("name, dtype", [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_specified_format_is_used(name, dtype):
    assert computing_dtype(name, CPU) == dtype


@pytest.mark.parametrize(
    "bf16_share, dtype", [(0.5, torch.bfloat16), (0.8, torch.bfloat16), (0.81, torch.float32), (3.0, torch.float32)]
)
def test_auto_uses_bf16_where_it_is_clearly_faster(bf16_share, dtype, monkeypatch):
    seconds = {torch.float32: 1.0, torch.bfloat16: bf16_share}
    monkeypatch.setattr(precision, "_convolution_step", lambda dtype: dtype)
    monkeypatch.setattr(precision, "_seconds", seconds.__getitem__)
    precision._faster_on_this_cpu.cache_clear()
    try:
        assert computing_dtype("auto", CPU) == dtype
    finally:
        precision._faster_on_this_cpu.cache_clear()


def test_measuring_changes_neither_random_state_nor_thread_count():
    torch.manual_seed(3)
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    precision._faster_on_this_cpu.cache_clear()
    first = computing_dtype("auto", CPU)
    assert first in (torch.float32, torch.bfloat16)
    assert torch.equal(torch.get_rng_state(), random) and torch.get_num_threads() == threads


def test_a_resumed_training_keeps_the_format_it_started_with(make_single, batches, tmp_path, monkeypatch):
    seen = []
    step = loop._step
    monkeypatch.setattr(loop, "_step", lambda *args: (seen.append(args[4]), step(*args))[1])
    for epochs, measured in ((1, torch.bfloat16), (2, torch.float32)):
        monkeypatch.setattr(loop, "computing_dtype", lambda asked, device, measured=measured: measured)
        task = make_single(**{"epochs": epochs, "precision": "auto"})
        loop.fit(task, batches, task.spec, 0, "t", tmp_path / "c.pt")
    assert set(seen) == {torch.bfloat16}
