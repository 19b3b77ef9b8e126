"""Reads files of earlier versions: fields that have been renamed since get their present names."""

from collections.abc import Mapping
from typing import Any


def first_names(renamed: Mapping[str, str]) -> dict[str, str]:
    """The inverse of `renamed`: present names to earlier ones, the first in `renamed` where there are several."""
    return {now: before for before, now in reversed(list(renamed.items()))}


def with_present_names(value: Any, renamed: Mapping[str, str]) -> Any:
    """A JSON value with its keys, at any depth, renamed; `renamed` maps earlier names to present ones."""
    if isinstance(value, Mapping):
        return {renamed.get(key, key): with_present_names(item, renamed) for key, item in value.items()}
    if isinstance(value, list):
        return [with_present_names(item, renamed) for item in value]
    return value
