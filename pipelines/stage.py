"""How a stage is run from a shell: its paths as arguments, a user's mistake as one line and exit status 1."""

import sys
from collections.abc import Callable

import typer

from pipelines.errors import UserError


def run(main: Callable[..., None]) -> None:
    """Run ``main`` with the command line's arguments; a `UserError` is one line on stderr, Ctrl-C status 130."""
    try:
        typer.run(main)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
