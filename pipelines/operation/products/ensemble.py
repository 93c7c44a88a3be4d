"""What members say beyond their probabilities at a pixel: of amounts of rain, and of the mean rain of areas."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.nowcast.methods.distribution import Exceedance
from pipelines.nowcast.methods.members import quantiles
from pipelines.nowcast.methods.tiles import OnDisk, bands_of
from pipelines.operation.products.accumulation import PERIODS_MIN, Accumulation
from pipelines.operation.products.areas import Area, area_means
from pipelines.operation.products.dataset import MEMBER, RATE
from pipelines.operation.products.variables import HUNDREDTHS, OF_PROBABILITY, chunked, probabilities, threshold
from pipelines.params.operation import Members
from pipelines.radar.frame import Frame, Rain

PERCENTILES = (10, 50, 90)
FEWEST = 2
ROWS = 128  # of all members that are in memory at once
WORDS = {
    "threshold": "probability of a rain rate of at least the threshold",
    "amount_threshold": "probability of an amount of rain of at least the threshold",
}


class Ensemble(NamedTuple):
    """What is kept of E members.

    Parameters
    ----------
    members : int
        E.
    maps : mapping of str to dask array of shape (E, times, H, W)
        By variable of the forecast, mm/h and mm; of rain rate only if members are to be kept.
    of_areas : mapping of str to ndarray of shape (E, times, A)
    """

    members: int
    maps: Mapping[str, Any]
    of_areas: Mapping[str, NDArray[np.float32]]


def gather(
    drawn: Iterator[Iterator[Rain]],
    forecast: xr.Dataset,
    newest: Frame,
    step_s: int,
    areas: Sequence[Area],
    asked: Members,
) -> Ensemble:
    """Sum up members as they are drawn, until ``asked.max_seconds`` are over.

    Nothing of a member stays in memory, which a few of a continent would fill: amounts lie on disk.

    Parameters
    ----------
    drawn : iterator
        See :func:`pipelines.nowcast.methods.members.draw_by_lead`.
    forecast : Dataset
        With the variables that members are kept of.

    Raises
    ------
    UserError
        If there are fewer than `FEWEST` by then.
    """
    start, count = monotonic(), 0
    periods = {f"rainfall_amount_{minutes}min": 60 * minutes for minutes in PERIODS_MIN}
    periods = {name: seconds for name, seconds in periods.items() if name in forecast}
    kept = [*periods, *([RATE] if asked.keep else [])]
    maps = {name: OnDisk((asked.count, *forecast[name].shape), (ROWS, forecast.sizes["x"])) for name in kept}
    of_areas = {name: np.empty((asked.count, len(forecast[name]), len(areas)), np.float32) for name in (RATE, *periods)}

    def put(name: str, time: int, field: Rain) -> None:
        of_areas[name][count, time] = area_means(field, areas)
        if name in maps:
            maps[name][count, time] = field

    instants = not newest.interval_s
    for member in drawn:
        sums = {
            name: Accumulation(newest.rain_rate, step_s, period_s, instants=instants)
            for name, period_s in periods.items()
        }
        for lead, field in enumerate(member):
            put(RATE, lead, field)
            for name, period in sums.items():
                if (amount := period.add(field)) is not None:
                    put(name, lead // period.steps, amount)
            if late := monotonic() - start > asked.max_seconds:
                break
        count += lead == len(forecast[RATE]) - 1
        if late:
            break
    if count < FEWEST:
        raise UserError(f"{count} in {asked.max_seconds:g} s, and {FEWEST} at least are wanted")
    of_areas = {name: values[:count] for name, values in of_areas.items() if areas}
    return Ensemble(count, {name: fields.array()[:count] for name, fields in maps.items()}, of_areas)


def statistics(members: NDArray[np.float32], thresholds: Sequence[float]) -> tuple[Rain, NDArray[np.float32]]:
    """Return percentiles (P, ...) of E members (E, ...), and their shares (K, ...) at thresholds.

    A percentile lies between the members around it, of which the e-th lowest is the one of (e - 0.5) / E (Hazen). NaN
    where a member is NaN.
    """
    count, *place = members.shape
    percentiles = np.empty((len(PERCENTILES), *place), np.float32)
    shares = np.empty((len(thresholds), *place), np.float32)
    ordered = np.sort(members, axis=0)  # NaN last
    for into, at in zip(percentiles, np.clip(count * np.array(PERCENTILES) / 100 - 0.5, 0, count - 1), strict=True):
        low, high = ordered[int(at)], ordered[min(int(at) + 1, count - 1)]
        into[...] = low + np.float32(at % 1) * (high - low)
    for into, one in zip(shares, thresholds, strict=True):
        into[...] = (ordered >= np.float32(one)).mean(axis=0, dtype=np.float32)
    unknown = np.isnan(ordered[-1])
    percentiles[:, unknown] = shares[:, unknown] = np.nan
    return percentiles, shares


def statistics_of_maps(members: Any, thresholds: Sequence[float]) -> tuple[Any, Any]:
    """Return the same of members' maps (E, times, H, W): dask arrays (times, P, H, W) and (times, K, H, W)."""
    _, times, H, W = members.shape
    made = [OnDisk((times, len(of), H, W), (ROWS, W)) for of in (PERCENTILES, thresholds)]
    for time, rows in product(range(times), bands_of(members)):
        for into, values in zip(made, statistics(np.asarray(members[:, time, rows]), thresholds), strict=True):
            into[time, :, rows] = values
    percentiles, shares = (one.array() for one in made)
    return percentiles, shares


def rate_percentiles(exceedance: Exceedance, rates: Sequence[float]) -> Any:
    """Return the percentiles of rain rate that a distribution (leads, K, H, W) has, mm/h: dask, (leads, P, H, W)."""
    leads, _, H, W = exceedance.shape
    bands = bands_of(exceedance)
    made = OnDisk((leads, len(PERCENTILES), H, W), (bands[0].stop, W))
    for lead, rows in product(range(leads), bands):
        here = np.asarray(exceedance[lead, :, rows])
        levels = [np.full(here.shape[1:], 1 - one / 100, np.float32) for one in PERCENTILES]
        made[lead, :, rows] = np.stack([quantiles(here, rates, level) for level in levels])
    return made.array()


def add_percentiles(forecast: xr.Dataset, name: str, values: Any, **attrs: object) -> xr.Dataset:
    """Put the percentiles (times, P, ...) of one of its variables into a forecast.

    Without ``standard_name``: who looks for rain by that is to find the field.
    """
    of = forecast[name]
    about = {key: of.attrs[key] for key in ("units", "grid_mapping", "cell_methods") if key in of.attrs}
    variable = xr.Variable(
        (of.dims[0], "percentile", *of.dims[1:]),
        values,
        about | {"long_name": f"percentile of {of.attrs['long_name'].removeprefix('forecast ')}"} | attrs,
        {"coordinates": of.encoding["coordinates"]} | (HUNDREDTHS if "y" in of.dims else {}),
    )
    coordinate = xr.Variable(
        "percentile",
        np.array(PERCENTILES, np.float32),
        {"long_name": "percentile", "units": "%"},
        {"_FillValue": None},
    )
    return forecast.assign_coords(percentile=coordinate).assign({f"{name}_percentile": chunked(variable)})


def add_members(forecast: xr.Dataset, ensemble: Ensemble, amounts_mm: Sequence[float], seed: int) -> xr.Dataset:
    """Put what members say into a forecast: percentiles and probabilities of amounts and areas, themselves if kept.

    Areas are those that the forecast has already, see `pipelines.operation.products.region`.
    """
    said = {"members": np.int32(ensemble.members)}
    coordinate = threshold(
        "amount_threshold", amounts_mm, "rainfall_amount", "amount of rain that is reached", "kg m-2"
    )
    forecast = forecast.assign_coords(amount_threshold=coordinate)
    thresholds = {axis: forecast[axis].to_numpy().tolist() for axis in ("threshold", "amount_threshold")}
    given = {
        name: statistics_of_maps(fields, thresholds["amount_threshold"])
        for name, fields in ensemble.maps.items()
        if name != RATE
    }
    for name, fields in ensemble.of_areas.items():
        of_name = statistics(fields, thresholds["threshold" if name == RATE else "amount_threshold"])
        given[f"region_{name}"] = of_name[0].swapaxes(0, 1), of_name[1].swapaxes(0, 1)
    for name, (of_members, shares) in given.items():
        axis = "threshold" if name.endswith(RATE) else "amount_threshold"
        forecast = add_percentiles(forecast, name, of_members, **said)
        variable = probabilities(forecast[name], axis, shares, WORDS[axis], **said)
        forecast = forecast.assign({f"{name}{OF_PROBABILITY}": chunked(variable)})
    if RATE in ensemble.maps:
        rain = forecast[RATE].variable
        attrs = rain.attrs | {"long_name": "rain rate of a member", "seed": np.int64(seed)}
        encoding = {"coordinates": rain.encoding["coordinates"]}
        variable = xr.Variable(("realization", *rain.dims), ensemble.maps[RATE], attrs, encoding)
        number = xr.Variable(
            "realization",
            np.arange(ensemble.members, dtype=np.int32),
            {"standard_name": "realization", "long_name": "member", "units": "1"},
        )
        forecast = forecast.assign_coords(realization=number).assign({MEMBER: chunked(variable)})
    return forecast
