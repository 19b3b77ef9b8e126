"""Notes: lines for the user that are neither results nor errors."""

import sys


def print_note(text: str) -> None:
    """Print one line on standard error."""
    print(f"note: {text}", file=sys.stderr)
