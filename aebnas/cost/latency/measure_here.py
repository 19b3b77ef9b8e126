"""Measures the layers and networks of job.json on this device. Needs Python 3.11 and PyTorch, nothing else.

    python measure.py [--out result.json]

Stopped, the same command goes on. Keep the device idle and at one clock speed meanwhile. Bring the result back with
`aebnas profile SPACE --import result.json`.
"""

from pathlib import Path

from aebnas.cost.latency.rounds import measure_folder
from aebnas.cost.latency.stopwatch import measure, result

if __name__ == "__main__":
    measure_folder(Path(__file__).resolve().parent, __doc__, measure, result)
