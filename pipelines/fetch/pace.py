"""Politeness: how often a provider is asked, and how long it is left alone after it has asked for that."""

import random
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pipelines.fetch.remote import Passing

LONGEST_WAIT_S = 900.0  # whoever says later is believed, but not waited for


class Pace:
    """At most ``rate`` requests a second, of all threads together; none any more once ``stop`` is set."""

    def __init__(self, rate: float) -> None:
        self.stop = threading.Event()
        self._interval, self._next, self._lock = 1 / rate, 0.0, threading.Lock()

    def wait(self) -> None:
        """Return when the next request may be sent; raises `Passing` where none is to be."""
        with self._lock:
            turn = max(time.monotonic(), self._next)
            self._next = turn + self._interval
        if self.stop.wait(max(0.0, turn - time.monotonic())):
            raise Passing("stopped")

    def rest(self, seconds: float) -> None:
        """Let nobody send a request for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def backoff(tries: int, retry_after: float | None) -> float:
    """Return seconds to wait after so many tries: what the provider said, else 1, 2, 4, … with a random half."""
    return retry_after if retry_after is not None else 2.0 ** (tries - 1) * random.uniform(0.5, 1.0)


def parse_retry_after(header: str | None) -> float | None:
    """Return the seconds of a header Retry-After, a number or a date; None where it says nothing that can be read."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if seconds == seconds else None
