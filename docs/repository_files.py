"""Files of the repository that pages link to: the site holds a copy of each (a hook of mkdocs).

A page links to `../results/x.png` as it lies in the repository, so that the link works there, too. While the site is
built that file is copied to `repository/results/x.png` and the link is led there. A link to something that isn't a
file is left as it is, and mkdocs refuses it.
"""

import posixpath
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"\]\((\.\./[^)#\s]+)")
COPIES = "repository"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that pages link to."""
    for page in list(files.documentation_pages()):
        for link in LINK.findall(page.content_string):
            path = _in_repository(page.src_uri, link)
            source = Path(config.config_file_path).parent / (path or "")
            if path and source.is_file() and files.get_file_from_path(f"{COPIES}/{path}") is None:
                files.append(File.generated(config, f"{COPIES}/{path}", abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of `docs/` to the copies."""

    def led(match: re.Match[str]) -> str:
        path = _in_repository(page.file.src_uri, match[1])
        if not path or files.get_file_from_path(f"{COPIES}/{path}") is None:
            return match[0]
        up = "../" * (len(PurePosixPath(page.file.src_uri).parts) - 1)
        return f"]({up}{COPIES}/{path}"

    return LINK.sub(led, markdown)


def _in_repository(page: str, link: str) -> str | None:
    """The path in the repository that a link of a page (both relative) leads to; None for one inside of `docs/`."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return None if path.startswith(("docs/", "..")) else path
