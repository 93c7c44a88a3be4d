"""A forecast as a CF dataset: all files of a cycle are written from it."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipelines.common.provenance import code_commit
from pipelines.common.rights import Rights, attributions
from pipelines.nowcast.methods.distribution import Exceedance
from pipelines.nowcast.registered_model import LoadedModel
from pipelines.operation.inputs import Inputs
from pipelines.operation.products.accumulation import PERIODS_MIN, amounts
from pipelines.operation.products.attributes import ForecastAttributes, InputFrame, MissingFrame
from pipelines.operation.products.names import stamp
from pipelines.operation.products.variables import OF_PROBABILITY, TIMES, chunked, probabilities, threshold
from pipelines.params.operation import Policy
from pipelines.radar.cf_grid import crs_attributes, grid_coordinates, has_lonlat_axes
from pipelines.radar.frame import Rain

RATE = "rainfall_flux"
PROBABILITY, FREQUENCY = RATE + OF_PROBABILITY, "rainfall_flux_exceedance_climatology"
MEMBER = "rainfall_flux_member"
SECONDS = {"dtype": "int64", "units": "seconds since 1970-01-01", "calendar": "standard", "_FillValue": None}


def forecast_dataset(
    rain_rate: Rain,
    inputs: Inputs,
    step_s: int,
    model: LoadedModel,
    policy: Policy,
    *,
    rights: Rights = Rights(),  # noqa: B008 - immutable
    exceedance: Exceedance | None = None,
    fallback: str | None = None,
    snapshot: str | None = None,
) -> xr.Dataset:
    """Put a forecast on its grid and clock, with its amounts and with what it was made from.

    Parameters
    ----------
    rain_rate : ndarray of shape (leads, H, W), mm/h
    step_s : int
        Seconds from one lead time to the next.
    rights : Rights
        Of the frames.
    exceedance : ndarray of shape (leads, K, H, W), optional
        At the model's K rates.
    fallback : str, optional
        Why it isn't the model that was asked for, if it isn't.
    snapshot : str, optional
        State of the live store that the frames were read from.

    Returns
    -------
    Dataset
        CF-1.11. ``rainfall_flux`` (lead_time, y, x), and for each of `PERIODS_MIN` that lead times fill
        ``rainfall_amount_30min`` (period_30min, y, x). With probabilities, `PROBABILITY` (lead_time, threshold, y, x)
        and, of a model that knows it, `FREQUENCY` (threshold).
    """
    newest = inputs.observed[-1]
    reference = newest.time.astype("datetime64[ns]")
    lead = np.arange(1, len(rain_rate) + 1) * np.int64(step_s)
    start = lead - (newest.interval_s if newest.time_is == "end" else 0)
    bounds = np.stack([start, start + newest.interval_s], axis=1)
    leap: dict[str, Any] = {"units_metadata": "leap_seconds: none"}
    period: dict[str, Any] = {"standard_name": "forecast_period", "units": "s"}
    coordinates = grid_coordinates(newest.grid) | {
        "lead_time": xr.Variable("lead_time", lead, period | {"long_name": "lead time"}),
        "forecast_reference_time": xr.Variable(
            (), reference, {"standard_name": "forecast_reference_time", "long_name": "time of the newest frame"} | leap
        ),
        "time": xr.Variable(
            "lead_time",
            reference + lead.astype("timedelta64[s]"),
            {"standard_name": "time", "long_name": "valid time", "time_is": newest.time_is} | leap,
        ),
    }
    if newest.interval_s:
        coordinates["lead_time_bounds"] = xr.Variable(("lead_time", "nv"), bounds)
        coordinates["lead_time"].attrs["bounds"] = "lead_time_bounds"
    variables = {
        "rainfall_flux": xr.Variable(
            ("lead_time", "y", "x"),
            rain_rate.astype(np.float32, copy=False),
            {
                "standard_name": "rainfall_flux",
                "long_name": "forecast rain rate",
                "units": "kg m-2 h-1",
                "grid_mapping": "crs",
                "cell_methods": f"lead_time: {'mean' if newest.interval_s else 'point'} area: mean",
            },
            # CF wants one longitude and one latitude of a grid: on a lat/lon grid x and y are they.
            {"coordinates": f"forecast_reference_time{'' if has_lonlat_axes(newest.grid.crs) else ' lat lon'} time"},
        ),
        "crs": xr.Variable((), np.int32(0), crs_attributes(newest.grid.crs)),
    }
    if has_lonlat_axes(newest.grid.crs):
        del coordinates["lat"], coordinates["lon"]
    for minutes in PERIODS_MIN:
        amount, lasts = amounts(rain_rate, newest.rain_rate, step_s, 60 * minutes, instants=not newest.interval_s)
        if not lasts.size:
            continue
        name, time = f"period_{minutes}min", f"time_{minutes}min"
        ends = bounds[lasts, 1]
        coordinates |= {
            name: xr.Variable(name, ends, period | {"long_name": "end of the period", "bounds": f"{name}_bounds"}),
            f"{name}_bounds": xr.Variable((name, "nv"), np.stack([ends - 60 * minutes, ends], axis=1)),
            time: xr.Variable(
                name,
                reference + ends.astype("timedelta64[s]"),
                {"standard_name": "time", "long_name": "end of the period, UTC"} | leap,
            ),
        }
        rain = variables["rainfall_flux"]
        variables[f"rainfall_amount_{minutes}min"] = xr.Variable(
            (name, "y", "x"),
            amount,
            {
                "standard_name": "rainfall_amount",
                "long_name": f"forecast rain over {minutes} minutes",
                "units": "kg m-2",
                "grid_mapping": "crs",
                "cell_methods": f"{name}: sum area: mean",
            },
            {"coordinates": rain.encoding["coordinates"].replace(" time", f" {time}")},
        )
    if exceedance is not None:
        rates = list(model.description.rates or ())
        coordinates["threshold"] = threshold(
            "threshold", rates, "rainfall_flux", "rain rate that is reached", "kg m-2 h-1"
        )
        words = "probability of a rain rate of at least the threshold"
        variables[PROBABILITY] = probabilities(variables["rainfall_flux"], "threshold", exceedance, words)
        if (climatology := model.description.climatology) is not None:
            variables[FREQUENCY] = xr.Variable(
                "threshold",
                np.array(climatology),
                {"long_name": "share of such rain in the training archives, without time and place", "units": "1"},
            )
    for variable in variables.values():
        chunked(variable)
    for variable in coordinates.values():
        variable.encoding |= dict(SECONDS) if np.issubdtype(variable.dtype, np.datetime64) else {"_FillValue": None}
    attributes = _attributes(inputs, model, policy, rights, fallback=fallback, snapshot=snapshot)
    return xr.Dataset(variables, coordinates, attributes)


def valid_times(forecast: xr.Dataset) -> dict[str, NDArray[np.datetime64]]:
    """Return each variable of maps with the valid times, or the ends of the periods, of its fields."""
    return {
        str(name): forecast[TIMES[str(variable.dims[0])]].to_numpy()
        for name, variable in forecast.data_vars.items()
        if variable.dims[-1:] == ("x",) and variable.dims[0] in TIMES
    }


def _attributes(
    inputs: Inputs, model: LoadedModel, policy: Policy, rights: Rights, *, fallback: str | None, snapshot: str | None
) -> dict[str, str]:
    conventions = {
        "Conventions": "CF-1.11",
        "institution": "not stated",
        "history": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} scs forecast",
        "references": "Pang et al. 2020, arXiv:2006.00212",
        "comment": "rain rate in mm/h, which kg m-2 h-1 is in number, and amounts in mm; NaN where nothing is known",
    }
    attributes = ForecastAttributes(
        title=f"Radar nowcast from {stamp(inputs.observed[-1].time)}",
        source=model.method if model.version is None else f"{model.method}: {model.name} version {model.version}",
        method=model.method,
        model_uri=model.uri,
        model_name=model.name,
        model_version=model.version,
        model_sha256=model.sha256,
        code_commit=code_commit(),
        live_store_snapshot=snapshot,
        input_frames=[InputFrame(time=str(f.time), file=f.source, sha256=f.sha256) for f in inputs.observed],
        missing_frames=[
            MissingFrame(time=str(time), why=why, stand_in=what)
            for time, (why, what) in sorted(inputs.gap_fills.items())
        ],
        policy=policy.model_dump(),
        fallback=fallback,
        license=rights.license,
        attribution=attributions([rights, *model.description.rights]),
    )
    return conventions | attributes.to_attrs()
