"""The trials of `trials.jsonl` as a sequence that reads each trial when it is asked for."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, overload

from aebnas.core.errors import UserError
from aebnas.strategies.trial import Trial

_NUMBER = re.compile(rb'\{"number": (\d+),')

_NOT_A_TRIAL = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class _Place(NamedTuple):
    """Where a trial is: its number, its line (from 1), and the line's first byte and length."""

    number: int
    line: int
    start: int
    length: int


class RecordedTrials(Sequence[Trial]):
    """The trials on disk when this was made, sorted by number; a partial last line is ignored.

    Only their places in the file are kept, so that memory is small however many there are. A reader that needs a trial
    twice should keep it. Raises UserError, with the line number, for a line that can't be read: here if it has no
    number, else where the trial is asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places = sorted(self._find())  # by number, then by line
        self._by_number = {place.number: index for index, place in enumerate(self._places)}

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trial]: ...
    def __getitem__(self, index: int | slice) -> Trial | list[Trial]:
        if isinstance(index, slice):
            return list(self._read(self._places[index]))
        (trial,) = self._read([self._places[index]])
        return trial

    def __iter__(self) -> Iterator[Trial]:
        return self._read(self._places)

    def has(self, number: int) -> bool:
        """Whether there is a trial of this number."""
        return number in self._by_number

    def numbered(self, number: int) -> Trial:
        """The trial of a number, the last one if there are several; raises KeyError if there is none."""
        return self[self._by_number[number]]

    def since(self, number: int) -> Iterator[Trial]:
        """The trials whose number is at least this."""
        return self._read([place for place in self._places if place.number >= number])

    def _read(self, places: Sequence[_Place]) -> Iterator[Trial]:
        if not places:
            return
        with self.path.open("rb") as file:
            for place in places:
                file.seek(place.start)
                line = file.read(place.length)
                try:
                    yield Trial.from_json(_loaded(line))
                except _NOT_A_TRIAL as error:
                    raise self._not_a_trial(place.line, error) from None

    def _find(self) -> Iterator[_Place]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for number, (start, line) in enumerate(_complete_lines(file), start=1):
                match = _NUMBER.match(line)
                try:  # versions of other programs may write the keys in another order
                    found = int(match[1]) if match else int(_loaded(line)["number"])
                except _NOT_A_TRIAL as error:
                    raise self._not_a_trial(number, error) from None
                yield _Place(found, number, start, len(line))

    def _not_a_trial(self, line: int, error: Exception) -> UserError:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return UserError(f"{self.path}, line {line}: is not a trial: {why}")


def _complete_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    start = 0
    for line in file:
        if line.endswith(b"\n"):
            yield start, line
        start += len(line)


def _loaded(line: bytes) -> Any:
    return json.loads(line.decode("utf-8", errors="replace"))
