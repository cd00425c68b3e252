"""
The command line: when an expression fires, what it means, and a demonstration.

Typer and Rich come with the extra `cli`; without them there is one line that says how to get them.
"""

import sys


def main() -> None:
    """Run the command that the arguments name."""
    try:
        from ._app import app  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        sys.exit(f"chrono-async: {error.name} is missing: pip install 'chrono-async[cli]'")
    app()
