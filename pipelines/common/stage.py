"""How a stage or a command ends in a shell: a user's mistake is one line on stderr, never a traceback."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper

import typer

from pipelines.common.errors import Unavailable, UserError

TRY_AGAIN = 75  # exit status of what may go well in a minute: EX_TEMPFAIL of sysexits.h


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn a `UserError` into one line and exit status 1 (75 where another try may help), Ctrl-C into status 130.

    What standard output has no letters for is printed as escapes: a path of bytes that are no text, say.
    """
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    except Unavailable as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(TRY_AGAIN)
    except UserError as error:
        sys.exit(f"error: {error}")
    except ImportError as error:
        if error.name != "scs_model":  # which refuses a torch that doesn't fit
            raise
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def run(main: Callable[..., None]) -> None:
    """Run a stage's ``main`` with the command line's arguments."""
    with exit_on_user_error():
        typer.run(main)
