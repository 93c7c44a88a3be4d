"""Names of files and folders as text."""

import os
from pathlib import Path


def as_text(name: str | Path) -> str:
    """Return a name of a file system, any bytes, as text that can be stored and printed."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
