"""Pages of the reference, written from the code whenever the site is built (a hook of mkdocs).

`experiment.md` and `space.md` come from the JSON schemas of the specs, `command-line.md` from the typer app,
`python.md` lists the public names for mkdocstrings.
"""

import html
import inspect
import json
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import aebnas
from aebnas import api
from aebnas.cli.main import COMMANDS, app
from aebnas.core.spec_base import Spec
from aebnas.export.model import Model
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.space.spec import SpaceSpec

Schema = dict[str, Any]

SPECS: dict[str, tuple[str, type[Spec], str]] = {
    "experiment": (
        "Experiment",
        ExperimentSpec,
        "Keys of `experiments/*.yaml`. `aebnas schema experiment` prints the same as a JSON Schema.",
    ),
    "space": (
        "Search space",
        SpaceSpec,
        "Keys of `search_spaces/*.yaml`. `aebnas schema space` prints the same as a JSON Schema. "
        "Where a list of choices is expected, one value may stand as well.",
    ),
}
RETURNED: dict[str, tuple[Callable[..., Any], str]] = {
    "What `search_seeds` returns": (api.search_seeds, "[summary]"),
    "What `Picked.policy` is": (api.Picked.policy.fget, "false"),
    "What `Picked.network` returns": (api.Picked.network, "[forward, infer]"),
    "An exported folder's `model.py`": (Model.load, "[load, predict, infer, adapt, check]"),
}
"""Headings of the classes whose objects the API or an export hands out: what returns one, and the members shown."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, content in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def pages() -> dict[str, str]:
    """The Markdown of every generated page by its name."""
    specs = {name: spec_page(*entry) for name, entry in SPECS.items()}
    return specs | {"command-line": command_page(), "python": api_page()}


def spec_page(title: str, model: type[Spec], about: str) -> str:
    """A section for the spec and for each mapping in it, with a table of its keys."""
    schema = model.model_json_schema()
    parts = {"": schema} | schema.get("$defs", {})
    places = _places(schema, parts)
    lines = [f"# {title}", "", about, ""]
    for part, paths in places.items():
        heading = "Top level" if not part else ", ".join(f"`{path}`" for path in paths)
        lines += [f"## {heading} {{ #{_anchor(part, places)} }}", "", parts[part].get("description", ""), ""]
        lines += ["| key | values | default | meaning |", "|---|---|---|---|"]
        required = parts[part].get("required", [])
        for key, value in parts[part].get("properties", {}).items():
            default = "required" if key in required else _default(value)
            cells = (f"`{key}`", _values(value, places), default, _meaning(value, parts))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _places(schema: Schema, parts: dict[str, Schema]) -> dict[str, list[str]]:
    """For each part of a schema the YAML paths at which it stands, breadth first; "" is the spec itself."""
    places: dict[str, list[str]] = {"": [""]}
    queue = [("", schema)]
    while queue:
        path, part = queue.pop(0)
        for key, value in part.get("properties", {}).items():
            for name in dict.fromkeys(_references(value)):
                # an entry of a mapping by names, and one of a list, have a level of their own
                level = ".NAME" if "additionalProperties" in value else ".N" if value.get("type") == "array" else ""
                inside = f"{path}.{key}{level}".lstrip(".")
                if inside not in places.setdefault(name, []):
                    places[name].append(inside)
                    queue.append((inside, parts[name]))
    return places


def _references(value: Any) -> Iterator[str]:
    """Names of the parts that a piece of a schema refers to."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        for key, item in value.items():
            if key != "default":
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _anchor(part: str, places: dict[str, list[str]]) -> str:
    return places[part][0].lower().replace(".", "-") or "top-level"


def _meaning(value: Schema, parts: dict[str, Schema]) -> str:
    """The description; that of the mapping where the key has none of its own."""
    text = value.get("description") or "".join(parts[name]["description"] for name in _references(value))
    return " ".join(text.split("\n\n")[0].split())


def _default(value: Schema) -> str:
    default = value.get("default")
    # of a mapping the table of its keys gives the defaults
    if default is None or isinstance(default, dict) or "default" not in value:
        return "-"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _values(value: Schema, places: dict[str, list[str]]) -> str:
    """What may stand in the YAML, in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[mapping](#{_anchor(name, places)})"
    if "anyOf" in value:
        several = [_values(one, places) for one in value["anyOf"] if one.get("type") != "null"]
        # one value, or a list of such values
        if len(several) == 2 and several[1] == f"list: {several[0]}":
            return f"{several[0]}; or a list"
        return "; or ".join(several)
    if "enum" in value or "const" in value:
        return ", ".join(f"`{json.dumps(one).strip(chr(34))}`" for one in value.get("enum", [value.get("const")]))
    match value.get("type"):
        case "array" if "prefixItems" in value:
            return f"list of {len(value['prefixItems'])}: {_values(value['prefixItems'][0], places)}"
        case "array":
            return f"list: {_values(value['items'], places)}"
        case "object":
            return f"mapping of names to {_values(value['additionalProperties'], places)}"
        case "boolean":
            return "`true`, `false`"
        case "string":
            return "path" if value.get("format") == "path" else "text"
        case "integer" | "number" as kind:
            return ("whole number" if kind == "integer" else "number") + _range(value)
    raise ValueError(f"a schema's values must be of a known kind, but got {value}")


def _range(value: Schema) -> str:
    limits = []
    if "minimum" in value:
        limits.append(f"at least {value['minimum']:,}")
    if "exclusiveMinimum" in value:
        limits.append(f"above {value['exclusiveMinimum']:,}")
    if "maximum" in value:
        limits.append(f"at most {value['maximum']:,}")
    if "exclusiveMaximum" in value and value["exclusiveMaximum"] < 2**62:
        limits.append(f"below {value['exclusiveMaximum']:,}")
    return f", {', '.join(limits)}" if limits else ""


def command_page() -> str:
    """A section for each command, with its arguments and options."""
    lines = ["# Command line", "", "| command | what it does |", "|---|---|"]
    lines += [f"| [`aebnas {name}`](#{name}) | {_about(function)[0]} |" for name, function in COMMANDS.items()]
    lines += ["", "`--debug`, with any command, shows the traceback of an error. Errors that the user can correct are"]
    lines += ["one line on standard error and exit code 2.", ""]
    group: Any = typer.main.get_command(app)
    for name, function in COMMANDS.items():
        command = group.commands[name]
        hints = typing.get_type_hints(function)
        arguments = [p for p in command.params if not p.opts[0].startswith("-")]
        options = [p for p in command.params if p.opts[0].startswith("-")]
        shown = [p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments]
        usage = " ".join(["aebnas", name, *shown])
        lines += [f"## aebnas {name} {{ #{name} }}", "", *_about(function), "", "```sh"]
        lines += [usage + (" [OPTIONS]" if options else ""), "```", "", "| argument or option | default | meaning |"]
        lines += ["|---|---|---|"]
        for parameter in [*arguments, *options]:
            default = "required" if parameter.required else _command_default(parameter.default)
            label = _label(parameter, hints.get(parameter.name))
            meaning = html.escape(parameter.help or "", quote=False).replace("|", "\\|")
            lines.append(f"| {label} | {default} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def _about(function: Callable[..., None]) -> list[str]:
    """The paragraphs of a command's docstring, each on one line."""
    return [" ".join(text.split()) for text in (inspect.getdoc(function) or "").split("\n\n")]


def _label(parameter: Any, hint: Any) -> str:
    if not parameter.opts[0].startswith("-"):
        return f"`{parameter.name.upper()}`"
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    kinds = {Path: "PATH", int: "N", float: "NUMBER", str: "TEXT"}
    kind = next((kinds[one] for one in _plain_types(hint) if one in kinds), "")
    return f"{names} {kind}".strip()


def _plain_types(hint: Any) -> Iterator[Any]:
    yield hint
    for inside in typing.get_args(hint):
        yield from _plain_types(inside)


def _command_default(value: Any) -> str:
    return "-" if value in (None, False, (), []) else f"`{value}`"


def api_page() -> str:
    """The public names, and the classes whose objects they return, as directives of mkdocstrings."""
    lines = ["# Python", "", "What the commands do, as a small API over pandas data frames: `import aebnas`.", ""]
    module: dict[str, str] = {"open": "aebnas.api.open_run", "UserError": "aebnas.core.errors.UserError"}
    for name in sorted(aebnas.__all__, key=lambda name: (name[0].isupper(), name)):
        lines += [f"::: {module.get(name, f'aebnas.api.{name}')}", "    options:", f"      heading: aebnas.{name}"]
        lines += [f"      toc_label: aebnas.{name}", ""]
    for title, (function, members) in RETURNED.items():
        made = typing.get_type_hints(function)["return"]
        path = f"{made.__module__}.{made.__qualname__}"
        lines += [
            f"## {title}",
            "",
            f"::: {path}",
            "    options:",
            "      heading_level: 3",
            f"      members: {members}",
            "",
        ]
    return "\n".join(lines)
