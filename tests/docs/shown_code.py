"""The pages that people read, and the code that they show."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a page; `at` names it in a test's id."""

    page: Path
    language: str
    code: str
    at: str


def blocks(language: str) -> list[Block]:
    """All fenced blocks in a language."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            at = f"{page.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}"
            found.append(Block(page, match[1], match[2], at))
    return [block for block in found if block.language == language]


def languages() -> set[str]:
    """Of all fenced blocks."""
    return {match[1] for page in PAGES for match in FENCE.finditer(page.read_text(encoding="utf-8"))}
