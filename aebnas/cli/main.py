"""The command line. Slow imports are inside the commands, so that help and spec errors are printed at once."""

import io
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, cast

import typer

from aebnas.cli.devices import profile
from aebnas.cli.policies import calibrate, sweep
from aebnas.cli.runs import compare, list_runs, show
from aebnas.cli.searches import resume, search
from aebnas.cli.selected import evaluate, export, measure, retrain
from aebnas.cli.spaces import schema, space
from aebnas.cli.starting import init
from aebnas.cli.stop_signals import INTERRUPTED, handle_stop_signals, stop_code
from aebnas.core.errors import UserError

UsageError = cast(type[typer.BadParameter], typer.BadParameter.__base__)
"""An unknown command, a missing argument, a flag's value of the wrong type; typer exports only a subclass of it."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Search for accurate and cheap early-exit networks, inspect the front, export one of them.",
)
COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "search": search,
    "resume": resume,
    "show": show,
    "list": list_runs,
    "compare": compare,
    "retrain": retrain,
    "sweep": sweep,
    "calibrate": calibrate,
    "evaluate": evaluate,
    "export": export,
    "measure": measure,
    "profile": profile,
    "space": space,
    "schema": schema,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


@app.callback()
def options(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False) -> None:
    """Options of all commands; `main` accepts --debug in any position."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: user errors are one line and exit code 2; SIGTERM ends it cleanly, as Ctrl-C does.

    `arguments` default to those of the process.
    """
    handle_stop_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be any bytes
    if arguments is None:
        arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = app(arguments, standalone_mode=not arguments)  # without arguments it prints its help
    except (UserError, OSError) as error:  # the user can correct a full disk, too
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except UsageError as error:
        if debug:
            raise
        # printable, on one line and without typer's box, as all other errors
        message = " ".join(error.format_message().split()).replace("Input should ", "must ")
        print(f"error: {UserError(message)}", file=sys.stderr)
        sys.exit(2)
    if code == INTERRUPTED:  # typer's exit code after Ctrl-C
        print("stopped; run the same command again to resume", file=sys.stderr)
        sys.exit(stop_code())
    if code:
        sys.exit(code)
