"""Profiles measured here and elsewhere, on a space of a few layers. No timing is asserted."""

import json
import subprocess
import sys

import pytest
import torch

from aebnas.core.errors import UserError
from aebnas.cost.latency import rounds
from aebnas.cost.latency.emit import emit, emit_onnx
from aebnas.cost.latency.fitting import make_profile
from aebnas.cost.latency.job import make_job, make_setting
from aebnas.cost.latency.measured_device import DifficultyTime
from aebnas.cost.latency.network_profile import load_profile
from aebnas.cost.latency.profiling import import_result, profile_of, profile_space, record_file
from aebnas.cost.latency.rounds import recorded
from aebnas.cost.latency.stopwatch import MeasurementSetting, leave_at, measure, result
from aebnas.runtime.network import Network
from aebnas.space.genome import SearchSpace
from aebnas.space.layers import space_layers
from aebnas.space.lowering import lower


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    for name, value in {"WARM_UP_CALLS": 1, "VISIT_MS": 0.0, "MIN_CALLS": 1, "MAX_TRIES": 1}.items():
        monkeypatch.setattr(rounds, name, value)


@pytest.fixture
def space(make_small):
    return make_small("site_in_a_deep_stage")


@pytest.fixture
def job(space):
    return make_job(space, MeasurementSetting(), rounds=2, networks=3)


def test_a_job_holds_every_distinct_layer_once(space, job):
    keys = [json.dumps([layer["op"], layer["in_shapes"], layer["attrs"]], sort_keys=True) for layer in job["layers"]]
    assert len(keys) == len(set(keys))
    distinct = {(layer.op, layer.in_shape, layer.attrs) for layer in space_layers(space.spec, stop_heads=True)}
    assert len(keys) == len(distinct)
    assert job["left_out"] == []
    assert make_job(space, MeasurementSetting(), rounds=2, networks=3) == job
    assert make_job(space, MeasurementSetting(threads=2), rounds=2, networks=3)["id"] != job["id"]


def test_each_round_visits_all_subjects_in_an_order_of_its_own(job):
    found = list(rounds.visits(job))
    orders = [[subject for number, subject in found if number == round_] for round_ in range(2)]
    everything = range(len(job["layers"]) + len(job["networks"]) + 1)  # the difficulty estimator is the last
    assert [sorted(order) for order in orders] == [list(everything)] * 2
    assert orders[0] != orders[1]


def test_a_profile_predicts_all_architectures_of_its_space(space, job, tmp_path, architectures, capsys):
    out = tmp_path / "new" / "profile.json"
    profile = profile_space(job, out)
    assert not record_file(out).exists()
    read = load_profile(out)
    assert read.layers == profile.layers
    read.check_covers(space.spec)
    for costs in read.latencies([lower(architecture) for architecture in architectures(space, 10)]):
        assert (costs.to_exit() > 0).all()
    with pytest.raises(UserError, match="must not exist yet"):
        profile_space(job, out)


def test_a_stopped_profile_resumes(job, tmp_path, monkeypatch):
    record = tmp_path / "record.jsonl"
    counted, real = [], rounds.undisturbed_ms

    def stop_after_five(*arguments):
        if len(counted) == 5:
            raise KeyboardInterrupt
        counted.append(1)
        return real(*arguments)

    monkeypatch.setattr(rounds, "undisturbed_ms", stop_after_five)
    with pytest.raises(KeyboardInterrupt):
        measure(job, record, lambda: None)
    measured = recorded(job, record)
    assert len(measured) == 5
    with record.open("a") as lines:
        lines.write("[1, 2, 0.")  # an incomplete line, as left by a kill
    monkeypatch.setattr(rounds, "undisturbed_ms", lambda *arguments: 7.0)
    advances = []
    times = measure(job, record, lambda: advances.append(1))
    subjects = rounds.subjects(job)
    assert len(advances) == 2 * subjects - 5
    assert [times[subject][number] for number, subject in measured] == list(measured.values())
    assert sum(ms == 7.0 for each in times for ms in each) == 2 * subjects - 5
    with pytest.raises(ValueError, match="was begun for another space or setting"):
        measure(job | {"id": "another"}, record, lambda: None)


def test_some_layers_may_be_measured_and_the_rest_estimated(digits, tmp_path):
    job = make_job(digits, MeasurementSetting(), rounds=1, networks=0, max_layers=40)
    assert len(job["layers"]) == 40 and job["left_out"]
    notes = []
    profile = profile_space(job, tmp_path / "p.json", notes.append)
    assert notes == [f"of {40 + len(job['left_out'])} distinct layers 40 are measured, the rest is estimated from them"]
    assert sum(timed.estimated for timed in profile.layers.values()) == len(job["left_out"])
    profile.check_covers(digits.spec)


def test_a_profile_of_another_space_is_refused(job, digits, tmp_path):
    profile = make_profile(result(job, [[1.0]] * rounds.subjects(job)), "p.json")
    with pytest.raises(UserError, match=r"p.json: must hold .* was measured for another space"):
        profile.check_covers(digits.spec)


def test_an_emitted_folder_measures_without_aebnas(space, job, tmp_path):
    folder = tmp_path / "folder"
    emit(job, folder)
    without = "import sys, runpy; sys.modules['aebnas'] = None; sys.argv = ['measure.py', '--out', 'here.json']; "
    quick = "import rounds; rounds.VISIT_MS = 0.0; rounds.MAX_TRIES = 1; "
    code = f"{without}sys.path.insert(0, '.'); {quick}runpy.run_path('measure.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "profile.json"
    profile = import_result(folder / "here.json", space, out)
    assert load_profile(out).layers == profile.layers
    assert len(profile.layers) == len(job["layers"])
    assert profile.device["name"] and "host" not in profile.device
    assert profile.difficulty_ms(space.spec.input.shape) > 0
    with pytest.raises(UserError, match="must be new or an empty folder"):
        emit(job, folder)


def test_files_that_are_not_results_are_refused(space, tmp_path):
    file = tmp_path / "r.json"
    for text, message in (("{", "must be JSON"), ("{}", "must be what measure.py wrote"), ("[]", "must be what")):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            import_result(file, space, tmp_path / "p.json")
    with pytest.raises(UserError, match="cannot be read"):
        import_result(tmp_path / "absent.json", space, tmp_path / "p.json")


def test_the_estimator_of_difficulty_is_measured_with_the_layers_and_without(space, job, make_small, tmp_path):
    image = space.spec.input.shape
    assert job["image"] == list(image)
    whole = make_job(space, MeasurementSetting(batch=2), rounds=1, networks=10, whole=True)
    for each in (job, whole):
        trace = [[float(number)] * each["rounds"] for number in range(1, rounds.subjects(each) + 1)]
        profile = profile_of(result(each, trace), "p.json")
        assert profile.difficulty == DifficultyTime(image, rounds.subjects(each), 0.0)
        assert profile.difficulty_ms(image) == rounds.subjects(each) / each["setting"]["batch"]
        profile.save(tmp_path / f"{len(each['layers'])}.json")
        assert load_profile(tmp_path / f"{len(each['layers'])}.json").difficulty == profile.difficulty
        # as in jobs of versions without an estimator
        before = {name: value for name, value in each.items() if name != "image"}
        old = profile_of(result(before, trace[:-1]), "p.json")
        assert old.difficulty is None and "difficulty" not in old.to_json()
        with pytest.raises(UserError, match=r"p.json: must hold the time of estimating .* was made without it"):
            old.difficulty_ms(image)
        assert type(old)(**{**vars(old), "difficulty": profile.difficulty}).digest == profile.digest
    with pytest.raises(UserError, match="measured for images of"):
        profile.difficulty_ms((3, 7, 7))


def test_the_difficulty_of_images_of_any_channels_is_measured(space):
    two_channels = space.spec.input.model_copy(update={"channels": 2})
    space = SearchSpace(space.spec.model_copy(update={"input": two_channels}))
    job = make_job(space, MeasurementSetting(), rounds=1, networks=0)
    assert job["image"] == [2, 8, 8] and rounds.subjects(job) == len(job["layers"]) + 1


def test_settings():
    assert MeasurementSetting(threads=2, compiled=True).key == "cpu, 2 threads, batch 1, fp32, contiguous, compiled"
    with pytest.raises(UserError, match="--dtype must be one of fp32, bf16, fp16, but got 'int8'"):
        make_setting("cpu", 1, 1, "int8", "contiguous", False)
    before = torch.get_num_threads()
    with MeasurementSetting(threads=before + 1).applied():
        assert torch.get_num_threads() == before + 1
        assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == before
    assert (
        MeasurementSetting(batch=3, memory_format="channels_last")
        .inputs((4, 5, 5))
        .is_contiguous(memory_format=torch.channels_last)
    )


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_networks_are_left_at_the_given_exit(space, architectures, dtype):
    graph = lower(next(a for a in architectures(space, 20) if a.exits))
    setting = MeasurementSetting(batch=2, dtype=dtype)
    network = setting.network(Network(graph))
    for index in range(len(graph.exits)):
        prediction = network.infer(setting.inputs(graph.input_shape), leave_at(index, len(graph.exits)))
        assert prediction.exit_index.tolist() == [index] * 2


def test_compiled_layers_are_compiled(space, architectures, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    graph = lower(architectures(space, 1)[0])
    MeasurementSetting(compiled=True).network(Network(graph))
    assert len(compiled) == len(graph.nodes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_cuda_is_refused(space, tmp_path):
    with pytest.raises(UserError, match="device must be cpu, since PyTorch finds no CUDA GPU"):
        profile_space(make_job(space, MeasurementSetting("cuda"), 1, 1), tmp_path / "p.json")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_is_timed_by_events(space, tmp_path, architectures):
    profile = profile_space(make_job(space, MeasurementSetting("cuda"), 2, 3), tmp_path / "p.json")
    assert (profile.latency(lower(architectures(space, 1)[0])).to_exit() > 0).all()


def test_an_onnx_folder_measures_without_aebnas_and_torch(space, job, tmp_path):
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "folder"
    emit_onnx(job, folder)
    without = "import sys, runpy; sys.modules['aebnas'] = sys.modules['torch'] = None; "
    arguments = "sys.argv = ['measure.py', '--out', 'here.json']; sys.path.insert(0, '.'); "
    quick = "import rounds; rounds.VISIT_MS = 0.0; rounds.MAX_TRIES = 1; "
    code = f"{without}{arguments}{quick}runpy.run_path('measure.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    profile = import_result(folder / "here.json", space, tmp_path / "profile.json")
    assert len(profile.layers) == len(job["layers"])
    assert profile.device["runtime"].startswith("onnxruntime")
    assert profile.difficulty_ms(space.spec.input.shape) > 0
    with pytest.raises(UserError, match="--onnx: the setting must be cpu, fp32, contiguous and not compiled, but got"):
        emit_onnx(make_job(space, MeasurementSetting(dtype="bf16"), 1, 1), tmp_path / "other")


def test_measurements_on_a_busy_machine_are_repeated(monkeypatch):
    """Of tries beside a slow reference the first undisturbed one counts, and of none the least disturbed."""
    monkeypatch.setattr(rounds, "MAX_TRIES", 3)

    def tried(slowed, figures):
        class Scripted(rounds.LoadGuard):
            def __init__(self):
                self.values = iter(slowed)

            def slowed(self):
                return next(self.values)

        left = iter(figures)
        monkeypatch.setattr(rounds, "visit_ms", lambda call, timer: next(left))
        return rounds.undisturbed_ms(lambda: None, Scripted())

    assert tried([1.0, 1.1], [5.0]) == 5.0
    assert tried([1.0, 2.0, 1.0, 1.0], [9.0, 5.0]) == 5.0
    assert tried([3.0, 2.0, 1.0, 1.5, 2.0, 2.0], [9.0, 6.0, 7.0]) == 6.0
