"""What a drive's own files say of each frame, whatever the layout, and which rows are of use."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Unit = Literal["degrees", "share of full lock"]
LARGEST: dict[Unit, float] = {"degrees": 200.0, "share of full lock": 1.0}
Picture = int | str  # number in an array of pictures, or a file's name


@dataclass
class Session:
    """A drive without a break that is meant: a row a frame, oldest first.

    Parameters
    ----------
    name : str
        Its place below the source folder.
    unit : {"degrees", "share of full lock"}
        Of the angle.
    time : ndarray of shape (N,)
        Seconds, in the layout's own count.
    angle, speed : ndarray of shape (N,)
        The wheel's, and in m/s; NaN where there is none.
    pictures : list
        Where each row's frame is.
    hidden : ndarray of shape (N,), bool
        Whether the road is hidden, where somebody says so.
    numbers : list of int
        The rows' own numbers, to name one.
    split : str or None
        train, validation or test, where the layout says.
    """

    name: str
    unit: Unit
    time: NDArray[np.float64]
    angle: NDArray[np.float64]
    speed: NDArray[np.float64]
    pictures: Sequence[Picture]
    hidden: NDArray[np.bool_]
    numbers: Sequence[int]
    split: str | None = None

    def __len__(self) -> int:
        return len(self.time)

    def take(self, kept: NDArray[Any]) -> "Session":
        """Return the session of some of its rows, by a mask or their places."""
        places = np.arange(len(self))[kept].tolist()
        return replace(
            self,
            **{name: getattr(self, name)[places] for name in ("time", "angle", "speed", "hidden")},
            pictures=[self.pictures[i] for i in places],
            numbers=[self.numbers[i] for i in places],
        )


@dataclass
class Read:
    """What was read of one path: sessions, and why rows or all of it can't be used, by name."""

    sessions: list[Session] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)

    def reject(self, name: str, numbers: Iterable[int], reason: str) -> None:
        """Note rows, as few runs as there are."""
        for first, last in runs(sorted(numbers)):
            self.rejected[f"{name}#{first}" + (f"-{last}" if last > first else "")] = reason


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return first and last of each run of whole numbers in ascending order."""
    grouped = groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    return [(members[0][1], members[-1][1]) for _, group in grouped if (members := list(group))]


def in_order(times: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the places of a longest sequence of times that ascends: one wrong time costs one row, not the rest."""
    tails: list[float] = []
    ends: list[int] = []
    before = np.full(len(times), -1)
    for i, time in enumerate(times):
        length = bisect_left(tails, time)
        before[i] = ends[length - 1] if length else -1
        tails[length : length + 1], ends[length : length + 1] = [time], [i]
    places = [ends[-1]] if ends else []
    while places and before[places[-1]] >= 0:
        places.append(int(before[places[-1]]))
    return np.array(places[::-1], np.intp)


def usable(session: Session, read: Read) -> None:
    """Add a session's rows that can be used to ``read``, and why the others can't, or none can."""
    name = session.name
    if not len(session):
        read.rejected.setdefault(name, "no frame with an angle")
        return
    largest = LARGEST[session.unit]
    finite = np.isfinite(session.angle) & np.isfinite(session.time)
    within = np.abs(session.angle) <= largest
    beyond = f"an angle beyond {largest:g} {session.unit}"
    for mask, reason in ((~finite, "no number for its angle or time"), (finite & ~within, beyond)):
        read.reject(name, [session.numbers[i] for i in np.flatnonzero(mask).tolist()], reason)
    session = session.take(finite & within)
    ordered = in_order(session.time)
    out = np.setdiff1d(np.arange(len(session)), ordered)
    read.reject(
        name, [session.numbers[i] for i in out.tolist()], "out of order: its time doesn't come after the one before"
    )
    session = session.take(ordered)
    if not len(session):
        read.rejected[name] = "no row that can be used"
    elif np.ptp(session.angle) == 0:
        read.rejected[name] = f"the angle is {session.angle[0]:g} all along: nothing to learn from"
    else:
        read.sessions.append(session)
