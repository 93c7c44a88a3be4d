"""What GeoTIFF and GRIB2 have in common: GDAL reads them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.params.radar import FileHints
from pipelines.radar.grid import Grid
from pipelines.radar.readers.containment import check_raster
from pipelines.radar.readers.georeference import crs_of
from pipelines.radar.readers.header import check_pixels
from pipelines.radar.readers.hints import projection
from pipelines.radar.readers.missing import numbers, unpack
from pipelines.radar.readers.units import Unit, agreed_unit

MEMORY_NAME = re.compile(r"'?(?:/vsimem/)?[-0-9a-f]{36}\S*\s*")  # of a file that GDAL has in memory
DIGITS = 8  # of degrees: GRIB2 has 6, and GDAL computes with them
# Tags that GDAL has taken from netCDF, say, where they are attributes.
UNKNOWN_UNITS = ("[-]", "-", "[]")  # GDAL's of GRIB
SENTINELS = ("_FillValue", "missing_value", "valid_range", "valid_min", "valid_max")


@contextmanager
def open_raster(content: bytes, driver: str) -> Iterator[Any]:
    """Open the content of a file; raises ValueError if GDAL can't, it is too large, or leads to other files."""
    import rasterio  # here: GDAL takes a tenth of a second that other formats needn't wait for
    from rasterio._err import CPLE_BaseError
    from rasterio.io import MemoryFile

    try:
        with (
            rasterio.Env(GDAL_NUM_THREADS="1", GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO"),
            MemoryFile(content) as memory,
            memory.open(driver=driver) as dataset,
        ):
            check_pixels(dataset.height, dataset.width)
            check_raster(dataset)
            yield dataset
    except (rasterio.errors.RasterioError, CPLE_BaseError) as error:
        raise ValueError(f"GDAL can't read it: {MEMORY_NAME.sub('', str(error))}") from error
    except UnicodeDecodeError:
        raise ValueError("GDAL can't read it: its tags are no text") from None


def band_of(dataset: Any, hints: FileHints) -> int:
    """Return the number of the band to read: the only one beside a mask, or the one that the user names.

    Raises
    ------
    ValueError
        If there are several, or none of that name, or its numbers aren't to be understood.
    """
    bands = [band for band in dataset.indexes if dataset.colorinterp[band - 1].name != "alpha"]
    names = {band: dataset.tags(band).get("GRIB_ELEMENT") or dataset.descriptions[band - 1] or "" for band in bands}
    if hints.variable is not None and (any(names.values()) or hints.variable.isdecimal()):
        bands = [band for band in bands if hints.variable in (names[band], str(band))]
        if not bands:
            raise ValueError(
                f"no band {hints.variable}, which params.yaml names; there are {', '.join(names.values())}"
            )
    if len(bands) != 1:
        raise ValueError(f"{dataset.count} bands, not one")
    band = bands[0]
    if "complex" in dataset.dtypes[band - 1]:
        raise ValueError(f"a band of {dataset.dtypes[band - 1]}, not of numbers")
    for names_of, packing in (("scale_factor", "gain"), dataset.scales), (("add_offset", "offset"), dataset.offsets):
        for name in names_of:
            if not np.allclose(numbers(all_tags(dataset, band), name), packing[band - 1]):
                said = all_tags(dataset, band)[name]
                raise ValueError(f"its tag {name} is {said}, and what GDAL unpacks it by {packing[band - 1]:g}")
    return band


def all_tags(dataset: Any, band: int) -> dict[str, str]:
    """Return the tags of a file and a band by their names in small letters."""
    return {name.lower(): value for name, value in (dataset.tags() | dataset.tags(band)).items()}


def whole(tags: dict[str, str], name: str) -> int:
    """Return the whole number that a tag starts with; a ValueError that names it if there is none."""
    found = re.match(r"\s*([+-]?\d+)(?:\.0*)?(?:\s*(?:s|sec)\b.*|\s*)$", tags[name])
    if not found:
        raise ValueError(f"tag {name} is {tags[name]!r}, not a whole number of seconds")
    return int(found[1])


def unit_of(dataset: Any, band: int, hints: FileHints) -> tuple[Unit, float]:
    """Return the header's unit and the factor to it, of what file or user say; raises as :func:`agreed_unit`."""
    tags = all_tags(dataset, band)
    said = (dataset.units[band - 1], *(tags.get(name) for name in ("grib_unit", "units", "unit", "unittype")))
    return agreed_unit(next((unit for unit in said if unit and unit not in UNKNOWN_UNITS), None), hints.unit)


def pixels(dataset: Any, band: int, hints: FileHints) -> NDArray[np.float64]:
    """Return values of a band, unpacked, row 0 north: NaN for nodata, by number, mask or band of alpha."""
    named = {name.lower(): name for name in SENTINELS}
    attributes: dict[str, Any] = {
        named[name]: value for name, value in all_tags(dataset, band).items() if name in named and value
    }
    scale, offset = dataset.scales[band - 1], dataset.offsets[band - 1]
    if (scale, offset) != (1.0, 0.0):
        attributes |= {"scale_factor": scale, "add_offset": offset}
    nodata = dataset.nodatavals[band - 1]
    if nodata is not None:
        attributes["nodata"] = nodata
    result = unpack(dataset.read(band), attributes, hints)
    result[dataset.read_masks(band) == 0] = np.nan
    return result[::-1] if dataset.transform.e > 0 else result


def grid_of(dataset: Any, hints: FileHints) -> Grid:
    """Return the grid of a file, in metres or degrees.

    Raises
    ------
    ValueError
        If neither file nor user name a projection, or the grid is turned.
    """
    if dataset.crs is None and hints.crs is None:
        raise ValueError("no projection in the file, and no `crs` for it in params.yaml")
    if dataset.transform.is_identity:
        raise ValueError("it doesn't say where its pixels are")
    crs = crs_of(dataset.crs.to_wkt()) if dataset.crs else projection(hints.crs or "")
    dx, b, left, d, dy, top = dataset.transform[:6]
    if b or d or dx <= 0:
        raise ValueError("a grid that is turned or mirrored")
    if dy > 0:
        top, dy = top + dataset.height * dy, -dy
    if crs.is_geographic:
        left, top, dx, dy = (round(value, DIGITS) for value in (left, top, dx, dy))
    shape = dataset.height, dataset.width
    return Grid.from_edges(crs, left=left, top=top, dx=dx, dy=-dy, shape=shape)
