"""Commands shown in the documentation are there, with the arguments and flags that they are given."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from shown_code import PAGES, ROOT, blocks

from aebnas.cli.main import app
from aebnas.runtime import command as model_command

COMMANDS: Any = typer.main.get_command(app)
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
OTHERS = ("ray", "pytest", "ruff", "mypy", "lint-imports", "mkdocs", "tensorboard", "git")
"""Programs of others, whose flags aren't checked."""


def shown() -> list[tuple[str, str]]:
    """(where, command) of every line in a shell block and of every inline `aebnas` or `python` command."""
    found = []
    for block in blocks("sh"):
        for line in block.code.splitlines():
            for command in line.partition(" #")[0].split("&&"):
                if command.strip() and not command.strip().startswith("#"):
                    found.append((block.at, command.strip()))
    return found


@pytest.mark.parametrize("at, command", shown(), ids=lambda value: re.sub(r"\s+", " ", value))
def test_it_is_there(at, command):
    program, *arguments = shlex.split(command)
    match program:
        case "aebnas":
            name, *rest = arguments
            # parsing checks names, types and what is required, and runs nothing
            COMMANDS.commands[name].make_context(name, rest)
        case "python":
            check_script(*arguments)
        case "pip":
            check_install(arguments)
        case _:
            assert program in OTHERS


def test_inline_commands_are_there_too():
    """In running text arguments may be left out, flags and names may not be wrong."""
    seen = 0
    for page in PAGES:
        for text in re.findall(r"`(aebnas [a-z][^`\n]*|python [\w/]+\.py[^`\n]*)`", page.read_text(encoding="utf-8")):
            program, name, *arguments = shlex.split(text)
            flags = [argument for argument in arguments if argument.startswith("--")]
            if program == "python":
                check_script(name, *flags)
            else:
                known = {flag for one in COMMANDS.commands[name].params for flag in one.opts} | {"--debug"}
                assert set(flags) <= known, f"{page.name}: {text}"
            seen += 1
    assert seen > 20


def check_script(script: str, *arguments: str) -> None:
    """A script is in the repository and names the flags; those of an export's `model.py` are named in our runtime."""
    if script == "-m":
        assert arguments[0] in OTHERS
        return
    name = script.rpartition("/")[2]
    if name == "measure.py":  # of a folder that `aebnas profile --emit` writes
        assert not arguments
        return
    source = Path(model_command.__file__ or "") if name == "model.py" else ROOT / script
    text = source.read_text(encoding="utf-8")
    for flag in (argument for argument in arguments if argument.startswith("--")):
        assert f'"{flag}"' in text, f"{script} takes no {flag}"


def check_install(arguments: list[str]) -> None:
    assert arguments[:2] == ["install", "-e"]
    for extra in re.findall(r"\[(.*)\]", arguments[2]):
        assert f"\n{extra} = [" in PYPROJECT
