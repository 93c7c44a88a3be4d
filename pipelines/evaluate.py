"""Stage ``evaluate``: forecast the test events and count what came true."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import track

from pipelines.atomic import whole
from pipelines.cadence import usual_step
from pipelines.errors import UserError
from pipelines.forecasters import BASELINES, Forecaster, extrapolation, load_forecaster
from pipelines.frames import open_frames
from pipelines.params import Evaluate, Index, read_params
from pipelines.stage import run
from pipelines.verification import contingency, headline


def forecast_times(windows: Path, stride: int) -> pd.DataFrame:
    """Give the test windows' first frames, ``stride`` frames apart in each event: columns t0, event."""
    table = pd.read_parquet(windows)
    test = table.loc[table["split"] == "test", ["t0", "event"]].drop_duplicates().sort_values("t0")
    since_first = test["t0"] - test.groupby("event")["t0"].transform("min")
    return test[since_first % stride == 0].reset_index(drop=True)


def evaluate(
    forecaster: Forecaster, name: str, store: Path, windows: Path, *, index: Index, params: Evaluate
) -> pd.DataFrame:
    """Score a forecaster on the whole grid from every test time.

    All methods are scored on the same pixels: those seen at the valid time and at the newest observed one, and where
    extrapolation knows what comes from upstream.

    Returns
    -------
    DataFrame
        Columns event, t0 and those of :func:`pipelines.verification.contingency`.

    Raises
    ------
    UserError
        If the forecaster says nothing about a pixel that counts.
    """
    rain = open_frames(store)["rainfall_flux"]
    tables = []
    times = forecast_times(windows, params.time_stride)
    for row in track(list(times.itertuples()), f"evaluate {name}", transient=True):
        frames = rain[row.t0 : row.t0 + index.inputs + index.leads].to_numpy()
        seen, future = frames[: index.inputs], frames[index.inputs :]
        mask = np.isfinite(future) & np.isfinite(seen[-1]) & np.isfinite(extrapolation(seen, index.leads))
        forecast = forecaster(seen, index.leads)
        if not np.isfinite(forecast[mask]).all():
            raise UserError(f"{name}: no forecast for some pixels that the radar sees, from frame {row.t0} of {store}")
        tables.append(contingency(forecast, future, mask, params.thresholds).assign(event=row.event, t0=row.t0))
    return pd.concat(tables, ignore_index=True)


def main(
    model: Annotated[str, typer.Argument(help="a baseline's name, or a trained model's folder")],
    store: Path,
    windows: Path,
    table: Path,
    metrics: Path,
) -> None:
    """Evaluate MODEL on the test events into TABLE (Parquet, counts) and METRICS (JSON, a few scores)."""
    params = read_params()
    forecaster = BASELINES.get(model) or load_forecaster(Path(model))
    counts = evaluate(forecaster, Path(model).name, store, windows, index=params.index, params=params.evaluate)
    step_s = usual_step(open_frames(store)["time"].to_numpy())
    with whole(table) as temporary:
        counts.to_parquet(temporary, index=False)
    with whole(metrics) as temporary:
        temporary.write_text(json.dumps(headline(counts, step_s), indent=1), encoding="utf-8")


if __name__ == "__main__":
    run(main)
