"""PGM composites of the Finnish Meteorological Institute: 8-bit reflectivity, its header as comments.

pysteps' importer is not used: on a header cut short it never returns.
"""

import re

import numpy as np
from numpy.typing import NDArray

from pipelines.radar.grid import Grid
from pipelines.radar.readers.georeference import grid_from_corners
from pipelines.radar.readers.header import Header, check_pixels, utc
from pipelines.radar.readers.radar_file import RadarFile

# The files name a stereographic projection and its corners, not the sphere and origin. These are FMI's, as in pysteps.
PROJECTION = (
    "+proj=stere +lat_0={lat_0} +lon_0={lon_0} +lat_ts={lat_ts} +R=6371288 "
    "+x_0=380886.310 +y_0=3395677.920 +units=m +no_defs"
)
RADAR = re.compile(rb"^# radar (\w+) [\d.]", re.MULTILINE)
LAYOUT = re.compile(rb"P5\s+((?:#[^\n]*\n)+)\s*(\d{1,6})\s+(\d{1,6})\s+(\d{1,5})\s")


def recognises(file: RadarFile) -> bool:
    """Whether the content is a binary PGM with comments."""
    return re.match(rb"P5\s+#", file.content) is not None


def headers(file: RadarFile) -> list[Header]:
    """Return the header of a reflectivity composite; the time is of an instant."""
    fields, shape, start = _parse(file.content)
    radars = {name.decode("ascii"): True for name in RADAR.findall(file.content, 0, start)}
    parameter = fields.get("param", "unnamed")
    if "reflectivity" not in parameter.lower():
        raise ValueError(f"a PGM of {parameter}, not of reflectivity")
    return [Header(_time(_field(fields, "obstime")), "instant", 0, "dBZ", _grid(fields, shape), radars=radars)]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels in dBZ, which are (v - 64) / 2; NaN where v is the greatest value, -inf where it is 0."""
    _, (height, width), start = _parse(file.content)
    raw = np.frombuffer(file.content, np.uint8, offset=start)
    if raw.size != height * width:
        raise ValueError(f"{raw.size} pixels, and the header says {height}×{width}")
    dbz = (np.arange(256) - 64.0) / 2
    dbz[0], dbz[255] = -np.inf, np.nan
    return dbz[raw].reshape(height, width)


def _parse(content: bytes) -> tuple[dict[str, str], tuple[int, int], int]:
    """Parse what the comments say, the shape (H, W), and where the pixels start."""
    found = LAYOUT.match(content)
    if not found:
        raise ValueError("a PGM header that is cut short")
    if found[4] != b"255":
        raise ValueError(f"a PGM of {found[4].decode()} levels, not 255")
    check_pixels(int(found[2]), int(found[3]))
    lines = (line.lstrip("# ").split(maxsplit=1) for line in found[1].decode("ascii", "replace").splitlines())
    fields = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    return fields, (int(found[3]), int(found[2])), found.end()


def _field(fields: dict[str, str], key: str) -> str:
    if key not in fields:
        raise ValueError(f"no {key} in the PGM header")
    return fields[key]


def _time(digits: str) -> np.datetime64:
    try:
        return utc(digits)
    except ValueError as error:
        raise ValueError(f"obstime in the PGM header: {error}") from None


def _numbers(fields: dict[str, str], key: str, count: int) -> list[float]:
    try:
        found = [float(word) for word in _field(fields, key).split()]
    except ValueError:
        found = []
    if len(found) != count or not np.isfinite(found).all():
        raise ValueError(f"{key} in the PGM header is {_field(fields, key)!r}, not {count} number{'s' * (count > 1)}")
    return found


def _grid(fields: dict[str, str], shape: tuple[int, int]) -> Grid:
    if _field(fields, "type") != "stereographic":
        raise ValueError(f"a {fields['type']} projection, not stereographic")
    lon_0, lat_0, lat_ts, dx, dy = (
        _numbers(fields, key, 1)[0]
        for key in ("centrallongitude", "centrallatitude", "truelatitude", "metersperpixel_x", "metersperpixel_y")
    )
    (left, bottom), (right, top) = (_numbers(fields, key, 2) for key in ("bottomleft", "topright"))
    return grid_from_corners(
        PROJECTION.format(lat_0=lat_0, lon_0=lon_0, lat_ts=lat_ts),
        shape,
        lower_left=(left, bottom),
        upper_right=(right, top),
        pixel=(dx, dy),
    )
