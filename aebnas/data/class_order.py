"""The order of classes that text names: as text, or as numbers where all are numbers."""

import re
from collections.abc import Collection

NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


class TwoSpellings(ValueError):
    """Raised for two class names that are the same number; `first` and `second` as they are written."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"must be written in one way, but got '{first}' and '{second}'")
        self.first, self.second = first, second


def in_class_order(names: Collection[str]) -> tuple[str, ...]:
    """Distinct names, sorted; raises TwoSpellings for numbers such as `1` and `01`."""
    if not all(NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(set(names)))
    written: dict[float, str] = {}
    for name in sorted(names):
        if (other := written.setdefault(float(name), name)) != name:
            raise TwoSpellings(other, name)
    return tuple(name for _, name in sorted(written.items()))
