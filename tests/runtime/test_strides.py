"""No op ends the process, on CPUs with wide and with narrow vectors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = Path(__file__).with_name("strided_sweep.py")


@pytest.mark.parametrize("widest", ["DEFAULT", "AVX2"])
def test_no_op_with_a_stride_ends_the_process(widest):
    """What is written beyond memory depends on oneDNN's instruction set, which can be lowered for one process."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": widest}
    ran = subprocess.run([sys.executable, SWEEP], env=environment, capture_output=True, text=True, timeout=300)
    assert ran.stdout.splitlines()[-1:] == ["done"], f"ended with {ran.returncode} {ran.stderr}"
