"""KNMI HDF5 (KNMI HDF5 data format specification 3.5): accumulations and reflectivity.

pysteps' importer is not used: it has the calibration built in, and the file's own may differ.
"""

import re

import h5py
import numpy as np
from numpy.typing import NDArray

from pipelines.radar.grid import Grid
from pipelines.radar.readers.georeference import grid_from_corners
from pipelines.radar.readers.hdf5 import attribute, group, pixels
from pipelines.radar.readers.header import Header, utc
from pipelines.radar.readers.radar_file import RadarFile

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
NUMBER = r"([+-]?\d+\.?\d*(?:[eE][+-]?\d+)?)"


def recognises(file: RadarFile) -> bool:
    """Whether the file has KNMI's overview and georeference."""
    return file.is_hdf5 and "overview" in file.hdf5 and "geographic" in file.hdf5


def headers(file: RadarFile) -> list[Header]:
    """Return the header of the first image: an accumulation ends at the file's end time, reflectivity is of then.

    Raises
    ------
    ValueError
        If the image is neither, or the header contradicts itself.
    """
    root = file.hdf5
    overview = group(root, "overview")
    start, end = (_time(attribute(f"product_datetime_{name}", overview)) for name in ("start", "end"))
    parameter = attribute("image_geo_parameter", group(root, "image1"))
    if parameter.startswith("ACCUMULATED_PRECIPITATION") and "[MM]" in parameter:
        return [Header(end, "end", int((end - start) / np.timedelta64(1, "s")), "mm", _grid(root))]
    if parameter.startswith("REFLECTIVITY") and "[DBZ]" in parameter:
        return [Header(end, "instant", 0, "dBZ", _grid(root))]
    raise ValueError(f"an image of {parameter}")


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels in mm or dBZ by the file's own calibration: NaN where missing or out of the image.

    In reflectivity the lowest number, 0, is both "missing" and the bottom of the scale: no echo inside the
    image, which is -inf dBZ. Outside has another number.
    """
    image = group(file.hdf5, "image1")
    calibration = group(image, "calibration")
    formula = attribute("calibration_formulas", calibration)
    found = re.fullmatch(rf"GEO\s*=\s*{NUMBER}\s*\*\s*PV\s*([+-])\s*{NUMBER}", formula)
    if not found:
        raise ValueError(f"calibration {formula!r} is not linear")
    raw = pixels(image, "image_data", _shape(file.hdf5))
    result = raw * float(found[1]) + float(f"{found[2]}1") * float(found[3])
    missing = attribute("calibration_missing_data", calibration)
    outside = attribute("calibration_out_of_image", calibration)
    reflectivity = attribute("image_geo_parameter", image).startswith("REFLECTIVITY")
    result[raw == missing] = -np.inf if reflectivity and missing == 0 else np.nan
    result[raw == outside] = np.nan
    return result


def _time(text: str) -> np.datetime64:
    """Time of ``26-AUG-2010;00:00:00.000``."""
    found = re.fullmatch(r"(\d\d)-([A-Z]{3})-(\d{4});(\d\d):(\d\d):(\d\d)(\.\d*)?", text.upper(), re.ASCII)
    if not found or found[2] not in MONTHS:
        raise ValueError(f"{text!r} is no time")
    return utc(f"{found[3]}{MONTHS.index(found[2]) + 1:02}{found[1]}{found[4]}{found[5]}{found[6]}")


def _shape(file: h5py.File) -> tuple[int, int]:
    geographic = group(file, "geographic")
    return int(attribute("geo_number_rows", geographic)), int(attribute("geo_number_columns", geographic))


def _grid(file: h5py.File) -> Grid:
    """Grid in metres; files speak of kilometres, the axes of the ellipsoid included."""
    geographic = group(file, "geographic")
    if attribute("geo_dim_pixel", geographic) != "KM,KM" or attribute("geo_pixel_def", geographic) != "LU":
        raise ValueError("a grid that isn't in kilometres from its upper left")
    projection = attribute("projection_proj4_params", group(geographic, "map_projection"))
    projection = re.sub(
        rf"\+?\b(a|b|x_0|y_0)={NUMBER}",
        lambda found: f"+{found[1]}={round(float(found[2]) * 1000, 3)}",
        projection,
    )
    dx, dy = (1000 * float(attribute(f"geo_pixel_size_{axis}", geographic)) for axis in "xy")
    if dy >= 0:
        raise ValueError("a grid whose rows run north")
    corners = np.asarray(geographic.attrs["geo_product_corners"], dtype=np.float64).tolist()
    return grid_from_corners(
        projection,
        _shape(file),
        lower_left=(corners[0], corners[1]),
        upper_right=(corners[4], corners[5]),
        pixel=(dx, -dy),
        origin=(
            float(attribute("geo_column_offset", geographic)) * dx,
            float(attribute("geo_row_offset", geographic)) * dy,
        ),
    )
