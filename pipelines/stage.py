"""How a stage or a command ends in a shell: a user's mistake is one line on stderr, never a traceback."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from pipelines.errors import UserError


@contextmanager
def ends_in_words() -> Iterator[None]:
    """Turn a `UserError` into one line and exit status 1, Ctrl-C into status 130."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def run(main: Callable[..., None]) -> None:
    """Run a stage's ``main`` with the command line's arguments."""
    with ends_in_words():
        typer.run(main)
