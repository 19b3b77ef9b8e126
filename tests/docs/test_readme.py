"""The README is short, opens with the commands that set up, and what every page links to is there."""

import re
from pathlib import Path

import pytest
from shown_code import FENCE, PAGES, ROOT, languages

README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_it_is_short():
    assert 6000 <= len(README) <= 8000


@pytest.mark.parametrize(
    "command",
    ["pip install -e . && aebnas search experiments/quickstart.yaml", 'pip install -e ".[dev]" && pytest'],
)
def test_it_describes_the_setup(command):
    assert README.count(f"\n{command}\n") == 1


def test_every_kind_of_code_shown_has_its_test():
    assert languages() <= {"yaml", "python", "sh", "text"}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as mkdocs makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_linked_is_there(page):
    links = [link for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))) if ":" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target.parent == ROOT / "docs" / "reference":
            assert target.stem in REFERENCE and not anchor, f"{page.name}: {link}"
            continue
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


REFERENCE = ("experiment", "space", "command-line", "python")
"""Pages that are written when the site is built."""


def test_every_page_is_in_the_navigation():
    """Mkdocs checks it, too, but is not there in every test run."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w/-]+\.md", navigation))
    written = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert named == written | {f"reference/{name}.md" for name in REFERENCE}
