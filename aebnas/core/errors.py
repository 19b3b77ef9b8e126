"""The exceptions a user sees as a single line instead of a traceback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(ValueError):
    """Something the user can correct: a bad spec, a missing file, an impossible budget.

    The message is one line, whatever it quotes, that names the place (file, YAML path), the rule and the value. The
    command line prints it and exits with code 2.
    """

    def __str__(self) -> str:
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in super().__str__())


class SpecError(UserError):
    """A mistake in a file: its YAML `path` (empty for the whole file), and the `rule` with the value found.

    Raised without the file where that isn't known; `in_file` adds it.
    """

    def __init__(self, path: str, rule: str, file: Path | str | None = None) -> None:
        super().__init__(path, rule, file)
        self.path, self.rule, self.file = path, rule, file

    def __str__(self) -> str:
        return str(UserError(": ".join(str(part) for part in (self.file, self.path, self.rule) if part)))


def check_utf8(path: str, what: str) -> None:
    """Raise UserError unless a name or path from a file system, which takes any bytes, can be written in UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{what} must have a name in UTF-8, but got bytes {os.fsencode(path)!r}") from None


@contextmanager
def in_file(file: Path | str | None, at: str = "") -> Iterator[None]:
    """Add the file to every SpecError from inside that names none yet, and prefix its path by the YAML path `at`.

    Without a file only the path is completed.
    """
    try:
        yield
    except SpecError as error:
        if error.file is not None:
            raise
        raise SpecError(".".join(filter(None, (at, error.path))), error.rule, file) from error
