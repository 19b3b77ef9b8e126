"""A run knows its images: changed ones are refused or computed anew, moved ones found, and an export needs none."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from image_files import write_digits
from PIL import Image
from tiny_run import EXPERIMENT, front_of, own_copy, write_spec

import aebnas
from aebnas.cli.main import main
from aebnas.core.errors import UserError
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.export.model import Model
from aebnas.run.session import RunSession
from aebnas.search.loop import resume_search, run_search
from aebnas.selected.evaluate import evaluate, export
from aebnas.selected.retrain import retrain

SPLITS = EXPERIMENT["data"]["splits"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on a folder of images beside its spec; none may change it."""
    base = tmp_path_factory.mktemp("finished")
    write_digits(base / "spec", train=240, test=60)
    data = {"name": "folder", "path": "digits", "resolution": 8, "channels": 1, "splits": SPLITS}
    run_search(write_spec(base / "spec", data=data), base / "run")
    return base / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy with its images, whose times are kept."""
    return own_copy(finished, tmp_path)


@pytest.fixture
def images(run: Path) -> Path:
    return run.parent / "spec" / "digits"


def spec_of(run: Path) -> Path:
    return run.parent / "spec" / "tiny.yaml"


def refused(command: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that is refused."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in command])
    assert ended.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def first_of(folder: Path) -> Path:
    return min(folder.iterdir())


def every_command(run: Path) -> list[list[object]]:
    """Those that read images of the training part."""
    return [
        ["search", spec_of(run), "--out", run],
        ["resume", run],
        ["retrain", run, "--pick", "knee"],
        ["calibrate", run, "--pick", "knee", "--beta", "1"],
        ["sweep", run, "--pick", "knee"],
        ["evaluate", run, "--pick", "knee"],
        ["measure", run, "--pick", "knee"],
    ]


def test_a_run_keeps_names_membership_and_fingerprints(run: Path, images: Path) -> None:
    record = RunSession.open(run).data_record
    assert record is not None
    assert record.class_names == tuple(f"digit {number}" for number in range(10))
    counts = json.loads((run / "protocol.json").read_text())["images"]
    assert {name: len(part) for name, part in record.membership.items()} == counts
    assert set(record.fingerprints) == {*counts, "test"} == set(record.files) | {"arch", "certify"}
    listed = [name for split in counts for name in record.files.get(split, {})]
    assert sorted(listed) == sorted(path.relative_to(images).as_posix() for path in images.glob("train/*/*"))
    assert json.loads((run / "protocol.json").read_text())["fingerprints"] == dict(record.fingerprints)


def test_a_renamed_class_is_refused_by_every_command_that_reads_images(run, images, capsys):
    for part in ("train", "test"):
        (images / part / "digit 3").rename(images / part / "zebra")
    how = "must have the classes that the run was started with, but 'digit 3' is missing and 'zebra' is new"
    for command in every_command(run):
        assert how in refused(command, capsys)


def test_a_new_training_image_is_refused_by_every_command_that_reads_images(run, images, capsys):
    shutil.copy(first_of(images / "train/digit 3"), images / "train/digit 0/aaa.png")
    how = "must hold the images that the run was started with, but got 1 new (train/digit 0/aaa.png)"
    for command in every_command(run):
        assert how in refused(command, capsys)


def test_gone_and_resized_images_are_refused(run, images):
    first, second = sorted(images.glob("train/*/*"))[:2]
    first.unlink()
    Image.effect_noise((64, 64), 50).save(second)
    with pytest.raises(UserError, match=r"but got 1 gone \(.*\), 1 of another size \(.*\); point the spec, or"):
        retrain(run, "knee", epochs=1)


def test_images_that_move_to_another_class_are_refused(run, images):
    file = sorted(images.glob("train/digit 3/*"))[0]
    file.rename(images / "train/digit 4" / f"x{file.name}")
    with pytest.raises(UserError, match=r"1 new \(train/digit 4/x.*\), 1 gone \(train/digit 3/"):
        resume_search(run)


def test_another_time_of_equal_content_is_no_change(run, images):
    for file in images.glob("train/*/*"):
        os.utime(file)
    _, point = retrain(run, "knee", epochs=1)
    assert RunSession.open(run).selected_state(RunSession.open(run).pick("knee")).point == point


def test_another_content_of_equal_size_and_time_is_found_on_demand(run, images, capsys):
    file = sorted(images.glob("train/*/*"))[0]
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert RunSession.open(run).images.splits
    error = refused(["retrain", run, "--pick", "knee", "--verify"], capsys)
    assert f"but got 1 of other content ({file.relative_to(images).as_posix()})" in error
    assert "1 of other content" in refused(["search", spec_of(run), "--out", run, "--verify"], capsys)
    with pytest.raises(UserError, match="1 of other content"):
        aebnas.open(run, verify=True)


def test_test_images_that_change_are_evaluated_anew(run, images):
    first = evaluate(run, "knee")
    assert not first.notes and first.samples == 60
    assert evaluate(run, "knee").to_json() == first.to_json()
    wrong = sorted(images.glob("train/digit 0/*"))[:10]
    for number, file in enumerate(wrong):
        shutil.copy(file, images / "test/digit 1" / f"wrong{number}.png")
    second = evaluate(run, "knee")
    assert second.samples == 70 and second.point.metrics["accuracy"] < first.point.metrics["accuracy"]
    assert second.notes == (
        "the test set isn't that of the run's start (10 new (test/digit 1/wrong0.png)); the figures are those of the "
        "present one",
    )
    for number in range(10):
        (images / "test/digit 1" / f"wrong{number}.png").unlink()
    third = evaluate(run, "knee")
    assert third.point == first.point
    assert third.notes[0].startswith("the test set isn't that of the last evaluation")


def test_test_images_of_other_content_alone_are_found_on_demand_and_from_then_on(run, images):
    first = evaluate(run, "knee")
    file = first_of(images / "test/digit 3")
    before = file.stat()
    Image.new("L", (8, 8), 255).save(file)
    file.write_bytes(file.read_bytes().ljust(before.st_size, b"\0"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert evaluate(run, "knee").to_json() == first.to_json()
    note = f"(1 of other content (test/digit 3/{file.name}))"
    assert note in evaluate(run, "knee", verify=True).notes[0]
    assert note in evaluate(run, "knee").notes[0]


def test_test_images_that_cannot_be_read_are_reported_before_a_search(run, images, tmp_path):
    first_of(images / "test/digit 3").write_bytes(b"")
    with pytest.raises(UserError, match=r"digit 3/\d+.png: must be a readable image, but got an empty file"):
        run_search(spec_of(run), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_moved_images_are_found_where_the_user_says(run, images, tmp_path, capsys):
    place = tmp_path / "elsewhere" / "my digits"
    shutil.copytree(images, place, copy_function=shutil.copy)  # with new times
    shutil.rmtree(images)
    gone = "must hold the run's images, but isn't there; --data says where they are"
    assert gone in refused(["retrain", run, "--pick", "knee", "--epochs", 1], capsys)
    main(["retrain", str(run), "--pick", "knee", "--epochs", "1", "--data", str(place)])
    evaluate(run, "knee")  # remembered
    main(["resume", str(run)])
    text = spec_of(run).read_text().replace("path: digits", f"path: {place}")
    spec_of(run).write_text(text)
    main(["search", str(spec_of(run)), "--out", str(run)])


def test_a_spec_that_names_another_place_of_the_same_images_goes_on(run, images, tmp_path):
    shutil.copytree(images, tmp_path / "there", copy_function=shutil.copy)
    shutil.rmtree(images)
    spec_of(run).write_text(spec_of(run).read_text().replace("path: digits", f"path: {tmp_path / 'there'}"))
    before = front_of(run)
    run_search(spec_of(run), run)
    assert front_of(run) == before
    assert aebnas.open(run).pick("knee").evaluate()["samples"] == 60  # commands by the run's folder find them, too


def test_other_images_are_not_taken_for_moved_ones(run, images, tmp_path, capsys):
    place = tmp_path / "other"
    shutil.copytree(images, place)
    gone = first_of(place / "train/digit 3")
    gone.unlink()
    error = refused(["evaluate", run, "--pick", "knee", "--data", place], capsys)
    assert f"1 gone (train/digit 3/{gone.name})" in error
    same_name = first_of(place / "train/digit 4")
    shutil.copytree(images, place, dirs_exist_ok=True)
    content = bytearray(same_name.read_bytes())
    content[-20] ^= 1
    same_name.write_bytes(content)
    assert "1 of other content" in refused(["evaluate", run, "--pick", "knee", "--data", place], capsys)
    assert RunSession.open(run).data_record.location is None


def test_an_export_needs_no_images(run, images, tmp_path):
    export(run, "knee", tmp_path / "with")
    shutil.rmtree(images)
    export(run, "knee", tmp_path / "without")
    with_, without = Model.load(tmp_path / "with"), Model.load(tmp_path / "without")
    assert without.class_names == with_.class_names == tuple(f"digit {number}" for number in range(10))
    for name in ("weights.safetensors", "preprocessing.json", "policy.json", "monitor.json", "check.npz"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    assert not without.check().problems


def test_every_point_is_exported_without_images_and_what_its_card_lacks_is_said(run, images, tmp_path, capsys):
    shutil.rmtree(images)
    for number, (_, point) in enumerate(RunSession.open(run).front()):
        export(run, point.id, tmp_path / str(number))
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes and all("the card states no calibration error of exits" in note for note in notes)


def test_sets_that_need_no_files_cannot_be_moved(tmp_path, capsys):
    spec = write_spec(tmp_path / "spec", strategy={"name": "random", "population": 4, "generations": 1})
    run_search(spec, tmp_path / "run")
    error = refused(["evaluate", tmp_path / "run", "--pick", "knee", "--data", tmp_path], capsys)
    assert error == f"error: --data must be absent, since digits needs no files, but got {tmp_path}"


@pytest.fixture(scope="module")
def array_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("arrays")
    (base / "spec").mkdir()
    write_arrays(base / "spec" / "digits.npz")
    data = {"name": "npz", "path": "digits.npz", "splits": SPLITS}
    strategy = {"name": "random", "population": 4, "generations": 1}
    run_search(write_spec(base / "spec", data=data, strategy=strategy), base / "run")
    return base / "run"


def write_arrays(path: Path, train: int = 240, **changes: np.ndarray) -> None:
    arrays = {}
    for part, load, count in (("train", load_train, train), ("test", load_test, 60)):
        images = load(DataSpec(name="digits"), path.parent)
        arrays |= {f"x_{part}": images.pixels()[:count, 0].numpy(), f"y_{part}": images.labels[:count].numpy()}
    np.savez(path, **arrays | changes)


def test_arrays_that_change_are_refused_and_equal_ones_may_be_written_again(array_run, tmp_path):
    run = own_copy(array_run, tmp_path)
    file = run.parent / "spec" / "digits.npz"
    write_arrays(file)  # the same content at another time
    resume_search(run)
    with np.load(file) as arrays:
        x, y = arrays["x_train"].copy(), arrays["y_train"].copy()
    x[0, 4, 4] ^= 1
    write_arrays(file, x_train=x)
    with pytest.raises(UserError, match=r"digits.npz: must hold the images .* other pixels or labels in \w+;"):
        resume_search(run)
    write_arrays(file, train=241)
    with pytest.raises(UserError, match="but got 241 training images instead of 240"):
        resume_search(run)
    y[0] = (y[0] + 1) % 10
    write_arrays(file, y_train=y)
    with pytest.raises(UserError, match="other pixels or labels"):
        evaluate(run, "knee")


def test_test_arrays_that_change_are_evaluated_anew(array_run, tmp_path):
    run = own_copy(array_run, tmp_path)
    first = evaluate(run, "knee")
    images = load_test(DataSpec(name="digits"), tmp_path)
    write_arrays(run.parent / "spec" / "digits.npz", y_test=(images.labels[:60].numpy() + 1) % 10)
    second = evaluate(run, "knee")
    assert second.point.metrics["accuracy"] < first.point.metrics["accuracy"]
    assert second.notes[0].startswith("the test set isn't that of the last evaluation")


def test_a_run_without_a_record_takes_the_images_it_finds(run, images, tmp_path, capsys):
    shutil.rmtree(run / "images")
    place = tmp_path / "there"
    images.rename(place)
    main(["evaluate", str(run), "--pick", "knee", "--data", str(place)])
    printed = capsys.readouterr().err
    assert "has no record of its images, so those of today are taken as its own" in printed
    assert "was made by an earlier version, which read image files by other rules" in printed
    assert RunSession.open(run).data_record is not None
    resume_search(run)


def test_a_damaged_record_is_named(run, capsys):
    (run / "images" / "splits.npz").write_bytes(b"none")
    assert "splits.npz: cannot be read: " in refused(["resume", run], capsys)
    (run / "images" / "record.json").write_text("{}")
    assert "record.json: cannot be read: KeyError: 'preprocessing'" in refused(["resume", run], capsys)
