"""Functions that workers of a cluster find by their module's name."""

import os
import signal
from pathlib import Path


def kill_once(flag: Path, value: int) -> int:
    """Kill the worker the first time of all, and return the value the next."""
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def kill_always() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def call(function, value: int) -> int:
    return function(value)
