"""The spaces that come with the package, by name."""

from pathlib import Path

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import did_you_mean


def bundled_spaces() -> dict[str, Path]:
    """The file of every bundled space by its name, sorted.

    An installed package holds them in `aebnas/search_spaces`; in a clone of the repository they lie beside it.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "search_spaces"
    folder = installed if installed.is_dir() else package.parent / "search_spaces"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def find_space(space: Path, base: Path = Path()) -> Path:
    """The file of a search space: `space`, relative to `base`, or else the bundled space of that name.

    Raises SpecError, without a file, where there is neither.
    """
    file, bundled = base / space.expanduser(), bundled_spaces()
    if file.is_dir() or not file.exists():
        if str(space) in bundled:
            return bundled[str(space)]
        if not file.exists():
            rule = f"must be the file of a search space, but '{file}' doesn't exist"
            names = f"; bundled spaces are {', '.join(bundled)}"
            raise SpecError("space", rule + names + did_you_mean(str(space), bundled))
    return file
