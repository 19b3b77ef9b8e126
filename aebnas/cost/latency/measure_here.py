"""Measures the layers and networks of job.json on this device. Needs Python 3.11 and PyTorch, nothing else.

    python measure.py [--out result.json]

If stopped, the same command resumes. Keep the device idle and at a fixed clock speed meanwhile. Import the result with
`aebnas profile SPACE --import result.json`.
"""

from pathlib import Path

from aebnas.cost.latency.rounds import measure_folder
from aebnas.cost.latency.stopwatch import measure, result

if __name__ == "__main__":
    measure_folder(Path(__file__).resolve().parent, __doc__, measure, result)
