"""Locks between processes: refusing, waiting, and the state after a kill."""

import os
import subprocess
import sys
import threading
import time

import pytest

from aebnas.core.errors import UserError
from aebnas.run.locks import is_locked, lock
from aebnas.run.run_directory import Run

HOLD = """
import os, sys
from pathlib import Path
from aebnas.run.locks import lock
with lock(Path(sys.argv[1])):
    if sys.argv[2] == "alone" or os.fork() == 0:
        print("held", flush=True)
    os.read(0, 1)  # until the test closes its end
    os._exit(0)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "run.lock"


@pytest.fixture
def holder(path):
    """The function that starts a process which holds the lock, `how` being "alone" or "fork"."""
    started = []

    def start(how: str) -> subprocess.Popen[str]:
        command, pipe = [sys.executable, "-c", HOLD, str(path), how], subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_holder_is_refused_with_the_message(path):
    with lock(path, "first"):
        with pytest.raises(UserError, match=r"^second is refused$"), lock(path, "second is refused"):
            pytest.fail("two hold it")
        assert is_locked(path)
    with lock(path, "free again"):
        pass


def test_without_a_refusal_the_second_waits(path):
    order = []

    def second():
        with lock(path):
            order.append("second")

    waiting = threading.Thread(target=second)
    with lock(path):
        waiting.start()
        time.sleep(0.1)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]


def test_an_error_inside_releases_it(path):
    with pytest.raises(ZeroDivisionError), lock(path, "held"):
        raise ZeroDivisionError
    assert not is_locked(path)


def test_checking_neither_creates_nor_holds_it(path):
    assert not is_locked(path) and not path.exists() and not path.parent.exists()
    with lock(path, "held"):
        pass
    assert not is_locked(path)
    with lock(path, "held"):
        assert is_locked(path) and is_locked(path)


def test_what_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    refused = pytest.raises(UserError, match="file: cannot be written: a file is where a folder must be")
    with refused, lock(tmp_path / "file" / "run.lock", "held"):
        pytest.fail("no such folder")


NO_FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this platform")


@pytest.mark.parametrize("how", ["alone", pytest.param("fork", marks=NO_FORKS)])
def test_a_killed_process_leaves_no_lock(path, holder, how):
    """Nor do its forks, which read images and outlive a killed parent by some seconds."""
    process = holder(how)
    assert is_locked(path)
    process.kill()
    process.wait()
    with lock(path, "still held"):
        pass


def test_concurrent_checks_do_not_block_a_holder(path):
    """A check holds the lock for an instant, which must affect neither a process that locks nor other checks."""
    with lock(path):
        pass
    done = threading.Event()
    answers = set()

    def ask():
        while not done.is_set():
            answers.add(is_locked(path))
            time.sleep(0.002)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(50):
            with lock(path, "refused by one that asks"):
                pass
    finally:
        done.set()
        for thread in asking:
            thread.join()
    assert False in answers


def test_a_search_in_another_process_refuses_search_and_retraining(tmp_path, path, holder):
    holder("alone")
    run = Run(tmp_path / "run")
    with pytest.raises(UserError, match="another process is working on this run"), run.locked():
        pytest.fail("two searches")
    with pytest.raises(UserError, match="a search is working on this run"), run.retraining("a"):
        pytest.fail("retrained while searched")


WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None  # as on Windows: importing it raises ImportError
import aebnas.cli.main, aebnas.core.ray_cluster, aebnas.core.yaml_reader, aebnas.report.run_list
import aebnas.run.experiment_spec, aebnas.run.locks, aebnas.run.run_directory, aebnas.search.plan
"""


def test_the_package_imports_where_there_is_no_fcntl():
    subprocess.run([sys.executable, "-c", WITHOUT_FCNTL], check=True)
