"""Stage ``index``: cut stores of frames into events, windows and splits.

A window is `inputs` observed and `leads` later frames at the stores' own cadence, on a square of pixels. Windows
never bridge a gap, and events share no frame, so the splits share none either. A store is of one split as a whole, or
its events are drawn together with those of other such stores; or days are, where stores see the same weather.

Windows are made and written some at a time: of an archive of any length no more is in memory than its times.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from pipelines.common.errors import UserError
from pipelines.common.executor import LOCAL, Executor, open_executor
from pipelines.common.files import atomic_path
from pipelines.common.full_disk import told_when_full
from pipelines.common.stage import run
from pipelines.nowcast.events import day_numbers, draw_splits, find_events, window_starts
from pipelines.nowcast.methods.climatology import FILE, Climatology
from pipelines.nowcast.wet_areas import WetAreas, wet_areas
from pipelines.params.nowcast import Index
from pipelines.params.read import read_params
from pipelines.radar.cadence import open_frames_at
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.clock import usual_step

COLUMNS = ["store", "t0", "time", "y0", "x0", "wet_fraction", "event", "split"]
ROWS = 1 << 18  # windows that are in memory at once


def index(stores: Mapping[str, Path], windows: Path, params: Index, executor: Executor = LOCAL) -> None:
    """Write the windows of ``stores`` to the Parquet file ``windows``: one row a window, columns `COLUMNS`.

    And beside it climatology.json: the shares of valid pixels at or above each of `Index.rates`, in the frames of the
    windows of train, dry ones too.

    Parameters
    ----------
    stores : mapping of str to Path
        By the archives' names, which `Index.splits` may name. Events are numbered over all of them.
    executor : Executor
        Looks at the frames.

    Raises
    ------
    UserError
        If a grid is smaller than a window, the stores' steps differ or they share frames, or a split would be empty.
    """
    frames = {name: open_frames_at(store, params.step_s) for name, store in stores.items()}
    _check(stores, frames, params)
    folder = windows.parent
    folder.mkdir(parents=True, exist_ok=True)
    with told_when_full(folder), ExitStack() as stack:
        found = {
            name: stack.enter_context(wet_areas(store, frames[name]["rainfall_flux"], params, executor, folder))
            for name, store in stores.items()
        }
        starts = _starts(found, frames, params)
        for split in ("train", "validation", "test"):
            if not any((of_store["split"] == split).any() for of_store in starts.values()):
                raise UserError(f"index.splits: no event with whole windows is of the split {split}")
        counts: Counter[str] = Counter()
        events: dict[str, set[int]] = {"test": set(), "train": set(), "validation": set()}
        with atomic_path(windows) as temporary, ExitStack() as files:
            writer = None
            for table in _tables(stores, found, starts, params):
                arrow = pa.Table.from_pandas(table, preserve_index=False)
                writer = writer or files.enter_context(pq.ParquetWriter(temporary, arrow.schema))
                writer.write_table(arrow)
                counts.update(table["split"])
                for split, of_split in table.groupby("split")["event"]:
                    events[str(split)].update(of_split.unique())
            if not counts["train"]:
                raise UserError(f"index.train_wet_share: no window of the train events is {params.train_wet_share} wet")
        climate = np.zeros(1 + len(params.rates), np.int64)
        for name, of_store in starts.items():
            in_windows = np.zeros(len(found[name].reached), bool)
            train = of_store["t0"][of_store["split"] == "train"].to_numpy()
            for after in range(params.inputs + params.leads):
                in_windows[train + after] = True
            climate += found[name].reached[in_windows].sum(axis=0)
    shares = (climate[1:] / climate[0]).tolist()
    Climatology(rates=params.rates, exceedance=shares).write(windows.with_name(FILE))
    print("; ".join(f"{split}: {len(of)} events, {counts[split]} windows" for split, of in events.items()))


def _check(stores: Mapping[str, Path], frames: Mapping[str, xr.Dataset], params: Index) -> None:
    """Refuse stores that can't be of one index."""
    for name, of_store in frames.items():
        H, W = of_store["rainfall_flux"].shape[1:]
        if min(H, W) < params.size:
            raise UserError(f"index.size: {params.size} pixels, but {stores[name]} has a grid of {H}×{W}")
    steps = {stores[name]: usual_step(of_store["time"].to_numpy()) for name, of_store in frames.items()}
    if len(set(steps.values())) > 1:
        told = ", ".join(f"{store} {step} s" for store, step in steps.items())
        raise UserError(f"index.step_s: archives of one step are trained on together, and these have {told}")
    for (a, of_a), (b, of_b) in combinations(frames.items(), 2):
        common = np.intersect1d(of_a["time"], of_b["time"])
        if common.size and not grid_of(of_a).difference(grid_of(of_b)):
            raise UserError(
                f"{stores[a]} and {stores[b]} both have a frame of {common[0]} UTC on one grid: "
                "it would be of two splits"
            )


def _starts(found: Mapping[str, WetAreas], frames: Mapping[str, xr.Dataset], params: Index) -> dict[str, pd.DataFrame]:
    """Return each store's first frames of windows: columns t0, time of the newest observed frame, event and split."""
    starts, drawn, events = {}, [], 0
    for name, of_store in found.items():
        time = frames[name]["time"].to_numpy()
        event = find_events(time, of_store.of_frames >= params.wet_share, params)
        event[np.isnan(of_store.of_frames)] = -1
        t0 = window_starts(time, event, params)
        table = pd.DataFrame({"t0": t0, "time": time[t0 + params.inputs - 1], "event": event[t0] + events})
        events = max(events, table["event"].max() + 1) if len(table) else events
        table["split"] = params.splits.get(name)
        table["drawn"] = day_numbers(table["time"]) if params.by_day else table["event"]
        if name not in params.splits:  # every day, so that windows of any length have the same ones in a split
            drawn.append(day_numbers(time) if params.by_day else table["drawn"])
        starts[name] = table
    if drawn:
        splits = draw_splits(np.unique(np.concatenate(drawn)).astype(np.int64), params)
        for name in starts.keys() - params.splits.keys():
            starts[name]["split"] = starts[name]["drawn"].map(splits)
    return starts


def _tables(
    stores: Mapping[str, Path], found: Mapping[str, WetAreas], starts: Mapping[str, pd.DataFrame], params: Index
) -> Iterator[pd.DataFrame]:
    """Yield the windows of all stores, some at a time, but those of train that are too dry."""
    length = params.inputs + params.leads
    for name, of_store in starts.items():
        areas = found[name]
        y0, x0 = (axis.ravel() for axis in np.meshgrid(areas.y0, areas.x0, indexing="ij"))
        at_once = max(1, ROWS // y0.size)
        for first in range(0, len(of_store), at_once):
            some = of_store[first : first + at_once]
            wet = [areas.of_windows(t0, t0 + length).mean(axis=0).ravel() for t0 in some["t0"]]
            table = some.loc[some.index.repeat(y0.size)].assign(
                store=stores[name].as_posix(),
                y0=np.tile(y0, len(some)),
                x0=np.tile(x0, len(some)),
                wet_fraction=np.concatenate(wet),
            )
            dry = (table["split"] == "train") & (table["wet_fraction"] < params.train_wet_share)
            yield table.loc[~dry, COLUMNS].reset_index(drop=True)


def main(folder: Path, windows: Path) -> None:
    """Index the stores of params.yaml's ingest_radar.sources in FOLDER into WINDOWS, and climatology.json beside."""
    params = read_params()
    stores = {name: folder / f"{name}.zarr" for name in params.ingest_radar.sources}
    if stray := sorted(set(folder.glob("*.zarr")) - set(stores.values())):
        raise UserError(f"{stray[0]}: of no archive in ingest_radar.sources: remove it, or name its source there")
    with open_executor(**params.executor.model_dump()) as executor:
        index(stores, windows, params.index, executor)


if __name__ == "__main__":
    run(main)
