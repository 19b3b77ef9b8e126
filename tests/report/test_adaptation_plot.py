"""The image of an adaptation is written, whatever the number of exits; without an update there is none."""

import numpy as np
import pytest
from PIL import Image

from aebnas.policies.analysis.adaptation_replay import Replay
from aebnas.report.adaptation_plot import plot_trajectories
from aebnas.runtime.adaptation import AdaptivePolicy, initial_state
from aebnas.runtime.exit_policy import ExitPolicy


def a_replay(updates, exits=3, classes=4):
    policy = AdaptivePolicy(ExitPolicy("confidence", (0.5,) * (exits - 1)), classes)
    empty = np.zeros(0)
    rng = np.random.default_rng(0)
    return Replay(
        exit_n=empty,
        right_n=empty,
        cost_n=empty,
        audited_n=empty,
        seen_u=np.arange(1, updates + 1) * 100,
        coefficients_uek=1 + 0.1 * rng.standard_normal((updates, exits - 1, classes)).cumsum(0),
        arm_u=np.zeros(updates, int),
        state=initial_state(policy),
    )


def test_an_image_is_written(tmp_path):
    plot_trajectories(a_replay(20), tmp_path / "few.png")
    plot_trajectories(a_replay(5, exits=12), tmp_path / "many.png")
    for name in ("few.png", "many.png"):
        with Image.open(tmp_path / name) as image:
            assert image.size == (1040, 650)


def test_a_stream_without_an_update_is_refused(tmp_path):
    with pytest.raises(ValueError, match="but got 0 updates"):
        plot_trajectories(a_replay(0), tmp_path / "none.png")
    assert not list(tmp_path.iterdir())
