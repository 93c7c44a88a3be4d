"""Probabilities for the eye: maps of them, and the words for one. Neither ever says 0 % or 100 %."""

from datetime import datetime
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap

from pipelines.operation.products.attributes import ForecastAttributes
from pipelines.operation.products.dataset import valid_times
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.lead_times import few_leads
from pipelines.radar.maps import Scale, draw_maps, thinned

RARE = 0.05
TENTHS = np.arange(1, 10)
# From light to dark and of one order to the colour-blind, too; it has no grey, which is what isn't known.
COLOURS = ListedColormap(colormaps["viridis_r"](np.linspace(0.03, 0.93, TENTHS.size))).with_extremes(
    bad="#d9d9d9", under="white", over="#12001a"
)
SCALE = Scale(
    COLOURS,
    BoundaryNorm((np.arange(10) + 0.5) / 10, TENTHS.size),
    "both",
    list(TENTHS / 10),
    [f"{tenth}" for tenth in TENTHS],
    "in so many of 10 such forecasts\nwhite: in fewer than 1 of 20, black: in more than 19 of 20, grey: not known",
)


def in_words(probability: float) -> str:
    """Return a probability as a reader counts: in 3 of 10 such forecasts."""
    if probability < RARE:
        return "in fewer than 1 of 20 such forecasts"
    if probability > 1 - RARE:
        return "in more than 19 of 20 such forecasts"
    return f"in {min(max(int(10 * probability + 0.5), 1), 9)} of 10 such forecasts"


def draw_probabilities(forecast: xr.Dataset, name: str, path: Path) -> None:
    """Draw a variable of probabilities at up to four times and at four thresholds, of those that aren't rare."""
    variable = forecast[name]
    threshold = forecast[variable.dims[1]]
    times = valid_times(forecast)[name]
    shown = few_leads(len(times))
    highest = np.max([[np.nanmax(plane, initial=0) for plane in map(np.asarray, variable[at].data)] for at in shown], 0)
    count = max(int((highest >= RARE).sum()), 1)
    start = np.datetime64(forecast["forecast_reference_time"].item(), "ns")
    minutes = (times[shown] - start) // np.timedelta64(60, "s")
    few, grid = thinned(grid_of(forecast))
    units = "mm/h" if threshold.name == "threshold" else "mm"
    rows = {
        f"≥ {threshold[k].item():g} {units}": [variable[at, k].to_numpy()[few].copy() for at in shown]
        for k in few_leads(count)
    }
    columns = [f"+{m} min, {_clock(t)}" for m, t in zip(minutes, times[shown], strict=True)]
    title = f"{variable.attrs['long_name'].capitalize()}\n{forecast.attrs['source']}, from {_clock(start)}"
    title += credit_line(forecast)
    draw_maps(rows, columns, grid, title, path, SCALE)


def credit_line(forecast: xr.Dataset) -> str:
    """Return whom licences want named, as a line more of a picture's title; empty where nobody."""
    credit = ForecastAttributes.model_validate(forecast.attrs).attribution
    return f"\n{credit}" if credit else ""


def _clock(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[m]').astype(datetime):%H:%M} UTC"
