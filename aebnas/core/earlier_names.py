"""Fields of files that earlier versions wrote, under the names that they have now."""

from collections.abc import Mapping
from typing import Any


def with_present_names(value: Any, renamed: Mapping[str, str]) -> Any:
    """A JSON value whose keys, at any depth, are the present ones; `renamed` maps earlier names to them."""
    if isinstance(value, Mapping):
        return {renamed.get(key, key): with_present_names(item, renamed) for key, item in value.items()}
    if isinstance(value, list):
        return [with_present_names(item, renamed) for item in value]
    return value
