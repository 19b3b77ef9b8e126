"""A folder that measures a job on a device without aebnas: a script, the job, and the code of the networks."""

from pathlib import Path
from typing import Any

import aebnas.runtime
from aebnas.cost import measure_here, stopwatch
from aebnas.errors import UserError
from aebnas.files import write_json, write_text

RENAMED = {"from aebnas.cost.stopwatch import": "from stopwatch import", "from aebnas.runtime.": "from runtime."}
"""What the folder's own modules are called there."""


def emit(job: dict[str, Any], folder: Path) -> None:
    """Write the folder; raises UserError where it holds something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: must be new or an empty folder, but something is there")
    for name, module in (("measure.py", measure_here), ("stopwatch.py", stopwatch)):
        assert module.__file__
        write_text(folder / name, _renamed(Path(module.__file__).read_text(encoding="utf-8")))
    assert aebnas.runtime.__file__
    for source in sorted(Path(aebnas.runtime.__file__).parent.glob("*.py")):
        write_text(folder / "runtime" / source.name, source.read_text(encoding="utf-8"))
    write_json(folder / "job.json", job)


def _renamed(source: str) -> str:
    for ours, theirs in RENAMED.items():
        source = source.replace(ours, theirs)
    return source
