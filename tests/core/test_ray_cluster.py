import pytest

from aebnas.core.errors import UserError
from aebnas.core.ray_cluster import node_resources, ray_cluster, require_room, threads_each


class FakeRay:
    """A cluster of machines with so many CPUs, and one that has left."""

    def __init__(self, *cpus):
        self.cpus = cpus

    def nodes(self):
        left = {"Alive": False, "Resources": {"CPU": 64.0}}
        return [{"Alive": True, "Resources": {"CPU": float(count)}} for count in self.cpus] + [left]


def test_only_living_machines_count():
    assert node_resources(FakeRay(4, 2), "CPU") == [4, 2]
    assert node_resources(FakeRay(4, 2), "GPU") == [0, 0]


@pytest.mark.parametrize(
    "cpus, workers, threads", [((2,), 2, 1), ((8,), 3, 2), ((4, 4), 2, 4), ((4, 2), 2, 2), ((3, 3), 4, 1), ((1,), 3, 1)]
)
def test_cores_are_shared_out_within_machines(cpus, workers, threads):
    assert threads_each(FakeRay(*cpus), workers) == threads


def test_workers_that_fit_nowhere_are_reported():
    require_room(FakeRay(3, 3), 2, 2)
    with pytest.raises(UserError, match=r"room for 3 workers of 2 CPUs each, but its machines have 3, 3"):
        require_room(FakeRay(3, 3), 3, 2)


def test_local_is_a_ray_of_our_own_whatever_else_runs(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # where nothing answers; another's cluster in real life
    with ray_cluster("local", cpus=3) as ray:
        assert node_resources(ray, "CPU") == [3]
