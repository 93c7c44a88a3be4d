"""Events of rain, where windows start in them, and which split each is of."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipelines.common.errors import UserError
from pipelines.params.nowcast import Index
from pipelines.radar.clock import usual_step


def find_events(time: NDArray[np.datetime64], wet: NDArray[np.bool_], params: Index) -> NDArray[np.int64]:
    """Return the number of each frame's event, -1 for none.

    An event runs from a wet frame to the last wet frame before `dry_hours` that are dry or missing; one longer
    than `max_event_hours` is cut into events of at most that length, and at midnight where `by_day` asks for it.
    """
    event = np.full(time.size, -1)
    wet_frames = np.flatnonzero(wet)
    if wet_frames.size == 0:
        return event
    longest = np.timedelta64(round(params.max_event_hours * 3600), "s")
    dry = np.timedelta64(round(params.dry_hours * 3600), "s")
    breaks = np.flatnonzero(np.diff(time[wet_frames]) > dry) + 1
    number = 0
    for frames in np.split(wet_frames, breaks):
        inside = np.arange(frames[0], frames[-1] + 1)
        piece = (time[inside] - time[inside[0]]) // longest
        if params.by_day:
            piece = np.unique(np.stack([day_numbers(time[inside]), piece]), axis=1, return_inverse=True)[1]
        event[inside] = number + piece
        number += int(piece[-1]) + 1
    return event


def day_numbers(time: ArrayLike) -> NDArray[np.int64]:
    """Return the UTC day of each time, counted from 1970 on."""
    return np.asarray(time, "datetime64[D]").astype(np.int64)


def draw_splits(events: NDArray[np.int64], params: Index) -> dict[int, str]:
    """Return the split of each event, or day: train, validation or test, drawn by the seed.

    Raises
    ------
    UserError
        If there are too few events for three splits.
    """
    n = events.size
    n_test = max(1, round(n * params.test_share))
    n_validation = max(1, round(n * params.validation_share))
    if n - n_test - n_validation < 1:
        drawn = "day(s)" if params.by_day else "event(s) with whole windows"
        raise UserError(
            f"index: {n} {drawn}, and train, validation and test need one each: more data, "
            "or a smaller index.max_event_hours, index.inputs or index.leads, or splits by name in index.splits"
        )
    shuffled = np.random.default_rng(params.seed).permutation(events)
    names = np.repeat(["test", "validation", "train"], [n_test, n_validation, n - n_test - n_validation])
    return dict(zip(shuffled.tolist(), names.tolist(), strict=True))


def window_starts(time: NDArray[np.datetime64], event: NDArray[np.int64], params: Index) -> NDArray[np.int64]:
    """Return the first frames of all windows that lie in one event and at the store's usual cadence throughout."""
    length = params.inputs + params.leads
    if time.size < length:
        return np.array([], dtype=np.int64)
    step = np.timedelta64(usual_step(time), "s")
    joined = (np.diff(time) == step) & (event[1:] == event[:-1]) & (event[1:] >= 0)
    run_length = np.lib.stride_tricks.sliding_window_view(joined, length - 1).all(axis=1)
    starts = np.flatnonzero(run_length)
    first = pd.Series(starts).groupby(event[starts]).transform("min").to_numpy()
    return starts[(starts - first) % params.time_stride == 0]
