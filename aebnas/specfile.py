"""Reading a YAML file into a checked, frozen spec, with errors that name file, YAML path, rule and value."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from aebnas.errors import UserError


class Spec(BaseModel):
    """Base of everything a user writes in YAML: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


SpecType = TypeVar("SpecType", bound=Spec)


def read_yaml(path: Path) -> Any:
    """Parse one YAML document with the safe loader; raises UserError with line and column."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{path}{place}: not valid YAML: {problem}") from None
    except ValueError as error:  # PyYAML lets these out for dates such as 2001-13-01
        raise UserError(f"{path}: not valid YAML: {error}") from None


def parse_spec(model: type[SpecType], value: Any, source: str) -> SpecType:
    """Check `value` against `model`; `source` (a file name, say) opens the error line."""
    if not isinstance(value, dict):
        raise UserError(f"{source}: must hold a mapping of keys, but got {_short(value)}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{source}: {_first_problem(model, value, error)}") from None


def read_spec(model: type[SpecType], path: Path) -> SpecType:
    """Read and check one YAML file."""
    return parse_spec(model, read_yaml(path), str(path))


def _first_problem(model: type[Spec], value: Any, error: ValidationError) -> str:
    """One line for the first problem; unknown keys first, since they often cause the others."""
    problems = sorted(error.errors(include_url=False), key=lambda p: p["type"] != "extra_forbidden")
    first = problems[0]
    path = _yaml_path(model, value, first["loc"])
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        close = difflib.get_close_matches(key, list(_keys_at(model, first["loc"][:-1])), n=1)
        return f"{path}: unknown key" + (f", did you mean '{close[0]}'?" if close else "")
    if first["type"] == "missing":
        return f"{path}: this key is required"
    rule = first["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    if not path:  # a rule over the whole file names its own place and value
        return rule + more
    got = "" if "but got" in rule else f", but got {_short(first['input'])}"
    return f"{path}: {rule}{got}{more}"


def _yaml_path(model: type[Spec], value: Any, loc: tuple[int | str, ...]) -> str:
    """Pydantic's location without what isn't in the file (the member of a union it tried, say).

    A key that is missing from the file still ends the path.
    """
    parts = []
    for part in loc:
        is_item = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if is_item or (isinstance(value, dict) and part in value):
            value = value[part]
            parts.append(str(part))
        elif isinstance(value, dict) and part == loc[-1] and part in _keys_at(model, loc[:-1]):
            parts.append(str(part))
    return ".".join(parts)


def _keys_at(model: type[BaseModel], loc: Iterable[int | str]) -> set[str]:
    """Names of the keys allowed at a place of a (nested) spec."""
    models = {model}
    for part in loc:
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        models = {m for field in fields for m in _models_in(field.annotation)} or models
    return {name for m in models for name in m.model_fields}


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    """All spec classes mentioned in a type annotation (unions, tuples, mappings)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    if get_origin(annotation) in (Union, UnionType, tuple, list, dict) or get_args(annotation):
        return {m for part in get_args(annotation) for m in _models_in(part)}
    return set()


def _short(value: Any) -> str:
    text = repr(value).replace("\n", " ")
    return text if len(text) <= 80 else text[:77] + "..."
