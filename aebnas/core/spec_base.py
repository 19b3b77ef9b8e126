"""Checking values from YAML, flags or Python against a frozen spec; errors name file, YAML path, rule and value."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from aebnas.core.errors import SpecError, in_file
from aebnas.core.yaml_reader import read_yaml


class Spec(BaseModel):
    """Base of all specs that users write in YAML: frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


SpecType = TypeVar("SpecType", bound=Spec)


def optional_keys(*keys: str) -> Callable[[dict[str, Any]], None]:
    """A change to a spec's JSON schema: `keys` may be absent from YAML, where they are completed before the check."""

    def change(schema: dict[str, Any]) -> None:
        schema["required"] = [key for key in schema["required"] if key not in keys]

    return change


REQUIRED = "this key is required"

RULES = {
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "dict_type": "must be a mapping of keys",
    "tuple_type": "must be a list",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "string_type": "must be text",
    "path_type": "must be a path",
    "invalid_key": "keys must be words",
}
"""Type of a pydantic error -> a rule that is shorter and names no Python type."""


def parse_spec(model: type[SpecType], value: Any, source: Path | str | None, at: str = "") -> SpecType:
    """Check `value` against `model`; the error line begins with `source` (a file, if any) and the YAML path `at` in it.

    Raises SpecError.
    """
    with in_file(source, at):
        if not isinstance(value, dict):
            raise SpecError("", f"must hold a mapping of keys, but got {short(value)}")
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise _first_problem(model, value, error) from None


def read_spec(model: type[SpecType], path: Path) -> SpecType:
    """Read and check one YAML file."""
    return parse_spec(model, read_yaml(path), path)


def updated(spec: SpecType, changes: Mapping[str, Any], source: Path | str | None = None, at: str = "") -> SpecType:
    """`spec` with other values for some of its keys, checked as if the whole were read from a file.

    Replaces pydantic's `model_copy(update=...)`, which checks nothing. A value may be a spec. Raises SpecError with
    the key's path (`at` is that of `spec`), the rule and the value.
    """
    values = spec.model_dump()
    values |= {name: value.model_dump() if isinstance(value, Spec) else value for name, value in changes.items()}
    return parse_spec(type(spec), values, source, at)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` where a known word is similar, else an empty text."""
    close = difflib.get_close_matches(str(word), list(known), n=1) if isinstance(word, str) else []
    return f", did you mean '{close[0]}'?" if close else ""


def short(value: Any) -> str:
    """A value as quoted in an error, truncated to 80 characters."""
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else _plain(value)
    text = text if len(text) <= 80 else text[:77] + "..."
    return repr(text) if isinstance(value, str) else text


def _plain(value: Any) -> str:
    """`repr` of a YAML or JSON value, without visiting more of it than is shown."""
    if isinstance(value, dict):
        shown = [f"{_plain(key)}: {_plain(item)}" for key, item in list(value.items())[:20]]
        return "{" + ", ".join(shown) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(item) for item in value[:20]) + "]"
    return repr(value)


def _first_problem(model: type[Spec], value: Any, error: ValidationError) -> SpecError:
    """The first problem as a SpecError; unknown keys come first, since they often cause the others."""
    problems = sorted(error.errors(include_url=False), key=lambda p: p["type"] != "extra_forbidden")
    paths = [_yaml_path(model, value, problem["loc"]) for problem in problems]
    # of several possible forms the one that fits most of the value is assumed
    deepest = max((path for path in paths if path[: len(paths[0])] == paths[0]), key=len)
    first = problems[paths.index(deepest)]
    parts, kind = list(deepest), first["type"]
    others = len({path for path in paths if path[: len(deepest)] != deepest[: len(path)]})
    more = f" ({others} more)" if others else ""
    if kind == "extra_forbidden":
        key = str(first["loc"][-1])
        return SpecError(_dotted(parts), "unknown key" + did_you_mean(key, _keys_at(model, first["loc"][:-1])))
    if kind == "missing":
        return SpecError(_dotted(parts), REQUIRED)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, SpecError):  # a rule over several keys has a path and value of its own
        return SpecError(_dotted([*parts, *filter(None, [cause.path])]), cause.rule + more)
    rule = RULES.get(kind) or _as_rule(first["msg"])
    got = "" if "but got" in rule else f", but got {short(first['input'])}"
    known = re.findall(r"'([^']+)'", rule) if got else []
    return SpecError(_dotted(parts), rule + got + did_you_mean(first["input"], known) + more)


def _as_rule(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return re.sub(r"^(Input|Value|String|Tuple|List|Dictionary|Decimal|Number) should ", "must ", message)


def _dotted(parts: Iterable[str]) -> str:
    return ".".join(part if len(part) <= 60 else part[:57] + "..." for part in parts)


def _yaml_path(model: type[Spec], value: Any, loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """Pydantic's location without parts that aren't in the file (such as the member of a union).

    A key that is missing from the file is still the last part of the path.
    """
    parts: list[str] = []
    for part in loc:
        is_item = isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
        if is_item or (isinstance(value, dict) and part in value):
            value = value[part]
            parts.append(str(part))
        elif isinstance(value, dict) and part == loc[-1] and part in _keys_at(model, loc[:-1]):
            parts.append(str(part))
    return tuple(parts)


def _keys_at(model: type[BaseModel], loc: Iterable[int | str]) -> set[str]:
    """Names of the keys allowed at a location of a (nested) spec."""
    models = {model}
    for part in loc:
        fields = [m.model_fields[part] for m in models if isinstance(part, str) and part in m.model_fields]
        models = {m for field in fields for m in _models_in(field.annotation)} or models
    return {name for m in models for name in m.model_fields}


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    """All spec classes mentioned in a type annotation (unions, tuples, mappings)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    if get_origin(annotation) in (Union, UnionType, tuple, list, dict, Mapping) or get_args(annotation):
        return {m for part in get_args(annotation) for m in _models_in(part)}
    return set()
