"""How a stage or command ends: a user's mistake is one line on stderr and exit status 1, never a traceback."""

import sys
from collections.abc import Callable

from pipelines.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Call ``main`` and turn a `UserError` into one line and exit status 1, Ctrl-C into 130."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
