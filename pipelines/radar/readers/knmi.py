"""KNMI HDF5 (KNMI HDF5 data format specification 3.5): rain amounts, rain rate and reflectivity.

pysteps' importer is not used: it has the calibration built in, and the file's own may differ.
"""

import re
from contextlib import suppress

import h5py
import numpy as np
from numpy.typing import NDArray

from pipelines.params.radar import FileHints
from pipelines.radar.grid import Grid
from pipelines.radar.readers.georeference import grid_from_corners
from pipelines.radar.readers.hdf5 import group, has, image, number, numbers, text, whole
from pipelines.radar.readers.header import Header, nowcast, utc
from pipelines.radar.readers.missing import agreed_nodata, equal
from pipelines.radar.readers.radar_file import RadarFile
from pipelines.radar.readers.units import Unit

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
NUMBER = r"([+-]?\d+\.?\d*(?:[eE][+-]?\d+)?)"
# geo_parameter of an image: PRECIP_[MM], ACCUMULATED_PRECIPITATION_[MM], REFLECTIVITY_[DBZ] and so on.
PARAMETER = re.compile(
    r"(?:ACCUMULATED_)?(?:PRECIP|RAIN)\w*?_?\[(MM|MM/HR?|MM/HOUR)\]|REFLECTIVITY\w*?_?\[(DBZ)\]", re.IGNORECASE
)
UNITS: dict[str, Unit] = {"MM": "mm", "DBZ": "dBZ"}  # others are rates


def recognises(file: RadarFile) -> bool:
    """Whether the file has KNMI's overview and georeference."""
    return file.is_hdf5 and "overview" in file.hdf5 and "geographic" in file.hdf5


def headers(file: RadarFile) -> list[Header]:
    """Return the header of the image: an amount ends at the file's end time, all else is of then.

    Images of quality and adjustment, which come beside it, are left. A file with several images of rain is a forecast.
    """
    overview = group(file.hdf5, "overview")
    start, end = (_time(f"product_datetime_{name}", overview) for name in ("start", "end"))
    images = _images(file)
    first = images[0]
    grid = _grid(file.hdf5)
    image(first, "image_data", grid.shape)
    _calibration(first), _sentinels(first, file.hints)
    valid = _time("image_datetime_valid", first) if has("image_datetime_valid", first) else end
    refusal = None
    if len(images) > 1:
        refusal = f"{len(images)} images of {text('image_geo_parameter', first)}: a nowcast, not an observation"
    elif valid > end:
        refusal = nowcast(end, valid)
    unit, radars = _unit(first), _radars(file.hdf5)
    if unit == "mm":
        return [Header(end, "end", int((end - start) / np.timedelta64(1, "s")), unit, grid, refusal, radars)]
    return [Header(end, "instant", 0, unit, grid, refusal, radars)]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels in the header's unit by the file's own calibration: NaN where missing or out of the image.

    In reflectivity the lowest number, 0, is both "missing" and the bottom of the scale: no echo inside the
    image, which is -inf dBZ. Outside has another number.
    """
    first = _images(file)[0]
    gain, offset = _calibration(first)
    missing, outside = _sentinels(first, file.hints)
    raw = image(first, "image_data")[...]
    # There are fewer numbers than pixels: each is looked up in what all numbers stand for.
    levels = np.arange(1 << 8 * raw.itemsize).astype(raw.dtype) if raw.dtype.kind == "u" and raw.itemsize < 4 else raw
    unpacked = levels * gain + offset
    result = unpacked.copy()
    for sentinel in missing:
        result[equal(levels, unpacked, sentinel)] = -np.inf if _unit(first) == "dBZ" and sentinel == 0 else np.nan
    for sentinel in outside:
        result[equal(levels, unpacked, sentinel)] = np.nan
    return result if levels is raw else result[raw]


def _images(file: RadarFile) -> list[h5py.Group]:
    """Return the images of rain or reflectivity, or of the parameter that the user names."""
    names = [name for name in file.hdf5 if re.fullmatch(r"image\d+", name)]
    images = [group(file.hdf5, name) for name in sorted(names, key=lambda name: int(name.removeprefix("image")))]
    parameters = [text("image_geo_parameter", one) for one in images]
    wanted = file.hints.variable or next(filter(PARAMETER.fullmatch, parameters), None)
    found = [one for one, parameter in zip(images, parameters, strict=True) if parameter == wanted]
    if not found or not PARAMETER.fullmatch(wanted or ""):
        raise ValueError(f"an image of {', '.join(parameters) or 'nothing'}, not of {wanted or 'rain or reflectivity'}")
    return found


def _radars(root: h5py.File) -> dict[str, bool]:
    """Return the radars by name; one that isn't operational is out."""
    groups = [group(root, name) for name in sorted(root) if re.fullmatch(r"radar\d+", name)]
    return {
        text("radar_name", one): not has("radar_operational", one) or whole("radar_operational", one) != 0
        for one in groups
        if has("radar_name", one)
    }


def _unit(one: h5py.Group) -> Unit:
    found = PARAMETER.fullmatch(text("image_geo_parameter", one))
    assert found is not None  # or it wouldn't be among the images
    return UNITS.get((found[1] or found[2]).upper(), "mm/h")


def _calibration(one: h5py.Group) -> tuple[float, float]:
    """Return gain and offset of an image."""
    formula = text("calibration_formulas", group(one, "calibration"))
    found = re.fullmatch(rf"GEO\s*=\s*{NUMBER}\s*\*\s*PV\s*(?:([+-])\s*{NUMBER})?", formula)
    if not found:
        raise ValueError(f"calibration {formula!r} is not linear")
    return float(found[1]), float(f"{found[2]}1") * float(found[3]) if found[2] else 0.0


def _sentinels(one: h5py.Group, hints: FileHints) -> tuple[list[float], list[float]]:
    """Return the numbers that stand for missing, and for out of the image."""
    calibration = group(one, "calibration")
    missing, outside = (
        [float(sentinel) for sentinel in numbers(f"calibration_{name}", calibration)]
        for name in ("missing_data", "out_of_image")
    )
    if not outside:
        raise ValueError(f"no attribute calibration_out_of_image in {calibration.name}")
    agreed_nodata(missing + outside, hints)
    return missing, outside


def _time(name: str, one: h5py.Group) -> np.datetime64:
    """Return the time in an attribute like ``26-AUG-2010;00:00:00.000``."""
    words = text(name, one)
    found = re.fullmatch(r"(\d\d)-([A-Z]{3})-(\d{4});(\d\d):(\d\d):(\d\d)(\.\d*)?", words.upper(), re.ASCII)
    if found and found[2] in MONTHS:
        with suppress(ValueError):
            time = utc(f"{found[3]}{MONTHS.index(found[2]) + 1:02}{found[1]}{found[4]}{found[5]}{found[6]}")
            return time + np.timedelta64(round(float(f"0{found[7] or ''}")), "s")
    raise ValueError(f"attribute {name} in {one.name} is {words!r}, which is no time")


def _grid(root: h5py.File) -> Grid:
    """Return the grid in metres; files speak of kilometres, in some the axes of the ellipsoid included."""
    geographic = group(root, "geographic")
    if text("geo_dim_pixel", geographic) != "KM,KM" or text("geo_pixel_def", geographic) != "LU":
        raise ValueError("a grid that isn't in kilometres from its upper left")
    projection = text("projection_proj4_params", group(geographic, "map_projection"))
    dx, dy = (1000 * float(number(f"geo_pixel_size_{axis}", geographic)) for axis in "xy")
    if dy >= 0:
        raise ValueError("a grid whose rows run north")
    corners = [float(corner) for corner in numbers("geo_product_corners", geographic)]
    if len(corners) != 8:
        raise ValueError(f"attribute geo_product_corners in {geographic.name} is {len(corners)} numbers, not 8")
    return grid_from_corners(
        projection,
        (whole("geo_number_rows", geographic), whole("geo_number_columns", geographic)),
        lower_left=(corners[0], corners[1]),
        upper_right=(corners[4], corners[5]),
        pixel=(dx, -dy),
        origin=(
            float(number("geo_column_offset", geographic)) * dx,
            float(number("geo_row_offset", geographic)) * dy,
        ),
    )
