"""Reading a YAML file safely: nothing in it is executed, and its size is limited after aliases are expanded.

YAML 1.2 as read by ruamel.yaml's safe loader (`010` is 10, `yes` and `1:30` are text), except that dates are text, and
that duplicate keys, whole numbers of more than 18 digits, deep nesting and aliases that expand to too many values are
errors.
"""

import warnings
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError, YAMLWarning
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from aebnas.core.errors import SpecError

MAX_BYTES = 262_144
MAX_DEPTH = 50
"""Maximum nesting of lists and mappings; specs have about seven levels."""
MAX_VALUES = 20_000
"""Specs have a few hundred; an alias counts as all the values that it expands to, at each use."""
MAX_DIGITS = 18
"""Of a whole number, so that it fits 64 bits."""


class _Constructor(SafeConstructor):
    """The safe constructor, for which a date is text: no field of a spec is one, but names may look like one."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def read_yaml(path: Path) -> Any:
    """Parse one YAML document; raises SpecError with the file, and line and column where they are known."""
    text = _read_text(path)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor, yaml.max_depth = _Constructor, MAX_DEPTH
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", YAMLWarning)  # about things that YAML 1.2 allows, such as reused anchors
            root = yaml.compose(text)
            if root is None:
                return None
            _Check(path).node(root)
            return yaml.constructor.construct_document(root)
    except MaxDepthExceededError as error:
        rule = f"must be nested at most {MAX_DEPTH} deep, but got more"
        raise SpecError("", rule, _at(path, error.problem_mark)) from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpecError("", f"must be valid YAML, but got: {problem}", _at(path, mark)) from None
    except SpecError:
        raise
    except (ValueError, LookupError, AssertionError) as error:
        # raised by ruamel.yaml for `0b_`, `!!bool maybe` and `%YAML 1.3`, among others
        raise SpecError("", f"must be valid YAML, but got: {error}", path) from None


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise SpecError("", "must be a YAML file, but got a folder", path)
        if not path.exists():
            raise SpecError("", "no such file", path)
        if not path.is_file():
            raise SpecError("", "must be a YAML file, but got something else", path)
        if (size := path.stat().st_size) > MAX_BYTES:
            raise SpecError("", f"must be a YAML file of at most {MAX_BYTES:,} bytes, but got {size:,}", path)
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise SpecError("", f"must be UTF-8 text, but got byte 0x{byte:02x} at position {error.start}", path) from None
    except OSError as error:
        raise SpecError("", f"cannot be read: {error.strerror}", path) from None


class _Check:
    """Rules that a document must satisfy before values are constructed from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[int, int] = {}
        """Number of values that a node expands to, by identity; -1 while it is being counted."""

    def node(self, node: Node, place: str = "") -> int:
        """Number of values that a node expands to; raises SpecError where a rule is violated."""
        known = self.sizes.get(id(node))
        if known == -1:
            raise self._error(node, place, "an alias must not refer to a value that contains it")
        if known is None:
            self.sizes[id(node)] = -1
            known = 1
            for key, child in self._children(node, place):
                known += self.node(child, f"{place}.{key}" if place else key)
            self.sizes[id(node)] = known
        if known > MAX_VALUES:
            raise self._error(node, place, f"must hold at most {MAX_VALUES:,} values, with aliases expanded")
        return known

    def _children(self, node: Node, place: str) -> list[tuple[str, Node]]:
        if isinstance(node, SequenceNode):
            return [(str(number), child) for number, child in enumerate(node.value)]
        if isinstance(node, MappingNode):
            seen: set[tuple[str | None, str]] = set()
            for key, _ in node.value:
                if not isinstance(key, ScalarNode):
                    raise self._error(key, place, "a key must be a word, but got a list or a mapping")
                self._scalar(key, place)
                if (key.tag, key.value) in seen:
                    raise self._error(key, place, f"keys must be distinct, but got '{_start(key.value)}' twice")
                seen.add((key.tag, key.value))
            return [(_start(key.value), child) for key, child in node.value]
        self._scalar(node, place)
        return []

    def _scalar(self, node: Node, place: str) -> None:
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
            rule = f"must be a whole number of at most {MAX_DIGITS} digits, but got {_start(node.value)}"
            raise self._error(node, place, rule)
        if any(0xD800 <= ord(c) < 0xE000 for c in node.value):
            raise self._error(node, place, f"must be text, but got half a character in {_start(node.value)!a}")

    def _error(self, node: Node, place: str, rule: str) -> SpecError:
        return SpecError(place, rule, _at(self.path, node.start_mark))


def _at(path: Path, mark: Any) -> str:
    return f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)


def _start(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
