"""Tests wait for what happens; a deadline is there for what never does."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def eventually(ask: Callable[[], Answer], *, pause_s: float = 0.3, deadline_s: float = 180.0) -> Answer:
    """Ask until the answer is a true one; return it, or the last one if it never comes."""
    deadline = time.monotonic() + deadline_s
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(pause_s)
    return answer
