"""Two Ray nodes of one CPU each on this machine, as one cluster: training and scoring use both."""

import os
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest
import ray
import torch
import torch.distributed as dist
from ray.cluster_utils import Cluster
from tiny_run import EXPERIMENT, front_of, searched, write_spec

from aebnas.core.errors import UserError
from aebnas.run.events import RunEvents
from aebnas.run.run_directory import Run
from aebnas.search import supernet_training
from aebnas.search.loop import run_search
from aebnas.training.compute.compute_meter import ComputeMeter
from aebnas.training.distributed import _follow, fit_on_workers
from aebnas.training.loop import fit
from aebnas.training.ranks import Ranks
from aebnas.training.training_spec import SupernetSpec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Ray runs several nodes on one machine on Linux only")

EPOCHS, WORKERS = 2, 2
WEIGHTS = "checkpoints/supernet.safetensors"


def spec_file(folder, **changes):
    supernet = EXPERIMENT["supernet"] | {"epochs": EPOCHS, "workers": WORKERS}
    return write_spec(folder, supernet=supernet, **changes)


@pytest.fixture(scope="module")
def address():
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module")
def on_cluster(address, tmp_path_factory):
    """The folder of a search on the cluster, one of whose training workers was killed after the first epoch."""
    folder = tmp_path_factory.mktemp("cluster")
    killed = str(folder / "killed")

    class Killed(RunEvents):  # a class in a function travels to workers with its code: they can't import this file
        def training_rows(self, name, rows):
            if rows and not Path(killed).exists():
                Path(killed).touch()
                os.kill(os.getpid(), signal.SIGKILL)

    evaluate = EXPERIMENT["evaluate"] | {"workers": WORKERS}
    run_search(spec_file(folder / "spec", evaluate=evaluate, ray=address), folder / "run", listen=Killed)
    assert Path(killed).exists()
    return folder / "run"


def search_as_rank(rank, folder):
    """The same search without Ray: one of two processes that train together; the first then scores candidates."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/init", rank=rank, world_size=WORKERS)

    def fit_here(*arguments):
        trained = fit(*arguments[:-2], ranks=Ranks(rank, WORKERS), compute=arguments[-1])
        dist.destroy_process_group()
        if rank > 0:
            sys.exit(0)
        return trained

    supernet_training.fit_on_workers = fit_here
    run_search(spec_file(folder / f"spec{rank}"), folder / f"run{rank}")


@pytest.fixture(scope="module")
def without_ray(tmp_path_factory):
    folder = tmp_path_factory.mktemp("without_ray")
    torch.multiprocessing.spawn(search_as_rank, (folder,), WORKERS)
    return folder / "run0"


def test_a_worker_that_dies_does_not_change_the_result_of_the_training(on_cluster, without_ray):
    assert (on_cluster / WEIGHTS).read_bytes() == (without_ray / WEIGHTS).read_bytes()
    tables = [pd.read_csv(run / "train_epoch_metrics.csv") for run in (on_cluster, without_ray)]
    assert list(tables[0].epoch.unique()) == list(range(1, EPOCHS + 1))
    times = ["train_seconds", "images_per_second"]
    pd.testing.assert_frame_equal(*(table.drop(columns=times) for table in tables))


def test_scores_of_two_nodes_equal_those_of_one_process(on_cluster, without_ray):
    assert front_of(on_cluster) == front_of(without_ray)


def test_workers_together_compute_as_much_as_one_process(on_cluster, without_ray, tmp_path_factory):
    """Up to rounding the weights are equal, too, but not the fronts, whose networks' norm statistics are estimated."""
    alone, together = (
        [Run.open(run).pflop()[phase] for phase in ("supernet", "search")]
        for run in (searched(tmp_path_factory), on_cluster)  # of the same seed
    )
    assert alone == together and alone[0] > 0
    assert Run.open(on_cluster).pflop() == Run.open(without_ray).pflop()


def test_only_the_weights_are_left(on_cluster):
    assert {path.name for path in (on_cluster / "checkpoints").iterdir()} == {"supernet.safetensors", "norms"}


def test_a_cluster_that_is_too_small_is_reported(address, make_sandwich, batches, tmp_path):
    task = make_sandwich(workers=4, threads=1)
    with pytest.raises(UserError, match=r"room for 4 workers of 1 CPUs each, but its machines have 1, 1"):
        fit_on_workers(task, batches, task.spec, 5, "test", tmp_path / "c.pt", print, address, ComputeMeter())


class FakeRay:
    """Returns the given progress reports one by one; the training ends after the last one, with `lost` if given."""

    exceptions = ray.exceptions

    def __init__(self, *reports, lost=None):
        self.reports, self.lost = list(reports), lost
        self.read = self

    def remote(self):
        return self.reports.pop(0)

    def wait(self, training, timeout):
        return ([], training) if len(self.reports) > 1 else (training, [])

    def get(self, value):
        if value == "training" and self.lost:
            raise self.lost
        return value


def follow(fake):
    _follow(fake, fake, "training", "test")


def test_a_reported_error_ends_the_wait_at_once():
    fake = FakeRay((None, None), ((1, 4), None), ((2, 4), UserError("the loss must stay finite")), ((3, 4), None))
    with pytest.raises(UserError, match="the loss must stay finite"):
        follow(fake)
    assert len(fake.reports) == 1


def test_workers_that_die_again_are_reported_in_one_line():
    lost = ray.exceptions.RaySystemError("Training failed due to worker errors:\n[Rank 0]\nThe actor died.")
    with pytest.raises(UserError, match=r"failed twice: The actor died\.$"):
        follow(FakeRay(((2, 4), None), lost=lost))


def test_progress_follows_the_first_rank(capsys, monkeypatch):
    monkeypatch.setattr("aebnas.core.progress.LOG_EVERY_S", 0.0)
    follow(FakeRay((None, None), ((2, 8), None), ((4, 8), None), ((2, 8), None), ((8, 8), None)))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0].rstrip() for line in lines] == [
        "test: 4/8",
        "test: 2/8",
        "test: 8/8",
    ]  # went back once


def test_shares_must_be_equal(make_sandwich, batches, tmp_path):
    with pytest.raises(ValueError, match="equal share of 2 or more, but got 64 for 3"):
        SupernetSpec(epochs=1, batch_size=64, workers=3)
    task = make_sandwich(workers=60, batch_size=600)  # more than the images
    with pytest.raises(UserError, match="must divide a batch of 64 images, but got 60"):
        fit_on_workers(task, batches, task.spec, 5, "test", tmp_path / "c.pt", print, "local", ComputeMeter())


def test_an_unreachable_cluster_is_reported(make_sandwich, batches, tmp_path):
    task = make_sandwich(workers=2)
    with pytest.raises(UserError, match=r"ray: 'nowhere' cannot be reached"):
        fit_on_workers(task, batches, task.spec, 5, "test", tmp_path / "c.pt", print, "nowhere", ComputeMeter())
