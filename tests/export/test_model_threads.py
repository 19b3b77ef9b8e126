"""One exported model in several threads: every image is counted once."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from exporting import pixels

from aebnas.export.model import Model, Prediction

THREADS, CALLS = 4, 500


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    """Threads take turns after 200 microseconds in place of 5 milliseconds, so that a lost count shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)
    yield
    sys.setswitchinterval(before)


def predict_in_threads(model: Model) -> list[list[Prediction]]:
    """What each of the threads was answered; thread t begins at image 10 t."""
    images = pixels()

    def work(thread: int) -> list[Prediction]:
        return [model.predict(images[(10 * thread + call) % 40][None])[0] for call in range(CALLS)]

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(THREADS)))


def test_every_prediction_is_counted_once(grey: Path) -> None:
    model, alone = Model.load(grey), Model.load(grey)
    answers = predict_in_threads(model)
    wanted = [alone.predict(image[None])[0] for image in pixels()]
    taken = [0] * 3
    for thread, answered in enumerate(answers):
        for call, prediction in enumerate(answered):
            taken[prediction.exit_taken - 1] += 1
            assert prediction == wanted[(10 * thread + call) % 40]
    report = model.monitor.report()
    assert (report["seen"], report["exit_counts"]) == (THREADS * CALLS, taken)
    assert report["windows"] == THREADS * CALLS // model.monitor.expected.window


def test_adaptation_sees_and_audits_every_image_once(grey: Path) -> None:
    model = Model.load(grey)
    adaptive = model.adapt(target=0.9, window=2000, every=100, audit_share=0.1)
    predict_in_threads(model)
    assert model.monitor.report()["seen"] == adaptive.state.seen == THREADS * CALLS
    cells = adaptive.state.cells
    assert int(cells.count_c.sum()) == THREADS * CALLS
    audited = adaptive.policy.audited(0, THREADS * CALLS)
    assert int((cells.right_cw >= 0).sum()) == int(audited.sum())
    assert int(adaptive.state.pulls_a.sum()) == THREADS * CALLS // 100


def test_models_loaded_in_threads_are_whole_and_leave_random_numbers_alone(grey: Path) -> None:
    before = torch.random.get_rng_state()
    with ThreadPoolExecutor(THREADS) as pool:
        models = list(pool.map(Model.load, [grey] * 8))
    assert torch.equal(before, torch.random.get_rng_state())
    assert len({str(model.predict(pixels())) for model in models}) == 1
