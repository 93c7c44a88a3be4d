"""How wet the frames of a store are, and the windows of each: what an index is made of.

What is found of the windows grows with the archive and lies on disk.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipelines.common.executor import Executor
from pipelines.common.progress import track
from pipelines.common.provenance import fingerprint
from pipelines.params.nowcast import Index
from pipelines.radar.cadence import frames_once
from pipelines.radar.store import shard_frames

FRAMES = 256  # that one worker looks at at once

Ratios = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


class WetAreas(NamedTuple):
    """What is found of a store.

    Parameters
    ----------
    of_frames : ndarray of shape (T,)
        Wet area ratio of every frame, among valid pixels; NaN where none is: such a frame is a missing one.
    reached : ndarray of shape (T, 1 + K)
        Valid pixels of every frame, and those of at least each of ``index.rates``.
    y0, x0 : ndarray of int
        First pixels of the windows' rows and columns.
    file : IO
        The wet area ratios of every frame's windows, among all pixels: float64.
    """

    of_frames: NDArray[np.float64]
    reached: NDArray[np.int64]
    y0: NDArray[np.int64]
    x0: NDArray[np.int64]
    file: IO[bytes]

    def of_windows(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the wet area ratios of the windows of some frames, of shape (stop - start, rows, columns)."""
        count = self.y0.size * self.x0.size
        self.file.seek(8 * start * count)
        ratios = np.frombuffer(self.file.read(8 * (stop - start) * count))
        return ratios.reshape(stop - start, self.y0.size, self.x0.size)


def corners(length: int, size: int, stride: int) -> NDArray[np.int64]:
    """Return the first pixels of windows of ``size`` along an axis of ``length``; the last one ends at the edge."""
    last = length - size
    return np.unique(np.append(np.arange(0, last + 1, stride), last))


@contextmanager
def wet_areas(store: Path, rain: xr.DataArray, params: Index, executor: Executor, folder: Path) -> Iterator[WetAreas]:
    """Look at all frames ``rain`` (T, H, W) of a store; what is found of windows is in ``folder`` meanwhile."""
    T, H, W = rain.shape
    y0, x0 = corners(H, params.size, params.stride), corners(W, params.size, params.stride)
    store = store.absolute()
    state = fingerprint(store)
    starts = range(0, T, FRAMES)
    tasks = ((store, state, start, min(start + FRAMES, T), params) for start in starts)
    results = executor.map(wet_area_ratios, tasks)
    of_frames, reached = np.empty(T), np.empty((T, 1 + len(params.rates)), np.int64)
    with TemporaryFile(dir=folder) as file:  # where temporary files are may be memory
        for start, found in zip(track(starts, f"index {store.name}"), results, strict=True):
            some = slice(start, start + FRAMES)
            of_frames[some], of_windows, reached[some] = found
            file.write(of_windows.tobytes())
        yield WetAreas(of_frames, reached, y0, x0, file)


def wet_area_ratios(store: Path, state: str, start: int, stop: int, params: Index) -> Ratios:
    """Return the three arrays of `WetAreas` for some frames of a store."""
    rain = frames_once(store, state, params.step_s)["rainfall_flux"][start:stop]
    T, H, W = rain.shape
    y0, x0 = corners(H, params.size, params.stride), corners(W, params.size, params.stride)
    south, east = y0 + params.size, x0 + params.size
    of_frames, of_windows = np.full(T, np.nan), np.zeros((T, y0.size, x0.size))
    reached = np.zeros((T, 1 + len(params.rates)), np.int64)
    at_once = shard_frames((H, W))
    for t in range(T):
        if t % at_once == 0:
            frames = rain[t : t + at_once].to_numpy()
        frame = frames[t % at_once]
        wet = frame >= params.wet_rate
        reached[t] = [np.isfinite(frame).sum(), *(np.count_nonzero(frame >= rate) for rate in params.rates)]
        if valid := reached[t, 0]:
            of_frames[t] = wet.sum() / valid
        total = np.pad(wet, ((1, 0), (1, 0))).cumsum(0, dtype=np.int64).cumsum(1)
        counts = total[np.ix_(south, east)] - total[np.ix_(y0, east)] - total[np.ix_(south, x0)]
        of_windows[t] = (counts + total[np.ix_(y0, x0)]) / params.size**2
    return of_frames, of_windows, reached
