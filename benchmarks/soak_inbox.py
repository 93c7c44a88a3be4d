"""What comes into the inboxes of a soak hour by hour: frames of rain that moves, and faults drawn from a seed."""

import os
import shutil
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from archive import moving_cells  # noqa: E402 - the tests' rain
from inbox_file import write_file  # noqa: E402

from pipelines.radar.frame import Frame  # noqa: E402

# 17 days before the clocks of Europe go back.
START = np.datetime64("2024-10-10T00:00:00", "s")
STEP, HOUR = np.timedelta64(1800, "s"), np.timedelta64(3600, "s")
OF_HOUR = int(HOUR / STEP)
MOVES = 4, 2  # columns and rows a frame
# Of each hour and domain; what those of files are is said by `Inboxes.fill`.
FAULTS = {
    "late frame": 0.03,
    "duplicate": 0.03,
    "truncated file": 0.03,
    "wrong grid": 0.03,
    "gap": 0.03,
    "no domain": 0.02,
    "MLflow away": 0.02,
    "clock ahead": 0.01,
    "clock behind": 0.01,
}


def fault_of(seed: int, hour: int, domain: int) -> str | None:
    """Draw the fault of an hour and domain, the same for the same seed whatever ran before; None of most."""
    if hour == 1:  # its frames say what a store is to hold
        return None
    draw = np.random.default_rng([seed, hour, domain]).random()
    names = list(FAULTS)
    number = int(np.searchsorted(np.cumsum([FAULTS[name] for name in names]), draw, side="right"))
    return names[number] if number < len(names) else None


@cache
def _sky(size: int) -> Frame:
    (frame,) = moving_cells(str(START), 1, shape=(size, size))
    return frame


def rain(size: int, number: int) -> NDArray[np.float32]:
    """Rain of frame ``number``, mm/h: one sky that moves over a plane without an end; one corner isn't seen."""
    moved = np.roll(np.nan_to_num(_sky(size).rain_rate), (number * MOVES[1], number * MOVES[0]), (0, 1))
    moved[:4, :4] = np.nan
    return moved


def time_of(number: int) -> np.datetime64:
    """Return the time of frame ``number``, UTC."""
    return START + number * STEP


def _cut(path: Path, age_s: float) -> None:
    content, changed = path.read_bytes(), time.time() - age_s
    path.write_bytes(content[: len(content) // 2])
    os.utime(path, (changed, changed))


@dataclass
class Inboxes:
    """Inboxes of some domains, and what was sent into them.

    Attributes
    ----------
    whole : dict of str to set of int
        For each domain the numbers of the frames that were sent whole, and are to be stored.
    """

    folder: Path
    size: int
    whole: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    _waiting: dict[str, list[int]] = field(default_factory=dict)

    def fill(self, domain: str, hour: int, fault: str | None) -> None:
        """Send the frames of an hour that ends at ``hour``, with a fault; what is late of the hour before comes too."""
        numbers = list(range(OF_HOUR * (hour - 1) + 1, OF_HOUR * hour + 1))
        waiting = self._waiting.pop(domain, [])
        if fault == "no domain":
            return
        if fault == "gap":
            del numbers[0]  # it never comes
        if fault in ("late frame", "truncated file"):
            late = numbers.pop(hour % 2)
            self._waiting[domain] = [late]
            if fault == "truncated file":
                _cut(self._send(domain, late), age_s=60 if hour % 4 < 2 else 900)  # looked at again, or given up
        if fault == "wrong grid":
            self._write(domain, numbers.pop(0), self.size // 2)
        if fault == "clock behind":  # by it they are from the future
            for number in numbers:
                self._send(domain, number)
            numbers = []
        for number in (*numbers, *waiting):
            path = self._send(domain, number)
            self.whole[domain].add(number)
        if fault == "duplicate":
            shutil.copy2(path, path.with_stem(f"{path.stem}_again"))

    def _send(self, domain: str, number: int) -> Path:
        return self._write(domain, number, self.size)

    def _write(self, domain: str, number: int, size: int) -> Path:
        sky = _sky(size)
        digest = f"{number:064x}"  # of no file: it isn't written
        frame = Frame(time_of(number), sky.grid, "instant", 0, (200.0, 1.6), "", digest, rain(size, number))
        return write_file(self.folder / domain, frame)
