"""Stage ``evaluate``: forecast the test events and count what came true."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from rich.progress import track

from pipelines.common.checkpoints import unfinished
from pipelines.common.errors import UserError
from pipelines.common.files import atomic_path
from pipelines.common.provenance import code_sha256, fingerprint, sha256
from pipelines.common.stage import run
from pipelines.nowcast.methods.extrapolation import Forecaster, extrapolation
from pipelines.nowcast.methods.interface import NAMES, ForecasterFactory, factory
from pipelines.params.nowcast import Evaluate, Index
from pipelines.params.read import read_params
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.frame import Rain
from pipelines.radar.grid import pixel_metres
from pipelines.radar.store import open_frames, usual_step
from pipelines.verification.scoring import headline, score_forecast

FORECAST = ["store", "event", "t0"]  # what tells one forecast from another


def forecast_times(windows: Path, stride: int) -> pd.DataFrame:
    """Return the test windows' first frames, ``stride`` frames apart in each event: columns store, event, t0."""
    table = pd.read_parquet(windows)
    test = table.loc[table["split"] == "test", FORECAST].drop_duplicates().sort_values(FORECAST)
    since_first = test["t0"] - test.groupby(["store", "event"])["t0"].transform("min")
    return test[since_first % stride == 0].reset_index(drop=True)


def common_mask(seen: Rain, future: Rain, moved: Rain) -> NDArray[np.bool_]:
    """Pixels that count, for all methods the same: (leads, H, W).

    Those seen at the valid time and at the newest observed one, and where extrapolation (``moved``) knows what comes
    from upstream.
    """
    return np.isfinite(future) & np.isfinite(seen[-1]) & np.isfinite(moved)


def forecast_seconds(forecaster: Forecaster, windows: Path, index: Index) -> tuple[float, tuple[int, ...]]:
    """Time one forecast of the first test window's whole grid; give seconds and its shape (leads, H, W).

    The faster of two: the first one loads what it needs.
    """
    first = forecast_times(windows, 1).iloc[0]
    frames = open_frames(Path(first["store"]))
    seen = frames["rainfall_flux"][first["t0"] : first["t0"] + index.inputs].to_numpy()
    took = []
    for _ in range(2):
        began = time.perf_counter()
        shape = forecaster(seen, index.leads).shape
        took.append(time.perf_counter() - began)
    return min(took), shape


def unfinished_evaluation(
    name: str, model: str, windows: Path, *, index: Index, params: Evaluate
) -> AbstractContextManager[Path]:
    """Hold the folder in which an evaluation on the test windows keeps what it has; see `pipelines.common.checkpoints`.

    Parameters
    ----------
    name : str
        Of the method.
    model : str
        What says which model it is: its SHA-256, or a baseline's name.
    windows : Path
        The index.
    index, params
        Sections of params.yaml.
    """
    settings = {
        "model": model,
        "code": code_sha256("pipelines.nowcast.evaluate"),
        "evaluate": params.model_dump(),
        "index": index.model_dump(include={"inputs", "leads"}),
    }
    stores = pd.read_parquet(windows, columns=["store"])["store"].unique()
    data = [sha256(windows), *(fingerprint(Path(store)) for store in sorted(stores))]
    return unfinished(f"evaluate-{name}", settings, " ".join(data))


def score_methods(
    factories: Mapping[str, ForecasterFactory],
    times: pd.DataFrame,
    checkpoints: Path,
    *,
    index: Index,
    params: Evaluate,
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Score methods on the whole grid from every one of ``times``; interrupted, it goes on where it was.

    Parameters
    ----------
    factories : mapping of str to ForecasterFactory
        The methods by name.
    times : DataFrame
        Columns store, event and t0, the first of ``index.inputs`` observed frames, which ``index.leads`` to forecast
        follow at the store's own step.
    checkpoints : Path
        Folder of what was scored so far, a file for each time: of the same methods, times and parameters.

    Returns
    -------
    tables : dict of str to DataFrame
        For each method the sums of :func:`pipelines.verification.scoring.score_forecast`, with the columns store,
        event, t0, time (of the newest observed frame, UTC) and fell_back (extrapolation stood in for it).
    refused : dict of str to str
        Why a method has no table, or none of a store: its steps aren't the store's, it wants more frames, or it says
        nothing about a pixel that counts.
    """
    failures = checkpoints / "failed.parquet"
    failed: dict[str, str] = dict(_kept(failures).to_numpy())
    refused: dict[str, str] = {}
    parts = []
    for number, (store, of_store) in enumerate(times.groupby("store", sort=False)):
        frames = open_frames(Path(str(store)))
        rain, clock = frames["rainfall_flux"], frames["time"].to_numpy()
        pixel_m, step_s = pixel_metres(grid_of(frames)), usual_step(clock)
        minutes = (np.arange(1, index.leads + 1) * step_s / 60).tolist()
        methods: dict[str, Forecaster] = {}
        for name, make in factories.items():
            try:
                methods[name] = make(pixel_m, step_s)
            except UserError as error:
                refused[name] = f"{store}: {error}"
        for row in track(list(of_store.itertuples()), f"evaluate {', '.join(methods)}", transient=True):
            able = {name: method for name, method in methods.items() if name not in failed}
            if not able:
                break
            file = checkpoints / f"{number}-{row.t0}.parquet"
            scored = _kept(file)
            if scored.empty:
                window = rain[row.t0 : row.t0 + index.inputs + index.leads].to_numpy()
                sums, unable = _score_time(able, window, minutes, pixel_m, index=index, params=params)
                if unable:
                    failed |= {name: f"{store}: from frame {row.t0}: {words}" for name, words in unable.items()}
                    with atomic_path(failures) as temporary:
                        pd.DataFrame(failed.items(), columns=["method", "words"]).to_parquet(temporary, index=False)
                about = {"store": store, "event": row.event, "t0": row.t0, "time": clock[row.t0 + index.inputs - 1]}
                with atomic_path(file) as temporary:
                    sums.assign(**about).to_parquet(temporary, index=False)
                scored = pd.read_parquet(file)
            parts.append(scored)
    table = pd.concat(parts) if parts else pd.DataFrame({"method": []})
    tables = {str(name): of.drop(columns="method").reset_index(drop=True) for name, of in table.groupby("method")}
    return {name: tables[name] for name in factories if name in tables.keys() - failed.keys()}, refused | failed


def _kept(file: Path) -> pd.DataFrame:
    """Read a checkpoint; no rows where there is none, or a damaged one: it is made anew."""
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError):
        return pd.DataFrame(columns=["method", "words"])


def _score_time(
    methods: Mapping[str, Forecaster],
    window: Rain,
    minutes: Sequence[float],
    pixel_m: float,
    *,
    index: Index,
    params: Evaluate,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Count what the methods' forecasts of one window (inputs + leads, H, W) got right; say why some have none."""
    seen, future = window[: index.inputs], window[index.inputs :]
    moved = extrapolation(seen, index.leads)
    mask = common_mask(seen, future, moved)
    sums = []
    unable = {}
    for name, forecaster in methods.items():
        try:
            forecast = moved if forecaster is extrapolation else forecaster(seen, index.leads)
        except UserError as error:
            unable[name] = str(error)
            continue
        if not np.isfinite(forecast[mask]).all():
            unable[name] = "no forecast for some pixels that the radar sees"
            continue
        of_method = score_forecast(forecast, future, mask, params.thresholds, pixel_m=pixel_m, minutes=minutes)
        sums.append(of_method.assign(method=name, fell_back=getattr(forecaster, "fell_back", False)))
    return pd.concat(sums) if sums else pd.DataFrame({"method": []}), unable


def evaluate(
    make: ForecasterFactory, name: str, windows: Path, checkpoints: Path, *, index: Index, params: Evaluate
) -> pd.DataFrame:
    """Score one method on the test windows; see :func:`score_methods`.

    A store of other steps than the method's is left out, and told of.

    Raises
    ------
    UserError
        If the method can't forecast from any store, or says nothing about a pixel that counts.
    """
    times = forecast_times(windows, params.time_stride)
    tables, refused = score_methods({name: make}, times, checkpoints, index=index, params=params)
    if name not in tables:
        raise UserError(f"{name}: {refused[name]}" if refused else f"{windows}: no test windows")
    for words in refused.values():
        print(f"{name}: left out: {words}")
    return tables[name]


def main(
    model: Annotated[str, typer.Argument(help="a baseline's name, or a trained model's folder")],
    windows: Path,
    scores: Path,
    metrics: Path,
) -> None:
    """Evaluate MODEL on the test events of WINDOWS into SCORES (Parquet, sums) and METRICS (JSON, a few scores)."""
    params = read_params()
    name = Path(model).name
    make = factory(model, params.evaluate)
    identity = model if model in NAMES else sha256(Path(model))
    with unfinished_evaluation(name, identity, windows, index=params.index, params=params.evaluate) as checkpoints:
        sums = evaluate(make, name, windows, checkpoints, index=params.index, params=params.evaluate)
        with atomic_path(scores) as temporary:
            sums.to_parquet(temporary, index=False)
        with atomic_path(metrics) as temporary:
            temporary.write_text(json.dumps(headline(sums), indent=1), encoding="utf-8")


if __name__ == "__main__":
    run(main)
