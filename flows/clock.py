"""The clock of a flow: the wall's, or the one that a replay gives."""

from datetime import UTC, datetime

import numpy as np


def utc(now: datetime | None) -> np.datetime64:
    """Return a time as UTC to the second: UTC unless it says otherwise, and the wall clock's where there is none."""
    clock = now or datetime.now(UTC)
    return np.datetime64(clock.astimezone(UTC).replace(tzinfo=None) if clock.tzinfo else clock, "s")
