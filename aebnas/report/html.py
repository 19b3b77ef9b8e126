"""`report.html`: one file that opens without a network connection, made of `page/`, plotly.js and the run's payload."""

import base64
import gzip
import json
from functools import cache
from html import escape
from pathlib import Path

from plotly.offline import get_plotlyjs

from aebnas.core.atomic_files import write_text
from aebnas.report.payload import payload
from aebnas.report.trial_digest import TrialDigest
from aebnas.run.run_facts import RunFacts

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("base", "scatter", "network", "detail", "front", "curves", "classes", "policies", "facts", "main")


def write_html(facts: RunFacts, digest: TrialDigest) -> None:
    """Write the report of a run, with the digest of its trials, to its folder."""
    data = json.dumps(payload(facts, digest), allow_nan=False, separators=(",", ":"))
    parts = {
        "style": _read("style.css"),
        "script": "\n".join(_read(f"{name}.js") for name in SCRIPTS),
        "plotly": _packed_plotly(),
        "payload": _packed(data),
        "name": escape(facts.name),
    }
    page = _read("page.html")
    for name, text in parts.items():  # the name last, since it is user input and may contain a placeholder
        page = page.replace(f"[[{name}]]", text)
    write_text(facts.folder / "report.html", page)


def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


@cache
def _packed_plotly() -> str:
    """plotly.js, compressed once per process, since the report is written repeatedly and compressing takes 0.1 s."""
    return _packed(get_plotlyjs())


def _packed(text: str) -> str:
    """Gzip in base64: a third of the size, and without characters that could end the HTML element."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
