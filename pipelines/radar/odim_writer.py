"""Write ODIM_H5 composites, the European exchange format for radar data.

Michelson et al., EUMETNET OPERA weather radar information model for implementation with the HDF5 file format,
version 2.4: one image of reflectivity (object COMP, quantity DBZH) in 8 bits, half a dBZ a step.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyproj
from numpy.typing import NDArray

from pipelines.radar.grid import Grid

GAIN, OFFSET = 0.5, -32.5  # dBZ = code * GAIN + OFFSET
UNDETECT, NODATA = 0, 255  # codes: measured, but no echo; not measured
CONVENTIONS = "ODIM_H5/V2_4"


def write_composite(
    path: Path, dbz: NDArray[np.floating], time: np.datetime64, grid: Grid, *, scan_s: int, how: Mapping[str, Any]
) -> None:
    """Write one composite; the same arguments make the same bytes.

    Parameters
    ----------
    path : Path
        The file. It is written in place.
    dbz : ndarray of shape (H, W)
        Reflectivity, dBZ; NaN where the radars don't see, -inf where they see no echo.
    time : numpy.datetime64
        Nominal time, UTC.
    grid : Grid
        Of a projection in metres.
    scan_s : int
        Seconds that the scans took which make up the composite; they end at ``time``.
    how : mapping of str to str, int or float
        The producer's own attributes, such as ``nodes`` and ``comment``.

    Raises
    ------
    ValueError
        If ``dbz`` is not of the grid's shape.
    """
    if dbz.shape != grid.shape:
        raise ValueError(f"reflectivity is {dbz.shape} and the grid {grid.shape}")
    codes = np.full(dbz.shape, UNDETECT, dtype=np.uint8)
    echo = np.isfinite(dbz)
    codes[echo] = np.rint((dbz[echo] - OFFSET) / GAIN).clip(UNDETECT + 1, NODATA - 1)
    codes[np.isnan(dbz)] = NODATA
    date_time = _date_time(time)
    start = _date_time(time - np.timedelta64(scan_s, "s"))
    with h5py.File(path, "w") as file:
        _set(file, {"Conventions": CONVENTIONS})
        what = {"object": "COMP", "version": "H5rad 2.4", "source": "CMT:scs-nowcast"}
        _set(file.create_group("what"), what | dict(zip(("date", "time"), date_time, strict=True)))
        _set(file.create_group("where"), _where(grid))
        _set(file.create_group("how"), how)
        dataset = file.create_group("dataset1")
        period = dict(zip(("startdate", "starttime", "enddate", "endtime"), (*start, *date_time), strict=True))
        _set(dataset.create_group("what"), {"product": "SURF"} | period)
        data = dataset.create_group("data1")
        packing = {"gain": GAIN, "offset": OFFSET, "nodata": float(NODATA), "undetect": float(UNDETECT)}
        _set(data.create_group("what"), {"quantity": "DBZH"} | packing)
        # Without track_times=False the clock would be in the bytes.
        image = data.create_dataset("data", data=codes, compression="gzip", compression_opts=6, track_times=False)
        _set(image, {"CLASS": "IMAGE", "IMAGE_VERSION": "1.2"})


def _date_time(time: np.datetime64) -> tuple[str, str]:
    """Date as YYYYMMDD and time of day as HHmmss."""
    date, clock = np.datetime_as_string(time, unit="s").split("T")
    return date.replace("-", ""), clock.replace(":", "")


def _where(grid: Grid) -> dict[str, Any]:
    """Projection, size and outer corners of the grid."""
    dy, dx = grid.spacing
    west, east = grid.x[0] - dx / 2, grid.x[-1] + dx / 2
    south, north = grid.y[-1] - dy / 2, grid.y[0] + dy / 2
    to_lonlat = pyproj.Transformer.from_crs(grid.crs, grid.crs.geodetic_crs, always_xy=True)
    with warnings.catch_warnings():
        # pyproj warns that a PROJ string may say less than its CRS; ODIM_H5 takes nothing else.
        warnings.simplefilter("ignore", UserWarning)
        projdef = grid.crs.to_proj4().removesuffix(" +type=crs")
    result: dict[str, Any] = {"projdef": projdef, "xsize": grid.x.size, "ysize": grid.y.size}
    result |= {"xscale": dx, "yscale": dy}
    for corner, x, y in (("LL", west, south), ("UL", west, north), ("UR", east, north), ("LR", east, south)):
        result[f"{corner}_lon"], result[f"{corner}_lat"] = to_lonlat.transform(x, y)
    return result


def _set(node: h5py.Group | h5py.Dataset, attributes: Mapping[str, Any]) -> None:
    """Set attributes in the types that ODIM_H5 knows: null-terminated text, 64-bit integers, 64-bit reals."""
    for name, value in attributes.items():
        if not isinstance(value, str):
            node.attrs[name] = np.int64(value) if isinstance(value, int) else np.float64(value)
            continue
        # h5py's own fixed-length text isn't null-terminated.
        text = np.bytes_(value.encode("ascii") + b"\0")
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(len(value) + 1)
        kind.set_strpad(h5py.h5t.STR_NULLTERM)
        attribute = h5py.h5a.create(node.id, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR))
        attribute.write(np.array(text, dtype=f"S{len(value) + 1}"), kind)
