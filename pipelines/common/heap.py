"""The heap of this process."""

import ctypes
import sys


def trim() -> None:
    """Return memory that is free, and that the C library keeps for later, to the system; on Linux with glibc.

    What a network takes in a tile is many arrays of some megabytes: of a continent 0.8 GB stay in the process else.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
