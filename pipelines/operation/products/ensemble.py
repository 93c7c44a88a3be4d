"""What members say beyond their probabilities at a pixel: of amounts of rain, and of the mean rain of areas."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.nowcast.methods.distribution import Exceedance
from pipelines.nowcast.methods.members import quantiles
from pipelines.operation.products.accumulation import PERIODS_MIN, amounts
from pipelines.operation.products.areas import Area, area_means
from pipelines.operation.products.dataset import RATE
from pipelines.operation.products.variables import HUNDREDTHS, OF_PROBABILITY, chunked, probabilities, threshold
from pipelines.radar.frame import Frame, Rain

PERCENTILES = (10, 50, 90)
FEWEST = 2
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
    maps, of_areas : mapping of str to list of E arrays (times, H, W) and (times, A)
        By variable of the forecast, mm/h and mm; maps of rain rate only if members are to be kept.
    """

    members: int
    maps: Mapping[str, list[Rain]]
    of_areas: Mapping[str, list[Rain]]


def needed_mb(count: int, shape: tuple[int, int], leads: int, *, rates: int, keep: bool) -> float:
    """Return the memory that members need at most beside the forecast, MB; measured, see docs/operations.md.

    Three maps of amounts are kept of each member, and all its lead times to ``keep`` it: twice, while they are stacked.
    """
    kept = 4 * count * (3 + 2 * leads * keep)
    return (kept + 4 * leads * rates + 40 * leads + 250) * shape[0] * shape[1] / 1e6


def gather(
    members: Iterator[Rain], newest: Frame, step_s: int, areas: Sequence[Area], *, keep: bool, max_seconds: float
) -> Ensemble:
    """Sum up members one after the other, until ``max_seconds`` are over; raises UserError for fewer than `FEWEST`."""
    start, count = monotonic(), 0
    maps, of_areas = defaultdict[str, list[Rain]](list), defaultdict[str, list[Rain]](list)
    for member in members:
        count += 1
        fields = {RATE: member}
        for minutes in PERIODS_MIN:
            amount, lasts = amounts(member, newest.rain_rate, step_s, 60 * minutes, instants=not newest.interval_s)
            if lasts.size:
                fields[f"rainfall_amount_{minutes}min"] = amount
        for name, field in fields.items():
            if keep or name != RATE:
                maps[name].append(field)
            if areas:
                of_areas[name].append(area_means(field, areas))
        if monotonic() - start > max_seconds:
            break
    if count < FEWEST:
        raise UserError(f"{count} in {max_seconds:g} s, and {FEWEST} at least are wanted")
    return Ensemble(count, maps, of_areas)


def statistics(
    members: Sequence[NDArray[np.float32]], thresholds: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return percentiles (times, P, ...) of E members (times, ...), and their shares (times, K, ...) at thresholds.

    A percentile lies between the members around it, of which the e-th lowest is the one of (e - 0.5) / E (Hazen). NaN
    where a member is NaN.
    """
    times, *place = members[0].shape
    percentiles = np.empty((times, len(PERCENTILES), *place), np.float32)
    shares = np.empty((times, len(thresholds), *place), np.float32)
    position = np.clip(len(members) * np.array(PERCENTILES) / 100 - 0.5, 0, len(members) - 1)
    for time in range(times):
        ordered = np.sort([member[time] for member in members], axis=0)  # NaN last
        for number, at in enumerate(position):
            low, high = ordered[int(at)], ordered[min(int(at) + 1, len(members) - 1)]
            percentiles[time, number] = low + np.float32(at % 1) * (high - low)
        for number, one in enumerate(thresholds):
            shares[time, number] = (ordered >= np.float32(one)).mean(axis=0, dtype=np.float32)
        unknown = np.isnan(ordered[-1])
        percentiles[time, :, unknown] = shares[time, :, unknown] = np.nan
    return percentiles, shares


def rate_percentiles(exceedance: Exceedance, rates: Sequence[float]) -> Rain:
    """Return the percentiles (leads, P, H, W) of rain rate that a distribution (leads, K, H, W) has, mm/h."""
    levels = [np.full(exceedance.shape[2:], 1 - one / 100, np.float32) for one in PERCENTILES]
    of_leads = map(np.asarray, exceedance)
    return np.stack([np.stack([quantiles(of_lead, rates, level) for level in levels]) for of_lead in of_leads])


def add_percentiles(forecast: xr.Dataset, name: str, values: NDArray[np.float32], **attrs: object) -> xr.Dataset:
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
    given = {name: fields for name, fields in ensemble.maps.items() if name != RATE}
    given |= {f"region_{name}": fields for name, fields in ensemble.of_areas.items()}
    for name, fields in given.items():
        axis = "threshold" if name.endswith(RATE) else "amount_threshold"
        percentiles, shares = statistics(fields, forecast[axis].to_numpy().tolist())
        forecast = add_percentiles(forecast, name, percentiles, **said)
        variable = probabilities(forecast[name], axis, shares, WORDS[axis], **said)
        forecast = forecast.assign({f"{name}{OF_PROBABILITY}": chunked(variable)})
    if RATE in ensemble.maps:
        rain = forecast[RATE].variable
        attrs = rain.attrs | {"long_name": "rain rate of a member", "seed": np.int64(seed)}
        encoding = {"coordinates": rain.encoding["coordinates"]}
        variable = xr.Variable(("realization", *rain.dims), np.stack(ensemble.maps[RATE]), attrs, encoding)
        number = xr.Variable(
            "realization",
            np.arange(ensemble.members, dtype=np.int32),
            {"standard_name": "realization", "long_name": "member", "units": "1"},
        )
        forecast = forecast.assign_coords(realization=number).assign({f"{RATE}_member": chunked(variable)})
    return forecast
