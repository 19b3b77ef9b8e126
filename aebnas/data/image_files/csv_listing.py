"""Images named by a CSV file of paths and labels. Imports no torch and reads no image.

The first line names the columns: `path` (absolute, or from the file's folder), `label`, and possibly `split` (`train`
or `test`; `val`, `valid` and `validation` are the test set where nothing is `test`). Other columns are ignored. Labels
are names of classes, whatever they look like; where all are numbers they are sorted as such.
"""

import csv
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aebnas.core.errors import UserError
from aebnas.core.spec_base import did_you_mean, short
from aebnas.data.class_order import TwoSpellings, in_class_order
from aebnas.data.image_files.files_found import TEST, TRAIN, VALIDATION, FilesFound, check_test_share
from aebnas.data.image_files.folder_walk import is_so

PATH, LABEL, SPLIT = "path", "label", "split"
COLUMNS = (PATH, LABEL, SPLIT)
DELIMITERS = ",;\t"
"""The first by which the columns are found separates them."""
NOT_READ = "row(s) of split '{}', since 'test' is the test set"


@dataclass(frozen=True)
class Row:
    """One image: the line that names it, its path as written, its label and its part."""

    line: int
    path: str
    label: str
    part: str


@dataclass(frozen=True)
class Table:
    """The rows of a file that are of a part, with what `FilesFound` says of the file."""

    rows: list[Row]
    class_names: tuple[str, ...]
    left_out: Counter[str]
    notes: tuple[str, ...]


def csv_classes(file: Path, test_share: int | float) -> tuple[str, ...]:
    """Names of the classes: the sorted labels of training images. Errors as in `list_csv`, but files may be missing."""
    return _read_table(file, test_share).class_names


def list_csv(file: Path, test_share: int | float) -> FilesFound:
    """The images of a CSV file, sorted by path; `test_share` is `data.splits.test`.

    Raises UserError with the line of a row that is wrong: a file that doesn't exist, an image that another row names,
    an empty cell, a class that isn't in the training part. SpecError where `test_share` is missing or one too many.
    """
    table = _read_table(file, test_share)
    _check_files(file, table.rows)
    label = {name: number for number, name in enumerate(table.class_names)}
    images: dict[str, list[tuple[str, int]]] = {}
    for row in table.rows:
        images.setdefault(row.part, []).append((_from_root(row.path, file.parent), label[row.label]))
    return FilesFound(
        file.parent,
        table.class_names,
        {part: sorted(listed) for part, listed in images.items()},
        table.left_out,
        table.notes,
    )


def _read_table(file: Path, test_share: int | float) -> Table:
    rows = list(_rows(file))
    if not rows:
        raise UserError(f"{file}: must have a row for each image, but got none")
    parts = {row.part for row in rows}
    left_out: Counter[str] = Counter()
    notes: tuple[str, ...] = ()
    validation = [part for part in VALIDATION if part in parts]
    if TEST in parts:
        left_out.update(NOT_READ.format(row.part) for row in rows if row.part in validation)
        rows = [row for row in rows if row.part not in validation]
    elif validation:
        rows = [Row(row.line, row.path, row.label, TEST if row.part in validation else row.part) for row in rows]
        notes = (f"split '{validation[0]}' is the test set, since no row is of split '{TEST}'",)
    if TRAIN not in parts:
        raise UserError(f"{file}: {SPLIT}: must be '{TRAIN}' in some rows, but got only {', '.join(sorted(parts))}")
    has_test = TEST in parts or bool(validation)
    check_test_share(test_share, has_test, f"{'rows' if has_test else 'no row'} of {file.name} are of split '{TEST}'")
    names = _sorted_names(file, [row for row in rows if row.part == TRAIN])
    for row in rows:
        if row.part == TEST and row.label not in names:
            rule = f"must be a class of the training rows, but got {short(row.label)}"
            raise UserError(f"{file}, line {row.line}: {LABEL}: {rule}")
    return Table(rows, names, left_out, notes)


def _rows(file: Path) -> Iterator[Row]:
    """The rows of a file; where it has no column `split` all are of the training part."""
    columns: dict[str, int] = {}
    width = 0
    for line, cells in _records(file):
        if not columns:
            columns, width = _columns(file, line, cells), len(cells)
            continue
        if len(cells) != width:
            raise UserError(f"{file}, line {line}: must have {width} cells as the first line, but got {len(cells)}")
        values = {name: cells[place].strip() for name, place in columns.items()}
        for name, value in values.items():
            if not value:
                raise UserError(f"{file}, line {line}: {name}: must not be empty")
        part = values.get(SPLIT, TRAIN).lower()
        if part not in (TRAIN, TEST, *VALIDATION):
            rule = f"must be {TRAIN}, {TEST} or {VALIDATION[0]}, but got {short(values[SPLIT])}"
            raise UserError(f"{file}, line {line}: {SPLIT}: {rule}")
        yield Row(line, values[PATH], values[LABEL], part)


def _records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines that aren't blank, numbered from 1, as cells."""
    if not is_so(Path.is_file, file):
        got = "a folder" if is_so(Path.is_dir, file) else "no such file"
        raise UserError(f"{file}: must be a CSV file of paths and labels, but got {got}")
    line = 0
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            delimiter = _delimiter(text.readline())
            text.seek(0)
            reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
            for cells in reader:
                first, line = line + 1, reader.line_num
                if any(cell.strip() for cell in cells):
                    yield first, cells
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: must be text in UTF-8, but got: {error.reason}") from None
    except csv.Error as error:
        raise UserError(f"{file}, line {line + 1}: must be valid CSV, but got: {error}") from None
    except OSError as error:
        raise UserError(f"{file}: must be a file that can be read, but got {type(error).__name__}") from None


def _delimiter(first_line: str) -> str:
    for delimiter in DELIMITERS:
        names = [name.strip(' "\r\n').lower() for name in first_line.split(delimiter)]
        if PATH in names and LABEL in names:
            return delimiter
    return DELIMITERS[0]


def _columns(file: Path, line: int, cells: list[str]) -> dict[str, int]:
    """Where the columns are that are read."""
    names = [cell.strip().lower() for cell in cells]
    for name in COLUMNS:
        if names.count(name) > 1:
            raise UserError(
                f"{file}, line {line}: must name each column once, but got '{name}' {names.count(name)} times"
            )
    for name in (PATH, LABEL):
        if name not in names:
            like = did_you_mean(name, names).replace("did you mean", "is it")
            raise UserError(
                f"{file}, line {line}: must name a column '{name}', but got {short(', '.join(names))}{like}"
            )
    return {name: names.index(name) for name in COLUMNS if name in names}


def _sorted_names(file: Path, rows: list[Row]) -> tuple[str, ...]:
    """The labels, as numbers if all are; UserError for one class, or a number that is written in two ways."""
    lines = {row.label: row.line for row in reversed(rows)}
    names = list(lines)
    if len(names) < 2:
        raise UserError(f"{file}: {LABEL}: must have at least 2 classes, but got only {short(names[0])}")
    try:
        return in_class_order(names)
    except TwoSpellings as error:
        line = max(lines[error.first], lines[error.second])
        raise UserError(f"{file}, line {line}: {LABEL}: {error}") from None


def _check_files(file: Path, rows: list[Row]) -> None:
    """Raise UserError for a path that is no file, or that leads to the image of an earlier row."""
    met: dict[tuple[int, int], Row] = {}
    for row in rows:
        path = file.parent / row.path
        try:
            found = path.stat()
        except (OSError, ValueError):
            hint = " (parts of a path are separated by /)" if "\\" in row.path else ""
            raise UserError(
                f"{file}, line {row.line}: {PATH}: must be an image file, but got no such file: {path}{hint}"
            ) from None
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{file}, line {row.line}: {PATH}: must be an image file, but got something else: {path}")
        other = met.setdefault((found.st_dev, found.st_ino), row)
        # hard links are files of their own, as they are in a folder
        if other is not row and os.path.realpath(path) == os.path.realpath(file.parent / other.path):
            raise UserError(
                f"{file}, line {row.line}: {PATH}: must be an image that no other row names, but line {other.line} "
                f"names it, too: {path}"
            )


def _from_root(path: str, root: Path) -> str:
    """A path as a listing has it; one elsewhere stays as it is written."""
    relative = os.path.normpath(path)
    if Path(relative).is_absolute():
        inside = os.path.relpath(relative, root)
        return relative if inside.startswith("..") else inside
    return path if relative.startswith("..") or ".." in Path(path).parts else relative
