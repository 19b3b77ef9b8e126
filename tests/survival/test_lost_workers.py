"""Ray: workers that are killed, and none that outlive the command."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from faulty import QUICK, Fault, aebnas
from tiny_run import EXPERIMENT, front_of, write_spec

from aebnas.run.run_directory import Run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

SPEC = QUICK | {"evaluate": EXPERIMENT["evaluate"] | {"workers": 2}}
COMMAND = "from aebnas.cli.main import main; main()"
PATIENCE_S = 240.0


@pytest.fixture
def with_workers(whole, tmp_path):
    """A run with a trained supernet whose candidates are scored by two workers."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    shutil.copy(whole / "checkpoints" / "supernet.safetensors", run / "checkpoints")
    shutil.copy(whole / "train_epoch_metrics.csv", run)
    write_spec(tmp_path / "spec", **SPEC)
    return run


def test_a_worker_that_is_killed_is_replaced_and_a_candidate_that_kills_each_is_a_failed_trial(
    with_workers, whole, tmp_path
):
    trials = Run.open(whole).trials()
    once, always = trials[1].architecture.id, trials[2].architecture.id
    deadly = Fault("aebnas.evaluation.worker_pool:_Worker", f"deadly {once} {always} {tmp_path / 'killed'}")
    ended = aebnas("search", tmp_path / "spec" / "tiny.yaml", "--out", with_workers, faults=(deadly,))
    assert ended.code == 0, ended.printed
    assert (tmp_path / "killed").exists()
    assert ended.printed.count("note: a candidate is scored again: its worker was lost") == 6
    found = {trial.architecture.id: trial for trial in Run.open(with_workers).trials()[:4]}
    assert sorted(trial.status for trial in found.values()) == ["failed", "ok", "ok", "ok"]
    assert found[once].points == trials[1].points
    assert found[always].reason.startswith("its worker was lost 6 times: ") and "\n" not in found[always].reason
    assert len(Run.open(with_workers).trials()) == 8


def processes(mark: str, title: str = "") -> list[int]:
    """Those that were started, however indirectly, with a mark in their environment, and have such a title."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            marked = folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes()
            if marked and (folder / "cmdline").read_bytes().startswith(title.encode()):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def wait_until(true) -> None:
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < PATIENCE_S
        time.sleep(0.05)


@pytest.fixture
def started(with_workers, tmp_path):
    """The function that starts the search, and a mark that all its processes carry in their environment."""
    mark, begun = uuid.uuid4().hex, []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "search", tmp_path / "spec" / "tiny.yaml", "--out", with_workers],
            env=os.environ | {"AEBNAS_TEST": mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # ignored where the tests run in the background
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            text=True,
        )
        begun.append(process)
        return process

    yield start, mark
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


def test_no_worker_outlives_the_command(with_workers, started, whole, tmp_path):
    """Ctrl-C, as a terminal sends it, to all processes in the foreground; other signals only to the command."""
    start, mark = started
    for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        process = start()
        wait_until(lambda: len(processes(mark, "ray::_Worker")) == 2)
        send = os.killpg if number == signal.SIGINT else os.kill
        send(process.pid, number)
        printed, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == expected, printed
        if number != signal.SIGKILL:
            assert "run the same command again to resume" in printed and "Traceback" not in printed
            assert processes(mark) == []
    write_spec(tmp_path / "spec", **QUICK)  # where candidates are scored may change
    ended = aebnas("search", tmp_path / "spec" / "tiny.yaml", "--out", with_workers)
    assert ended.code == 0, ended.printed
    assert front_of(with_workers) == front_of(whole)
    wait_until(lambda: processes(mark) == [])
