"""What the system says of this machine's processes, on Linux and on macOS."""

import os


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS lets all be used


def is_running(number: int) -> bool:
    """Return whether there is a process of this number, this user's or another's."""
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
