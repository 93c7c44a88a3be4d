"""A store's frames at a longer step than its own: how archives of different steps come together."""

from functools import lru_cache
from pathlib import Path
from socket import gethostname
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from pipelines.common.errors import UserError
from pipelines.common.provenance import fingerprint
from pipelines.radar.clock import usual_step
from pipelines.radar.store import open_frames


def open_frames_at(store: Path, step_s: int | None) -> xr.Dataset:
    """Open a store of frames lazily, thinned or averaged to a step; times are full steps since midnight.

    Instants are thinned. Accumulations are averaged over the step, in mm/h: a time has a frame where the whole step is
    there, and a pixel a value where each of them has one; ``source_file`` names one of its files, ``time_bounds`` is
    left out.

    Parameters
    ----------
    store : Path
    step_s : int or None
        Seconds; None, or the store's own, changes nothing.

    Raises
    ------
    UserError
        If there is no store of frames, its frames can't be brought to the step, or fewer than two are left.
    """
    frames = open_frames(store)
    if step_s is not None and frames.sizes["time"] > 1:
        frames = _at_step(frames, store, step_s)
    if (count := frames.sizes["time"]) < 2:
        at = "" if step_s is None else f" at index.step_s of {step_s} s"
        raise UserError(f"{store}: {count} frame(s){at}, and two at least are needed")
    if step_s not in (None, step := usual_step(frames["time"].to_numpy())):
        raise UserError(f"{store}: brought to {step_s} s, its frames are mostly {step} s apart: index.step_s")
    return frames


@lru_cache(maxsize=4)
def frames_once(store: Path, state: str, step_s: int | None) -> xr.Dataset:
    """Return :func:`open_frames_at` of a store, an absolute path, opened once by a process while its state is the same.

    Parameters
    ----------
    state : str
        Its fingerprint where the run is. Zarr takes a shard that isn't here for one without a valid pixel.

    Raises
    ------
    UserError
        As `open_frames_at` does, and if the store is another here.
    """
    if fingerprint(store) != state:
        raise UserError(f"{store}: it changed, or {gethostname()} has not the same one as the host of the run")
    return open_frames_at(store, step_s)


def _at_step(frames: xr.Dataset, store: Path, step_s: int) -> xr.Dataset:
    """Return two frames or more, of ``store``, at a step."""
    time = frames["time"].to_numpy().astype("datetime64[s]")
    if (own := usual_step(time)) == step_s:
        return frames
    if step_s % own:
        raise UserError(f"{store}: its step is {own} s, and {step_s} s is no multiple of it: index.step_s")
    seconds = time.astype(np.int64)
    clock = np.bincount(seconds % own).argmax()  # some radars' minutes are 02:30, 07:30
    frames, seconds = frames.isel(time=seconds % own == clock), seconds[seconds % own == clock]
    if frames["time"].attrs["time_is"] == "instant":
        return frames.isel(time=seconds % step_s == clock)
    bounds = frames["time_bounds"].to_numpy().astype("datetime64[s]").astype(np.int64)
    if (np.diff(bounds) != own).any():
        raise UserError(f"{store}: accumulations over other times than its step of {own} s have no mean: index.step_s")
    parts = step_s // own
    number = -((clock - bounds[:, 1]) // step_s)  # of the step that each ends in
    numbers, count = np.unique(number, return_counts=True)
    of_whole = frames.isel(time=np.isin(number, numbers[count == parts]))
    rain = of_whole["rainfall_flux"]
    which = slice(parts - 1, None, parts) if frames["time"].attrs["time_is"] == "end" else slice(None, None, parts)
    mean = xr.Variable(rain.dims, indexing.LazilyIndexedArray(_Means(rain.variable, parts)), rain.attrs)
    return of_whole.isel(time=which).drop_vars("time_bounds").assign(rainfall_flux=mean)


class _Means(BackendArray):
    """Means over ``parts`` frames each, of what is looked at: dask's graph of them all grows with the archive."""

    def __init__(self, rain: xr.Variable, parts: int) -> None:
        self.rain, self.parts = rain, parts
        self.shape, self.dtype = (rain.shape[0] // parts, *rain.shape[1:]), np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[np.float32]:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._of)

    def _of(self, key: tuple[Any, ...]) -> NDArray[np.float32]:
        numbers, *place = key
        which = np.arange(self.shape[0])[numbers]
        frames: Any = (self.parts * np.atleast_1d(which)[:, None] + np.arange(self.parts)).ravel()
        if frames.size and (np.diff(frames) == 1).all():
            frames = slice(frames[0], frames[-1] + 1)  # a third of the time
        rain = self.rain[(frames, *place)].to_numpy()
        means = rain.reshape(-1, self.parts, *rain.shape[1:]).mean(axis=1)
        return means if np.ndim(which) else means[0]
