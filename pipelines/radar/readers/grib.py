"""GRIB2: MRMS of NOAA, and others' rain rate, amount or reflectivity, one message a file."""

import re

import numpy as np
from numpy.typing import NDArray

from pipelines.radar.readers.gdal import band_of, grid_of, open_raster, pixels, unit_of
from pipelines.radar.readers.header import Header, nowcast
from pipelines.radar.readers.radar_file import RadarFile

MRMS = "209"  # discipline of GRIB2 that is NOAA's own
# MRMS' numbers: no radar sees, and one sees but can't tell; of reflectivity the second means no echo.
NO_COVERAGE = {"mm/h": -3.0, "mm": -3.0, "dBZ": -999.0}
MISSING = {"mm/h": (-1.0, np.nan), "mm": (-1.0, np.nan), "dBZ": (-99.0, -np.inf)}
# Over how long, in the name of an MRMS element: RadarOnly_QPE_01H, MultiSensor_QPE_24H_Pass2, RadarOnly_QPE_15M.
PERIOD = re.compile(r"_?(\d\d)([HM])(?:_Pass\d)?")
# Product definition templates with a period, and where its end stands in them.
PERIODS = {"8": 15, "9": 22, "10": 16, "11": 18, "12": 17}
OBSERVATION = 8  # type of generating process
SECOND = np.timedelta64(1, "s")
# Parameters of precipitation in the WMO's tables: rate, amount, water equivalents of both, rate of rain.
CATEGORY, PRECIPITATION = "1", ("7", "8", "49", "52", "65")
MRMS_PRECIPITATION = "6"  # a category; others have hail, snow, ice in a column, streamflow
RADAR = ("6", "7")  # types of processed data: satellite or radar observations


def recognises(file: RadarFile) -> bool:
    """Whether the content is GRIB of edition 2."""
    return file.content.startswith(b"GRIB") and file.content[7:8] == b"\x02"


def headers(file: RadarFile) -> list[Header]:
    """Return the header of the one message; one of a forecast says why it can't be taken."""
    with open_raster(file.content, "GRIB") as dataset:
        band = band_of(dataset, file.hints)
        unit, _ = unit_of(dataset, band, file.hints)
        tags = dataset.tags(band)
        if unit != "dBZ" and file.hints.variable is None and not _is_precipitation(tags):
            raise ValueError(f"{tags['GRIB_ELEMENT']} ({tags['GRIB_COMMENT']}), which isn't of precipitation")
        issued, time = _moment(tags["GRIB_REF_TIME"]), _moment(tags["GRIB_VALID_TIME"])
        interval_s, is_forecast, time_is = 0, bool(time > issued), file.hints.time_is
        if period := _period(tags):
            start, time = period
            interval_s, time_is = int((time - start) / SECOND), "end"
            is_forecast = bool(time > issued) and not _is_observed(tags)
        elif unit == "mm":
            named = _interval_s(tags)
            interval_s, time_is = named or file.hints.interval_s or 0, "end" if named else time_is
            if not interval_s:
                raise ValueError("GRIB2 of an amount without its period, and no `interval_s` for it in params.yaml")
        refusal = nowcast(issued, time) if is_forecast else None
        grid = grid_of(dataset, file.hints)
        return [Header(time, (time_is or "end") if interval_s else "instant", interval_s, unit, grid, refusal)]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels in the header's unit, row 0 north: NaN for no data, -inf dBZ for no echo."""
    with open_raster(file.content, "GRIB") as dataset:
        band = band_of(dataset, file.hints)
        unit, factor = unit_of(dataset, band, file.hints)
        result = pixels(dataset, band, file.hints)
        if dataset.tags(band)["GRIB_DISCIPLINE"].startswith(MRMS):
            missing, stands_for = MISSING[unit]
            result[result == missing] = stands_for
            result[result == NO_COVERAGE[unit]] = np.nan
        return result * factor


def _is_precipitation(tags: dict[str, str]) -> bool:
    """Whether it is so by the tables of parameters: speeds and depths have the same units."""
    category, number, *_ = *tags.get("GRIB_PDS_TEMPLATE_ASSEMBLED_VALUES", "").split(), "", ""
    if tags["GRIB_DISCIPLINE"].startswith(MRMS):
        return category == MRMS_PRECIPITATION
    return category == CATEGORY and number in PRECIPITATION


def _period(tags: dict[str, str]) -> tuple[np.datetime64, np.datetime64] | None:
    """Return start and end of the period of a statistic; None of an instant.

    The first is reference time and forecast time, the second is in the template.
    """
    template = [int(number) for number in tags.get("GRIB_PDS_TEMPLATE_ASSEMBLED_VALUES", "").split()]
    at = PERIODS.get(tags.get("GRIB_PDS_PDTN", ""))
    if at is None or len(template) < at + 6:
        return None
    year, month, day, hour, minute, second = template[at : at + 6]
    end = np.datetime64(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", "s")
    return _moment(tags["GRIB_REF_TIME"]) + int(tags["GRIB_FORECAST_SECONDS"].split()[0]) * SECOND, end


def _moment(tag: str) -> np.datetime64:
    """Return the time of a tag of GDAL's, which starts with seconds since 1970."""
    return np.datetime64(int(tag.split()[0]), "s")


def _is_observed(tags: dict[str, str]) -> bool:
    """Whether it says that it was measured: then a period after the reference time is no forecast."""
    kind = re.search(r"\bTYPE=(\d+)", tags.get("GRIB_IDS", ""))
    template = tags.get("GRIB_PDS_TEMPLATE_ASSEMBLED_VALUES", "").split()
    return bool(kind and kind[1] in RADAR) or template[2:3] == [str(OBSERVATION)]


def _interval_s(tags: dict[str, str]) -> int | None:
    found = PERIOD.search(tags.get("GRIB_ELEMENT", "")) if tags["GRIB_DISCIPLINE"].startswith(MRMS) else None
    return int(found[1]) * (3600 if found[2] == "H" else 60) if found else None
