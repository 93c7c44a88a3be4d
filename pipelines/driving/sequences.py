"""Which frames belong together: sampled in time, in sequences without a gap, and in splits that part no session."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.common.splits import draw_splits

SPLITS = ("train", "validation", "test", "unused")
TOLERANCE_S = 1e-3
FEWEST = 3  # sessions, to be split by
COPIED = 0.2  # share of a session's frames: of a copy with rows deleted, other frames may be the nearest in time


def check_rate(time: NDArray[np.float64], rate: float) -> None:
    """Refuse times of fewer frames a second than that; raises ValueError."""
    step = float(np.median(np.diff(time)))
    if step > 1.1 / rate:
        raise ValueError(f"it has {1 / step:.3g} frames a second, and rate is {rate:g}")


def sample(time: NDArray[np.float64], rate: float | None, max_gap_s: float) -> NDArray[np.intp]:
    """Return the places of the frames that are nearest to ``rate`` times a second; all where there is no rate.

    After a gap the count begins anew. No frame stands for two times.

    Raises
    ------
    ValueError
        If there are fewer frames a second than that.
    """
    if rate is None or len(time) < 2:
        return np.arange(len(time))
    check_rate(time, rate)
    picked = []
    for part in np.split(np.arange(len(time)), np.flatnonzero(np.diff(time) > max_gap_s + TOLERANCE_S) + 1):
        of_part = time[part]
        wanted = of_part[0] + np.arange(int((of_part[-1] - of_part[0] + TOLERANCE_S) * rate) + 1) / rate
        picked.append(np.unique(part[np.searchsorted((of_part[1:] + of_part[:-1]) / 2, wanted)]))
    return np.concatenate(picked)


def find_copies(contents: Sequence[set[int]]) -> dict[int, tuple[int, int]]:
    """Find sessions that have frames of another in them, whole or in part: they would be on both sides of a split.

    Parameters
    ----------
    contents : sequence of set of int
        The checksums of each session's frames.

    Returns
    -------
    dict
        From the number of a session to that of another, which has no fewer frames, and how many of them they share.
    """
    copies: dict[int, tuple[int, int]] = {}
    first_of: dict[int, int] = {}
    for number in sorted(range(len(contents)), key=lambda number: -len(contents[number])):
        shared = Counter(first_of[frame] for frame in contents[number] if frame in first_of).most_common(1)
        if shared and shared[0][1] >= COPIED * len(contents[number]):
            copies[number] = shared[0]
        else:
            first_of |= dict.fromkeys(contents[number], number)
    return copies


def number_sequences(
    session: NDArray[np.integer], split: NDArray[np.integer], time: NDArray[np.float64], max_gap_s: float
) -> NDArray[np.int32]:
    """Count the runs of frames of one session and split without a gap: each frame's, all of shape (N,)."""
    apart = (np.diff(session) != 0) | (np.diff(split) != 0) | (np.diff(time) > max_gap_s + TOLERANCE_S)
    return np.concatenate([[0], np.cumsum(apart)]).astype(np.int32)


def split_frames(
    session: NDArray[np.integer],
    time: NDArray[np.float64],
    official: list[str | None],
    *,
    stretch_minutes: float,
    margin_s: float,
    validation_share: float,
    test_share: float,
    seed: int,
) -> NDArray[np.int8]:
    """Draw each frame's split, a number into `SPLITS`: sessions, or stretches of them.

    Stretches where there are fewer than three sessions, or one has more than half of the frames: of a tub with two
    false starts, those would be what is trained on.

    Parameters
    ----------
    session, time : ndarray of shape (N,)
        Number of the session, and seconds.
    official : list of str or None
        A session's split, where its layout says so.
    margin_s : float
        What is left out of a stretch after one of another split.

    Raises
    ------
    UserError
        If there are fewer than three stretches.
    """
    begin = np.concatenate([[0], np.flatnonzero(np.diff(session)) + 1])
    start = time[begin][np.searchsorted(begin, np.arange(len(time)), side="right") - 1]
    stretch = np.zeros(len(time), np.int64)
    longest = np.diff([*begin, len(time)]).max()
    if len(begin) < FEWEST or longest > len(time) / 2:
        stretch = ((time - start) // (60 * stretch_minutes)).astype(np.int64)
    changes = (np.diff(session) != 0) | (np.diff(stretch) != 0)
    unit = np.concatenate([[0], np.cumsum(changes)])
    first = np.concatenate([[0], np.flatnonzero(changes) + 1])
    if len(first) < FEWEST:
        raise UserError(
            f"{len(first)} stretches of {stretch_minutes:g} minutes, and there have to be one for training, one for "
            "validation and one for test: lower ingest_drives.stretch_minutes"
        )
    table = pd.DataFrame({"group": first.astype(str), "label": 0, "split": [official[i] for i in session[first]]})
    names = draw_splits(table, validation_share=validation_share, test_share=test_share, seed=seed)
    of_unit = np.array([SPLITS.index(name) for name in names], np.int8)
    split = of_unit[unit]
    other = np.concatenate([[False], (np.diff(of_unit) != 0) & (np.diff(session[first]) == 0)])
    split[other[unit] & (time - time[first][unit] < margin_s)] = SPLITS.index("unused")
    return split
