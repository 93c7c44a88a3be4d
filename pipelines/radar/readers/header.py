"""What a radar file says: its header, and how its numbers become rain rate."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.common.limits import TooLarge, check_unpacked
from pipelines.radar.frame import FrameHeader
from pipelines.radar.grid import Grid
from pipelines.radar.readers.units import Unit

MOST_SIDE = 1 << 16  # the largest composites have a tenth
DRY_DBZ = 0.0  # below it is no rain: 0.036 mm/h by Marshall and Palmer
# Beyond them is a number for "missing" that the file doesn't declare, -999 or 255 say. Producers write down to -32.5
# for "no echo", a byte of half dBZ ends at 95.5, and MeteoSwiss' scale at 230,000 mm/h.
LEAST_DBZ, MOST_DBZ, MOST_RATE = -40.0, 100.0, 1e6
UNDERSHOOT = -1.0  # mm/h; smoothed fields fall a little below 0 beside rain: down to this is no rain, lower is wrong
WRITTEN_TIME = re.compile(
    r"(\d{4})[-:/]?(\d{1,2})[-:/]?(\d{1,2})(?:[T ]+(\d{1,2})(?::?(\d{1,2})(?::?(\d{1,2})(?:[.,](\d*))?)?)?)?"
    r"\s*(?:Z|UTC|GMT|([+-])(\d{1,2}):?(\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Header:
    """All that a radar file says but its pixels.

    Parameters
    ----------
    time : numpy.datetime64
        UTC, exact to the second.
    time_is : {"instant", "start", "end"}
        What ``time`` is of that which was measured.
    interval_s : int
        Seconds over which rain was accumulated; 0 for an instant.
    unit : {"dBZ", "mm", "mm/h"}
        Of the pixels.
    grid : Grid
    refusal : str, optional
        Why the frame can't be taken, if so; see :func:`nowcast`.
    radars : mapping of str to bool
        Names of the composite's radars, and whether they contributed; empty if the file doesn't say.
    """

    time: np.datetime64
    time_is: Literal["instant", "start", "end"]
    interval_s: int
    unit: Unit
    grid: Grid
    refusal: str | None = None
    radars: Mapping[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.interval_s > 0) != (self.time_is != "instant") or (self.unit == "mm" and self.interval_s <= 0):
            raise ValueError(f"{self.unit} over {self.interval_s} s, its time the {self.time_is}: no such interval")

    @property
    def moments(self) -> list[np.datetime64]:
        """The time, and the other end of the interval."""
        other = np.timedelta64(self.interval_s if self.time_is == "start" else -self.interval_s, "s")
        return [self.time, self.time + other]

    @property
    def kind(self) -> str:
        """What is measured, in words: frames of one store have the same."""
        if self.time_is == "instant":
            return f"{self.unit} at an instant"
        return f"{self.unit} over {self.interval_s} s, its time the {self.time_is}"

    def of_frame(self, z_r: tuple[float, float], source: str, sha256: str) -> FrameHeader:
        """Return the header of the frame that it becomes, by a and b of Z = a·R^b where it is reflectivity."""
        return FrameHeader(
            self.time,
            self.grid,
            self.time_is,
            self.interval_s,
            z_r if self.unit == "dBZ" else None,
            source,
            sha256,
        )


def check_pixels(*sides: int) -> None:
    """Refuse a frame that is too large, of 8 bytes a pixel, or on a side; raises `pipelines.common.limits.TooLarge`.

    The run itself keeps the axes of all grids that there are.
    """
    check_unpacked(8 * prod(sides), f"a frame of {prod(sides)} pixels")
    if max(sides) > MOST_SIDE:
        raise TooLarge(f"too large: a frame of {'×'.join(map(str, sides))} pixels; on a side are {MOST_SIDE} at most")


def nowcast(issued: np.datetime64, valid: np.datetime64) -> str:
    """Return the refusal of a forecast, which is never an observation."""
    (_, issued_at), (date, valid_at) = (np.datetime_as_string(time, "m").split("T") for time in (issued, valid))
    return f"a nowcast of {issued_at} for {valid_at} UTC, {date}"


def utc(digits: str) -> np.datetime64:
    """Return the time of ``YYYYMMDDhhmm`` or ``YYYYMMDDhhmmss``; raises ValueError if it is none."""
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?", digits, re.ASCII)
    if found:
        year, month, day, hour, minute, second = found.groups(default="00")
        with suppress(ValueError):
            return np.datetime64(f"{year}-{month}-{day}T{hour}:{minute}:{second}", "s")
    raise ValueError(f"{digits!r} is no time")


def parsed_time(text: str) -> datetime:
    """Return the UTC of a time as people write it: ISO 8601 or nearly so, with an offset or UTC where it has none.

    Raises
    ------
    ValueError
        If it is none.
    """
    if text.isdecimal():
        return utc(text).astype(datetime)
    found = WRITTEN_TIME.fullmatch(text.strip())
    if found:
        year, month, day, hour, minute, second, fraction, sign, hours, minutes = found.groups(default="0")
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        with suppress(ValueError, OverflowError):
            time = datetime(*map(int, (year, month, day, hour, minute, second)))  # type: ignore[arg-type]
            time += timedelta(seconds=float(f"0.{fraction}"))
            return time + offset if sign == "-" else time - offset
    raise ValueError(f"{text!r} is no time that is understood")


def to_rain_rate(values: NDArray[np.floating], header: Header, z_r: tuple[float, float]) -> NDArray[np.float32]:
    """Return the rain rate of what a file holds.

    Parameters
    ----------
    values : ndarray of shape (H, W)
        In the header's unit; NaN for no data; -inf dBZ where nothing was detected.
    z_r : tuple of float
        a and b of Z = a·R^b, Z in mm⁶ m⁻³, R in mm/h (Marshall and Palmer 1948, J. Meteor. 5, 165–166).
        Reflectivity below `DRY_DBZ` is 0 mm/h; below `LEAST_DBZ`, but for -inf, and above `MOST_DBZ` it is no data,
        and so is rain above `MOST_RATE`.

    Returns
    -------
    ndarray of shape (H, W)
        mm/h, NaN for no data.

    Raises
    ------
    ValueError
        If there is rain below `UNDERSHOOT`, or no valid pixel.
    """
    if header.unit == "dBZ":
        a, b = z_r
        dbz = values.astype(np.float32)
        rain_rate = np.exp(dbz * np.float32(np.log(10) / (10 * b))) * np.float32(a ** (-1 / b))
        rain_rate[dbz < DRY_DBZ] = 0
        rain_rate[(dbz < LEAST_DBZ) & (dbz > -np.inf) | (dbz > MOST_DBZ)] = np.nan
    elif header.unit == "mm":
        rain_rate = (values * (3600 / header.interval_s)).astype(np.float32)
    else:
        rain_rate = values.astype(np.float32)
    if header.unit != "dBZ":
        rain_rate[rain_rate > MOST_RATE] = np.nan
    lowest = np.fmin.reduce(rain_rate, axis=None)
    if np.isnan(lowest):
        raise ValueError("no pixel is valid")
    if lowest < UNDERSHOOT:
        raise ValueError(f"negative rain: {lowest:.3g} mm/h")
    return np.maximum(rain_rate, 0)
