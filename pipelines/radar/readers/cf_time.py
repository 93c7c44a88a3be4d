"""Times of CF netCDF and Zarr: of what they are, over how long, and whether they are of a forecast."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import cftime
import numpy as np
from numpy.typing import NDArray

from pipelines.params.radar import SILENT
from pipelines.radar.readers.cf_axes import Role, role
from pipelines.radar.readers.forecast import refusal_by_attributes, written_time
from pipelines.radar.readers.header import nowcast, parsed_time
from pipelines.radar.readers.hints import time_by_name
from pipelines.radar.readers.missing import unpack
from pipelines.radar.readers.radar_file import RadarFile
from pipelines.radar.readers.units import seconds

if TYPE_CHECKING:
    import xarray as xr

CLOCK = re.compile(r"\s*(?P<unit>\S+)\s+since\s+(?P<start>.+?)\s*")
CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
LONGEST_UNIT = 7 * 86400.0  # seconds; months and years have no length of their own
EXACT = np.float64(0.0)
SECOND = np.timedelta64(1, "s")
Moments = NDArray[np.datetime64]


@dataclass(frozen=True)
class FrameTime:
    """When a frame is, as its header has it, and why it can't be taken if it is a forecast."""

    time: np.datetime64
    time_is: Literal["instant", "start", "end"]
    interval_s: int
    refusal: str | None


def frame_times(
    file: RadarFile, dataset: xr.Dataset, variable: xr.DataArray, frames: int, *, is_amount: bool
) -> list[FrameTime]:
    """Return the times of a variable's frames; raises ValueError if there is no time, or an amount has no interval.

    An interval is given by bounds, by a variable ``start_time`` of an amount, or by the user; it must end or start at
    the frame's time.
    """
    found = _coordinates(dataset, variable)
    time = found.get("T")
    issued = _moments(found["reference"]) if "reference" in found else None
    lead = _durations(found["lead"]) if "lead" in found else None
    if time is not None:
        valid = _moments(time)
    elif issued is not None and lead is not None:
        valid = issued + lead
    else:
        valid = np.atleast_1d(time_by_name(file))
    if lead is not None and issued is None:
        # One time for several lead times is that of issue.
        valid = valid + lead if valid.size < lead.size else valid
        issued = valid - lead
    elif time is not None and issued is None and "forecast" in str(time.attrs.get("long_name")).lower():
        issued = _decoded(np.zeros(1), time.attrs, time.name)  # pysteps counts from the start of its forecast
    if valid.size != frames:
        raise ValueError(f"{valid.size} time(s), and {variable.name} has {frames} frames")
    said = {name.lower(): value for name, value in (dataset.attrs | variable.attrs).items()}
    refusals = [
        refusal_by_attributes(said, moment) if issued is None else nowcast(start, moment) if moment > start else None
        for moment, start in zip(valid, valid if issued is None else np.broadcast_to(issued, frames), strict=True)
    ]
    hints = file.hints
    bounds = _bounds(dataset, time, valid, is_amount)
    if bounds is not None:
        pairs = zip(valid, np.broadcast_to(bounds, (frames, 2)), refusals, strict=True)
        return [_of_interval(time, start, end, refusal) for time, (start, end), refusal in pairs]
    if is_amount and hints.interval_s is None:
        silent = f"{variable.name} is an amount, its time has no bounds, and params.yaml no `interval_s` for it"
        raise ValueError(refusals[0] or silent)
    interval_s = hints.interval_s or 0
    time_is = hints.time_is or ("end" if interval_s else "instant")
    return [FrameTime(time, time_is, interval_s, refusal) for time, refusal in zip(valid, refusals, strict=True)]


def _coordinates(dataset: xr.Dataset, variable: xr.DataArray) -> dict[Role, xr.DataArray]:
    """Return the variables with times of frames, by their roles."""
    bounds = {one.attrs.get("bounds") for one in dataset.variables.values()}
    found: dict[Role, list[xr.DataArray]] = {}
    for name in dataset.variables:
        one = dataset[name]
        if name not in bounds and name != variable.name and one.ndim <= 1 and set(one.dims) <= set(variable.dims):
            what = role(one)
            if what in ("T", "reference", "lead"):
                found.setdefault(what, []).append(one)

    def rank(one: xr.DataArray) -> tuple[bool, bool, bool]:
        return "standard_name" not in one.attrs, one.name not in variable.dims, one.name not in ("time", "valid_time")

    for ones in found.values():
        ones.sort(key=rank)
    times = found.get("T", [])
    if len(times) > 1 and all(rank(times[0])):
        raise ValueError(f"which of {', '.join(str(one.name) for one in times)} is its time?")
    return {what: ones[0] for what, ones in found.items()}


def _bounds(dataset: xr.Dataset, time: xr.DataArray | None, valid: Moments, is_amount: bool) -> Moments | None:
    if time is not None and "bounds" in time.attrs:
        name = time.attrs["bounds"]
        if name not in dataset.variables:
            raise ValueError(f"{time.name} has the bounds {name}, which aren't there")
        return _moments(dataset[name], time.attrs).reshape(-1, 2)
    if is_amount and "start_time" in dataset:
        return np.stack([_moments(dataset["start_time"]), valid], axis=1)
    return None


def _of_interval(moment: np.datetime64, start: np.datetime64, end: np.datetime64, refusal: str | None) -> FrameTime:
    interval_s = int((end - start) / SECOND)
    if moment == end and interval_s:
        return FrameTime(moment, "end", interval_s, refusal)
    if moment == start and interval_s:
        return FrameTime(moment, "start", interval_s, refusal)
    raise ValueError(f"its time is {moment}, and its rain fell from {start} to {end}")


def _moments(data: xr.DataArray, of_parent: dict[str, Any] | None = None) -> Moments:
    """Return times, UTC to the second; bounds have the unit of their parent where they don't say it."""
    if data.dtype.kind in "OSU":
        words = np.ravel(data.to_numpy().astype(str))
        return np.array([written_time({data.name: word}, data.name) for word in words])
    numbers = unpack(data.to_numpy(), data.attrs, SILENT)
    width = data.dtype.type if data.dtype.kind == "f" else np.float64
    return _decoded(numbers, (of_parent or {}) | data.attrs, data.name, np.spacing(np.abs(numbers).max().astype(width)))


def _decoded(
    numbers: NDArray[np.float64], attributes: dict[str, Any], name: object, exact: np.floating = EXACT
) -> Moments:
    """Return the times of numbers that are ``exact`` to so much of their unit."""
    units, calendar = str(attributes.get("units")), str(attributes.get("calendar", "standard")).lower()
    found = CLOCK.fullmatch(units)
    try:
        if not found or calendar not in CALENDARS:
            raise ValueError
        start, factor = parsed_time(found["start"]), seconds(found["unit"])
        if factor > LONGEST_UNIT:
            raise ValueError
        # Until 1582 the standard calendar is Julius Caesar's.
        first = cftime.datetime(*start.timetuple()[:6], start.microsecond, calendar=calendar)
        clock = cftime.date2num(first, "seconds since 1970-01-01", calendar) + numbers.ravel() * factor
    except ValueError:
        raise ValueError(f"{name} is no time of a known calendar: {units}, {calendar}") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} is missing")
    # Clocks in days or hours are a little beside the second, and in 32 bits beside the minute.
    unit = 1 if exact * factor <= 1 else 60
    times = np.rint(clock / unit) * unit
    if unit == 60 and not np.abs(times - clock).max() <= exact * factor <= 30:
        raise ValueError(f"{name} is exact to {exact * factor:.0f} s alone, in {8 * exact.itemsize} bits: {units}")
    return times.astype("datetime64[s]")


def _durations(data: xr.DataArray) -> NDArray[np.timedelta64]:
    """Return lead times; those without a unit may be 0 alone."""
    numbers = unpack(np.atleast_1d(data.to_numpy()), data.attrs, SILENT)
    if not numbers.any():
        return np.zeros(numbers.size, "timedelta64[s]")
    return np.rint(numbers * seconds(str(data.attrs.get("units", "")))).astype("timedelta64[s]")
