"""Stage ``evaluate``: forecast the test events and count what came true."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from rich.progress import track

from pipelines.atomic import whole
from pipelines.baselines import Maker, maker
from pipelines.cadence import usual_step
from pipelines.errors import UserError
from pipelines.forecasters import Forecaster, Rain, extrapolation
from pipelines.frames import grid_of, open_frames
from pipelines.params import read_params
from pipelines.sections.radar import Evaluate, Index
from pipelines.spatial import pixel_metres
from pipelines.stage import run
from pipelines.verification import headline, score_forecast

FORECAST = ["store", "event", "t0"]  # what tells one forecast from another


def forecast_times(windows: Path, stride: int) -> pd.DataFrame:
    """Give the test windows' first frames, ``stride`` frames apart in each event: columns store, event, t0."""
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


def score_methods(
    makers: Mapping[str, Maker], times: pd.DataFrame, *, index: Index, params: Evaluate
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Score methods on the whole grid from every one of ``times``.

    Parameters
    ----------
    makers : mapping of str to Maker
        The methods by name.
    times : DataFrame
        Columns store, event and t0, the first of ``index.inputs`` observed frames, which ``index.leads`` to forecast
        follow at the store's own step.

    Returns
    -------
    tables : dict of str to DataFrame
        For each method the sums of :func:`pipelines.verification.score_forecast`, with the columns store, event, t0,
        time (of the newest observed frame, UTC) and fell_back (extrapolation stood in for it).
    refused : dict of str to str
        Why a method has no table, or none of a store: its steps aren't the store's, it wants more frames, or it says
        nothing about a pixel that counts.
    """
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in makers}
    refused: dict[str, str] = {}
    failed = set()
    for store, of_store in times.groupby("store", sort=False):
        frames = open_frames(Path(str(store)))
        rain, clock = frames["rainfall_flux"], frames["time"].to_numpy()
        pixel_m, step_s = pixel_metres(grid_of(frames)), usual_step(clock)
        minutes = np.arange(1, index.leads + 1) * step_s / 60
        methods: dict[str, Forecaster] = {}
        for name, make in makers.items():
            if name in failed:
                continue
            try:
                methods[name] = make(pixel_m, step_s)
            except UserError as error:
                refused[name] = f"{store}: {error}"
        for row in track(list(of_store.itertuples()), f"evaluate {', '.join(methods)}", transient=True):
            window = rain[row.t0 : row.t0 + index.inputs + index.leads].to_numpy()
            seen, future = window[: index.inputs], window[index.inputs :]
            moved = extrapolation(seen, index.leads)
            mask = common_mask(seen, future, moved)
            about = {"store": store, "event": row.event, "t0": row.t0, "time": clock[row.t0 + index.inputs - 1]}
            for name, forecaster in list(methods.items()):
                try:
                    forecast = moved if forecaster is extrapolation else forecaster(seen, index.leads)
                    if not np.isfinite(forecast[mask]).all():
                        raise UserError(f"no forecast for some pixels that the radar sees, from frame {row.t0}")
                except UserError as error:
                    refused[name] = f"{store}: {error}"
                    tables[name] = []
                    failed.add(name)
                    del methods[name]
                    continue
                sums = score_forecast(
                    forecast, future, mask, params.thresholds, pixel_m=pixel_m, minutes=minutes.tolist()
                )
                tables[name].append(sums.assign(**about, fell_back=getattr(forecaster, "fell_back", False)))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items() if parts}, refused


def evaluate(make: Maker, name: str, windows: Path, *, index: Index, params: Evaluate) -> pd.DataFrame:
    """Score one method on the test windows; see :func:`score_methods`.

    A store of other steps than the method's is left out, and told of.

    Raises
    ------
    UserError
        If the method can't forecast from any store, or says nothing about a pixel that counts.
    """
    tables, refused = score_methods(
        {name: make}, forecast_times(windows, params.time_stride), index=index, params=params
    )
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
    sums = evaluate(maker(model, params.evaluate), name, windows, index=params.index, params=params.evaluate)
    with whole(scores) as temporary:
        sums.to_parquet(temporary, index=False)
    with whole(metrics) as temporary:
        temporary.write_text(json.dumps(headline(sums), indent=1), encoding="utf-8")


if __name__ == "__main__":
    run(main)
