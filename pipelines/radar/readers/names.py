"""Times in the names of radar files: a file whose name says another time than its content is refused."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import numpy as np

from pipelines.radar.readers.header import Header, utc

# A time in a file's name, UTC.
NAMED_TIME = re.compile(r"(?<!\d)((?:19|20)\d{6})[T_-]?(\d{4})(\d\d)?(?!\d)")
SWISS_TIME = re.compile(r"^[A-Z]{3}(\d{9})[A-Z]")
GERMAN_TIME = re.compile(r"-(\d{10})-dwd-")
SECOND, MINUTE = np.timedelta64(0, "s"), np.timedelta64(59, "s")


def check_name(name: str, headers: Sequence[Header]) -> None:
    """Refuse a file whose name has times, none of which is a time of it: one of the two is wrong.

    A file of several frames may be named by the first or any other of them, or by a range that has them all.

    Raises
    ------
    ValueError
        With what the name says, and the content.
    """
    named = times_in(name)
    moments = [moment for header in headers for moment in header.moments]
    if not named or any(abs(moment - time) <= tolerance for time, tolerance in named for moment in moments):
        return
    first, last = min(time for time, _ in named), max(time + tolerance for time, tolerance in named)
    if len(headers) > 1 and len(named) > 1 and all(first <= header.time <= last for header in headers):
        return
    raise ValueError(f"its name says {named[0][0]}, and its content {headers[0].time}")


def day_of_year(digits: str) -> np.datetime64:
    """Return the time of ``yydddhhmm``, where ddd is the day of the year; a ValueError if it is none."""
    with suppress(ValueError):
        time = datetime.strptime(digits, "%y%j%H%M")
        if time.strftime("%y%j%H%M") == digits:
            return np.datetime64(time, "s")
    raise ValueError(f"{digits!r} is no time")


def times_in(name: str) -> list[tuple[np.datetime64, np.timedelta64]]:
    """Return the times in a name, each with how much later it may be than it says."""
    found: list[tuple[np.datetime64, np.timedelta64]] = []
    for match in NAMED_TIME.finditer(name):
        with suppress(ValueError):  # digits that are no time
            found.append((utc(match[1] + match[2] + (match[3] or "")), SECOND if match[3] else MINUTE))
    for match in SWISS_TIME.finditer(name):
        with suppress(ValueError):
            found.append((day_of_year(match[1]), MINUTE))
    for match in GERMAN_TIME.finditer(name):
        with suppress(ValueError):
            found.append((utc(f"20{match[1]}"), MINUTE))
    return found
