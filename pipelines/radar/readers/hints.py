"""What the user says of files that are silent: it counts there, and elsewhere must be what the file says."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyproj

from pipelines.radar.grid import same_projection
from pipelines.radar.readers.header import Header
from pipelines.radar.readers.names import times_in
from pipelines.radar.readers.radar_file import RadarFile
from pipelines.radar.readers.units import data_unit

# In a name: a nowcast's, or a lead time or an offset after its time.
FORECAST_NAME = re.compile(r"(?:now|fore)cast|fcst|(?<=\d{4})Z?[+]\d+", re.IGNORECASE)
MINUTE = np.timedelta64(60, "s")
# What strptime's directives match, of those that make up a time.
DIRECTIVES = {"Y": r"\d{4}", "j": r"\d{3}", "b": "[A-Za-z]{3}"} | dict.fromkeys("ymdHMS", r"\d{2}")


def check_hints(file: RadarFile, headers: Sequence[Header]) -> None:
    """Refuse a file one of whose headers says otherwise than the user, by a ValueError that names both."""
    hints = file.hints
    for header in headers:
        if hints.unit is not None and (unit := data_unit(hints.unit)[0]) != header.unit:
            raise contradiction("unit", unit, header.unit)
        if hints.interval_s is not None and hints.interval_s != header.interval_s:
            raise contradiction("interval_s", hints.interval_s, header.interval_s or "an instant")
        if hints.time_is is not None and hints.time_is != header.time_is:
            raise contradiction("time_is", hints.time_is, header.time_is)
    if hints.crs is not None:
        crs = projection(hints.crs)
        for grid in {header.grid for header in headers}:
            if not same_projection(grid.crs, crs):
                raise contradiction("crs", crs.name, grid.crs.name)
    if hints.time_pattern is not None:
        named = time_in_name(file.name, hints.time_pattern)
        if not any(named <= moment < named + MINUTE for header in headers for moment in header.moments):
            raise contradiction("time_pattern", f"{named} by the file's name", headers[0].time)


def contradiction(key: str, user: object, file: object) -> ValueError:
    """Return the error that a file says something else than the user."""
    return ValueError(f"{key}: params.yaml says {user}, and the file {file}")


def projection(words: str) -> pyproj.CRS:
    """Return the projection that the user names; a ValueError if PROJ knows none of that name."""
    try:
        return pyproj.CRS.from_user_input(words)
    except pyproj.exceptions.CRSError:
        raise ValueError(f"crs: {words!r} in params.yaml is no projection that PROJ knows") from None


def time_by_name(file: RadarFile) -> np.datetime64:
    """Return the time that a file's name has, where its content has none; raises ValueError if there is none."""
    if file.hints.time_pattern is not None:
        return time_in_name(file.name, file.hints.time_pattern)
    if said := FORECAST_NAME.search(file.name):
        raise ValueError(f"a nowcast, or a time with an offset, by its name ({said[0]}), and no `time_pattern` for it")
    found = {time for time, _ in times_in(file.name)}
    if len(found) != 1:
        number = "several times in its name" if found else "no time in the file or its name"
        raise ValueError(f"{number}, and no `time_pattern` for its name in params.yaml")
    return found.pop()


def time_in_name(name: str, pattern: str) -> np.datetime64:
    """Return the time that ``pattern``, a part of a file's name in strptime's words, finds; a ValueError if none."""
    parts = re.split(r"%(.)", pattern)
    try:
        words = [DIRECTIVES[part] if i % 2 else re.escape(part) for i, part in enumerate(parts)]
    except KeyError as error:
        known = ", ".join(f"%{one}" for one in DIRECTIVES)
        raise ValueError(f"time_pattern: %{error.args[0]} in params.yaml is none of {known}") from None
    found = re.search("".join(words), Path(name).name, re.ASCII)
    if not found:
        raise ValueError(f"its name has no time like {pattern}, params.yaml's time_pattern")
    return np.datetime64(datetime.strptime(found[0], pattern), "s")
