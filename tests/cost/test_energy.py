"""Energy readers on recorded traces, and the model by hand."""

from itertools import chain, count, repeat

import pytest

from aebnas.core.errors import UserError
from aebnas.cost.energy import Energy, Nvml, Rapl, find_reader, measure_energy
from aebnas.cost.energy_model import EnergyModel, layer_work
from aebnas.cost.layer_population import layer_key
from aebnas.runtime.graph import INPUT, Graph, GraphExit, Node

RANGE_UJ = 262_143_328_850


def powercap(root, name, trace):
    """A counter under powercap, and the function that advances it to the next recorded value."""
    zone = root / name
    zone.mkdir(parents=True)
    (zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    values = iter(trace)

    def step():
        (zone / "energy_uj").write_text(f"{next(values)}\n")

    step()
    return step


class Nvidia:
    """Replaces pynvml, with a recorded trace of its counter in mJ."""

    class NVMLError(Exception):
        pass

    def __init__(self, trace=(), works=True):
        self.trace, self.works = iter(trace), works

    def nvmlInit(self):
        if not self.works:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetHandleByIndex(self, index):
        return f"gpu{index}"

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        assert gpu == "gpu0"
        return next(self.trace)


def test_rapl_sums_packages_and_handles_counter_overflow(tmp_path):
    steps = [
        powercap(tmp_path, "intel-rapl:0", [1_000_000, 1_250_000, 1_250_000]),
        powercap(tmp_path, "intel-rapl:1", [RANGE_UJ - 10_000, RANGE_UJ - 10_000, 40_000]),
    ]
    powercap(tmp_path, "intel-rapl:0:0", [77])  # a part of package 0, included there
    reader = Rapl(tmp_path)
    assert reader.read_mj() == 0
    for step in steps:
        step()
    assert reader.read_mj() == 250
    for step in steps:
        step()
    assert reader.read_mj() == 250 + 50


def test_measured_energy_is_per_sample_and_names_its_source(tmp_path):
    step = powercap(tmp_path, "intel-rapl:0", count(5_000_000, 60_000))
    reader = Rapl(tmp_path)
    # one call to warm up, then calls until a second has passed: three
    clock = chain([0.0], [0.4], [0.8], repeat(1.2)).__next__
    energy = measure_energy(step, reader, samples=4, min_seconds=1.0, clock=clock)
    assert energy == Energy(pytest.approx(60 / 4), "rapl")


def test_nvml():
    reader = Nvml(nvml=Nvidia([1000.0, 1000.0, 1700.0]))
    assert reader.source == "nvml"
    assert reader.read_mj() == 1000
    assert reader.read_mj() == 1700


def test_without_a_counter_there_is_no_reader(tmp_path):
    assert find_reader("cpu", tmp_path) is None
    assert find_reader("cuda", nvml=Nvidia(works=False)) is None
    assert find_reader("cuda", nvml=Nvidia(repeat(5.0))).source == "nvml"
    with pytest.raises(UserError, match="must hold a readable"):
        Rapl(tmp_path)
    with pytest.raises(UserError, match="Driver Not Loaded"):
        Nvml(nvml=Nvidia(works=False))


def test_the_model_by_hand():
    nodes = (
        Node.make("conv", "conv", (INPUT,), in_channels=1, out_channels=4, kernel=3, stride=1),
        Node.make("early", "classifier", ("conv",), in_channels=4, classes=2),
        Node.make("pool", "maxpool", ("conv",), kernel=3, stride=2),
        Node.make("head", "classifier", ("pool",), in_channels=4, classes=2),
    )
    graph = Graph((1, 8, 8), nodes, (GraphExit("conv", "early"), GraphExit("pool", "head")))
    conv_items = 64 + 256 + (36 + 8) + 8  # in, out, weights and norm parameters, norm statistics
    assert layer_work(layer_key(graph, nodes[0])) == (36 * 64, 4 * conv_items)
    assert layer_work(layer_key(graph, nodes[0]), "bf16") == (36 * 64, 2 * conv_items)
    head = (8, 4 * (256 + 2 + 10))
    assert layer_work(layer_key(graph, nodes[1])) == head
    pool, last = 4 * (256 + 64), (8, 4 * (64 + 2 + 10))
    model = EnergyModel(pj_per_mac=2.0, pj_per_byte=3.0)
    found = model.energies([graph])[0]
    conv_pj, head_pj = 2 * 36 * 64 + 3 * 4 * conv_items, 2 * head[0] + 3 * head[1]
    last_pj = 3 * pool + 2 * last[0] + 3 * last[1]
    assert found.to_exit() == pytest.approx([1e-9 * (conv_pj + head_pj), 1e-9 * (conv_pj + head_pj + last_pj)])
    assert model.source == "model"


def test_the_estimate_of_a_difficulty_reads_the_image_and_writes_a_number():
    # 3 * 4 * 4 grey values, 2 * 2 inner pixels under three windows of 9 and two squares, 48 squares
    macs = 48 + 27 * 4 + 2 * 4 + 48
    assert EnergyModel(2.0, 3.0).difficulty_mj((3, 4, 4)) == pytest.approx((2.0 * macs + 3.0 * (48 + 4)) * 1e-9)
