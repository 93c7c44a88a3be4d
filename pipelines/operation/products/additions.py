"""What a domain wants beyond the forecast itself; what can't be made is told of, and the rest is there."""

import json
from pathlib import Path

import numpy as np
import xarray as xr

from pipelines.common.errors import UserError, as_user_error
from pipelines.common.heap import trim
from pipelines.nowcast.methods.distribution import Exceedance
from pipelines.nowcast.methods.members import draw_by_lead
from pipelines.nowcast.methods.memory import members_mb
from pipelines.operation.inputs import Inputs
from pipelines.operation.products.areas import Area, read_areas
from pipelines.operation.products.dataset import RATE
from pipelines.operation.products.ensemble import add_members, add_percentiles, gather, rate_percentiles
from pipelines.operation.products.regions import add_areas
from pipelines.params.operation import Members


def add_what_is_asked_for(
    forecast: xr.Dataset,
    exceedance: Exceedance | None,
    inputs: Inputs,
    step_s: int,
    *,
    members: Members | None,
    areas: Path | None,
    memory_limit_mb: int | None,
    bytes_a_pixel: float | None,
) -> xr.Dataset:
    """Return a forecast with the rain of areas and what members say; its attribute ``left_out`` says what lacks.

    Parameters
    ----------
    exceedance : ndarray of shape (leads, K, H, W), optional
        That members are drawn from, at the forecast's thresholds.
    bytes_a_pixel : float, optional
        Memory that they take, as measured when the model was registered.
    """
    left_out: list[str] = []
    on_grid: list[Area] = []
    if areas is not None:
        try:
            with as_user_error(f"{areas}"):
                on_grid, left_out = read_areas(areas, inputs.observed[-1].grid)
                forecast = add_areas(forecast, on_grid)
        except UserError as error:
            left_out.append(f"areas: {error}")
    try:
        with as_user_error("not drawn"):
            if members is not None and exceedance is None:
                raise UserError(f"{forecast.attrs['method']} gives no probabilities")
            if members is not None and exceedance is not None:
                forecast, words = _with_members(
                    forecast, exceedance, inputs, step_s, members, on_grid, memory_limit_mb, bytes_a_pixel
                )
                left_out += words
    except UserError as error:
        left_out.append(f"members: {error}")
    trim()
    return forecast.assign_attrs(left_out=json.dumps(left_out) if left_out else "none")


def _with_members(
    forecast: xr.Dataset,
    exceedance: Exceedance,
    inputs: Inputs,
    step_s: int,
    members: Members,
    areas: list[Area],
    memory_limit_mb: int | None,
    bytes_a_pixel: float | None,
) -> tuple[xr.Dataset, list[str]]:
    rates, newest = forecast["threshold"].to_numpy().tolist(), inputs.observed[-1]
    H, W = newest.grid.shape
    needed = members_mb(exceedance.shape, whole=not hasattr(exceedance, "dask"), measured=bytes_a_pixel)
    if memory_limit_mb is not None and needed > memory_limit_mb:
        raise UserError(f"they need {needed:.0f} MB on {H}×{W} pixels, and {memory_limit_mb} are allowed")
    # With the time, or every cycle's errors would be those of the one before.
    seed = members.seed + int(newest.time.astype("datetime64[s]").astype(np.int64))
    drawn = draw_by_lead(exceedance, rates, inputs.rain_rate, count=members.count, seed=seed)
    made = gather(drawn, forecast, newest, step_s, areas, members)
    lacking = f"members: {made.members} of {members.count} in {members.max_seconds} s"
    forecast = add_percentiles(forecast, RATE, rate_percentiles(exceedance, rates))
    return add_members(forecast, made, members.amounts, seed), [lacking] if made.members < members.count else []
