"""Measures the layers and networks of job.json on this device. Needs Python 3.11 and PyTorch, nothing else.

    python measure.py [--out result.json]

Stopped, the same command goes on. Keep the device idle and at one clock speed meanwhile. Bring the result back with
`aebnas profile SPACE --import result.json`.
"""

import argparse
import json
import sys
from pathlib import Path

from aebnas.cost.stopwatch import measure, recorded, result


def main() -> None:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=here / "result.json")
    options = parser.parse_args()
    job = json.loads((here / "job.json").read_text(encoding="utf-8"))
    record = options.out.with_name(options.out.name + ".partial.jsonl")
    total = (len(job["layers"]) + len(job["networks"])) * job["rounds"]
    done = len(recorded(job, record))

    def advance() -> None:
        nonlocal done
        done += 1
        if done % max(1, total // 100) == 0 or done == total:
            print(f"\r{done}/{total}", end="", file=sys.stderr, flush=True)

    found = result(job, measure(job, record, advance))
    options.out.write_text(json.dumps(found), encoding="utf-8")
    record.unlink()
    print(f"\n{options.out} is written; read it with: aebnas profile SPACE --import {options.out.name}")


if __name__ == "__main__":
    main()
