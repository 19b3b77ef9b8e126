import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys, time, weakref
from aebnas.cli.stop_signals import handle_stop_signals, stop_code

NUMBER, PLACE = {number}, {place!r}

def receive(*_):
    os.kill(os.getpid(), NUMBER)
    for _ in range(1000):  # Python handles the signal between two instructions
        pass

class Thing:
    def __del__(self):
        if PLACE == "finaliser":
            receive()

handle_stop_signals()
try:
    thing = Thing()
    reference = weakref.ref(thing, receive if PLACE == "callback" else None)
    del thing
    if PLACE == "code":
        receive()
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(stop_code())
"""


@pytest.mark.parametrize("place", ["code", "finaliser", "callback"])
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_signal_ends_the_command_wherever_it_arrives(number, code, place):
    """Python ignores exceptions raised in finalisers and callbacks: a search once went on after SIGTERM."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(number=int(number), place=place)],
        capture_output=True,
        text=True,
        timeout=50,
        # ignored where the tests run in the background
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (ended.returncode, ended.stderr) == (code, "")
