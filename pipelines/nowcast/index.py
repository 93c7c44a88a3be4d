"""Stage ``index``: cut stores of frames into events, windows and splits.

A window is `inputs` observed and `leads` later frames at the stores' own cadence, on a square of pixels. Windows
never bridge a gap, and events share no frame, so the splits share none either. A store is of one split as a whole, or
its events are drawn together with those of other such stores; or days are, where stores see the same weather.
"""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from rich.progress import track

from pipelines.common.errors import UserError
from pipelines.common.files import atomic_path
from pipelines.common.stage import run
from pipelines.nowcast.methods.climatology import FILE, Climatology
from pipelines.params.nowcast import Index
from pipelines.params.read import read_params
from pipelines.radar.cadence import open_frames_at
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.store import usual_step

COLUMNS = ["store", "t0", "time", "y0", "x0", "wet_fraction", "event", "split"]


def corners(length: int, size: int, stride: int) -> NDArray[np.int64]:
    """Return the first pixels of windows of ``size`` along an axis of ``length``; the last one ends at the edge."""
    last = length - size
    return np.unique(np.append(np.arange(0, last + 1, stride), last))


def wet_area_ratios(
    rain: xr.DataArray, params: Index
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the wet area ratio of every frame, among valid pixels, and of every window of it, among all pixels.

    And what a climatology is made of: pixels that reach a rain rate.

    Returns
    -------
    of_frames : ndarray of shape (T,)
        NaN where no pixel is valid: such a frame is a missing one.
    of_windows : ndarray of shape (T, rows of windows, columns of windows)
    reached : ndarray of shape (T, 1 + K)
        Valid pixels of every frame, and those of at least each of ``params.rates``.
    """
    T, H, W = rain.shape
    y0, x0 = corners(H, params.size, params.stride), corners(W, params.size, params.stride)
    of_frames, of_windows = np.full(T, np.nan), np.zeros((T, y0.size, x0.size))
    reached = np.zeros((T, 1 + len(params.rates)), np.int64)
    for t in track(range(T), "index", transient=True):
        frame = rain[t].to_numpy()
        wet = frame >= params.wet_rate
        reached[t] = [np.isfinite(frame).sum(), *(np.count_nonzero(frame >= rate) for rate in params.rates)]
        if valid := reached[t, 0]:
            of_frames[t] = wet.sum() / valid
        total = np.pad(wet, ((1, 0), (1, 0))).cumsum(0, dtype=np.int64).cumsum(1)
        south, east = y0 + params.size, x0 + params.size
        counts = total[np.ix_(south, east)] - total[np.ix_(y0, east)] - total[np.ix_(south, x0)]
        of_windows[t] = (counts + total[np.ix_(y0, x0)]) / params.size**2
    return of_frames, of_windows, reached


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


def windows_of(store: Path, rain: xr.DataArray, params: Index) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the windows of a store: one row each, columns `COLUMNS` but for the split; events are counted from 0.

    The second is ``reached`` of :func:`wet_area_ratios`.

    Parameters
    ----------
    rain : DataArray of shape (T, H, W)
        Its rain rate in mm/h.

    Raises
    ------
    UserError
        If the grid is smaller than a window.
    """
    _, H, W = rain.shape
    if min(H, W) < params.size:
        raise UserError(f"index.size: {params.size} pixels, but {store} has a grid of {H}×{W}")
    time = rain["time"].to_numpy()
    of_frames, of_windows, reached = wet_area_ratios(rain, params)
    event = find_events(time, of_frames >= params.wet_share, params)
    event[np.isnan(of_frames)] = -1
    y0, x0 = np.meshgrid(corners(H, params.size, params.stride), corners(W, params.size, params.stride), indexing="ij")
    length = params.inputs + params.leads
    tables = [
        pd.DataFrame(
            {
                "store": store.as_posix(),
                "t0": t0,
                "time": time[t0 + params.inputs - 1],
                "y0": y0.ravel(),
                "x0": x0.ravel(),
                "wet_fraction": of_windows[t0 : t0 + length].mean(axis=0).ravel(),
                "event": event[t0],
            }
        )
        for t0 in window_starts(time, event, params)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS[:-1]), reached


def index(stores: Mapping[str, Path], windows: Path, params: Index) -> None:
    """Write the windows of ``stores`` to the Parquet file ``windows``: one row a window, columns `COLUMNS`.

    And beside it climatology.json: the shares of valid pixels at or above each of `Index.rates`, in the frames of the
    windows of train, dry ones too.

    Parameters
    ----------
    stores : mapping of str to Path
        By the archives' names, which `Index.splits` may name. Events are numbered over all of them.

    Raises
    ------
    UserError
        If a grid is smaller than a window, the stores' steps differ or they share frames, or a split would be empty.
    """
    frames = {store: open_frames_at(store, params.step_s) for store in stores.values()}
    steps = {store: usual_step(of_store["time"].to_numpy()) for store, of_store in frames.items()}
    if len(set(steps.values())) > 1:
        told = ", ".join(f"{store} {step} s" for store, step in steps.items())
        raise UserError(f"index.step_s: archives of one step are trained on together, and these have {told}")
    for (a, of_a), (b, of_b) in combinations(frames.items(), 2):
        common = np.intersect1d(of_a["time"], of_b["time"])
        if common.size and not grid_of(of_a).difference(grid_of(of_b)):
            raise UserError(f"{a} and {b} both have a frame of {common[0]} UTC on one grid: it would be of two splits")
    tables, drawn, events, reached = [], [], 0, {}
    for name, store in stores.items():
        table, reached[store.as_posix()] = windows_of(store, frames[store]["rainfall_flux"], params)
        table["event"] += events
        events = max(events, table["event"].max() + 1) if len(table) else events
        table["split"] = params.splits.get(name)
        table["drawn"] = day_numbers(table["time"]) if params.by_day else table["event"]
        if name not in params.splits:  # every day, so that windows of any length have the same ones in a split
            drawn.append(day_numbers(frames[store]["time"]) if params.by_day else table["drawn"])
        tables.append(table)
    table = pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)
    if drawn:
        splits = draw_splits(np.unique(np.concatenate(drawn)).astype(np.int64), params)
        table["split"] = table["split"].fillna(table["drawn"].map(splits))
    table = table[COLUMNS]
    for split in ("train", "validation", "test"):
        if not (table["split"] == split).any():
            raise UserError(f"index.splits: no event with whole windows is of the split {split}")
    climate = np.zeros(1 + len(params.rates), np.int64)
    for of_store, t0 in table[table["split"] == "train"].groupby("store")["t0"]:
        in_windows = np.add.outer(t0.unique(), np.arange(params.inputs + params.leads))
        climate += reached[of_store][np.unique(in_windows)].sum(axis=0)
    dry = (table["split"] == "train") & (table["wet_fraction"] < params.train_wet_share)
    table = table[~dry].reset_index(drop=True)
    if not (table["split"] == "train").any():
        raise UserError(f"index.train_wet_share: no window of the train events is {params.train_wet_share} wet")
    shares = (climate[1:] / climate[0]).tolist()
    Climatology(rates=params.rates, exceedance=shares).write(windows.with_name(FILE))
    with atomic_path(windows) as temporary:
        table.to_parquet(temporary, index=False)
    counts = table.groupby("split").agg(events=("event", "nunique"), windows=("t0", "size"))
    print("; ".join(f"{name}: {row.events} events, {row.windows} windows" for name, row in counts.iterrows()))


def main(folder: Path, windows: Path) -> None:
    """Index the stores of params.yaml's ingest_radar.sources in FOLDER into WINDOWS, and climatology.json beside."""
    params = read_params()
    stores = {name: folder / f"{name}.zarr" for name in params.ingest_radar.sources}
    if stray := sorted(set(folder.glob("*.zarr")) - set(stores.values())):
        raise UserError(f"{stray[0]}: of no archive in ingest_radar.sources: remove it, or name its source there")
    index(stores, windows, params.index)


if __name__ == "__main__":
    run(main)
