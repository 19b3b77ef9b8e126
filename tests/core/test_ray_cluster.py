import pytest

from aebnas.core.errors import UserError
from aebnas.core.ray_cluster import node_resources, ray_cluster, require_room, threads_each


class FakeRay:
    """A cluster of live machines with the given CPUs, and one that is not alive."""

    def __init__(self, *cpus):
        self.cpus = cpus

    def nodes(self):
        left = {"Alive": False, "Resources": {"CPU": 64.0}}
        return [{"Alive": True, "Resources": {"CPU": float(count)}} for count in self.cpus] + [left]


def test_only_live_machines_count():
    assert node_resources(FakeRay(4, 2), "CPU") == [4, 2]
    assert node_resources(FakeRay(4, 2), "GPU") == [0, 0]


@pytest.mark.parametrize(
    "cpus, workers, threads", [((2,), 2, 1), ((8,), 3, 2), ((4, 4), 2, 4), ((4, 2), 2, 2), ((3, 3), 4, 1), ((1,), 3, 1)]
)
def test_threads_each_counts_cpus_per_machine(cpus, workers, threads):
    assert threads_each(FakeRay(*cpus), workers) == threads


def test_workers_that_fit_on_no_machine_are_reported():
    require_room(FakeRay(3, 3), 2, 2)
    with pytest.raises(UserError, match=r"room for 3 workers of 2 CPUs each, but its machines have 3, 3"):
        require_room(FakeRay(3, 3), 3, 2)


def test_local_starts_a_cluster_whatever_else_runs(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # no cluster there; in practice another user's
    with ray_cluster("local", cpus=3) as ray:
        assert node_resources(ray, "CPU") == [3]
