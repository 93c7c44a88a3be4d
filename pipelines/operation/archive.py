"""Finished days of the live store as files of an archive, from which ``ingest_radar`` reads them for training.

``FOLDER/YYYY/MM/DOMAIN_YYYYMMDD.nc``: a UTC day's frames as CF netCDF, one file a day, packed as in the live store,
with each frame's source file, its SHA-256 and the Z–R it was converted by. A day is in the live store until its file
has been read back and found to hold it exactly: whatever is cut off, the next run completes it from there.
"""

from collections.abc import Sequence
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipelines.common.errors import UserError, in_short
from pipelines.common.files import atomic_path
from pipelines.params.operation import Domain
from pipelines.radar.frame import NO_DATA, RESOLUTION
from pipelines.radar.readers import cf
from pipelines.radar.readers.radar_file import RadarFile
from pipelines.radar.store import CLOCK

SETTLED = np.timedelta64(6, "h")  # after a day's end; a frame that comes later is added to its file
DAY = np.timedelta64(1, "D")
LINEAGE = ("source_file", "source_sha256")


def finished_days(times: NDArray[np.datetime64], now: np.datetime64) -> list[np.datetime64]:
    """List the UTC days of ``times`` that ended at least `SETTLED` before ``now`` (UTC)."""
    days = np.unique(times.astype("datetime64[D]"))
    return [day for day in days if day + DAY + SETTLED <= now]


def day_file(domain: Domain, day: np.datetime64) -> Path:
    """Return the path of a day's file in the archive of a domain that has one."""
    assert domain.archive is not None
    year, month, number = str(day).split("-")
    return domain.archive / year / month / f"{domain.name}_{year}{month}{number}.nc"


def of_day(stored: xr.Dataset, day: np.datetime64) -> xr.Dataset:
    """Frames of a day, read when they are used."""
    return stored.isel(time=np.flatnonzero(stored["time"].to_numpy().astype("datetime64[D]") == day))


def archive_day(frames: xr.Dataset, path: Path) -> int:
    """Put a day's frames into its file, replaced whole or not at all, with those that it has; return how many are new.

    Parameters
    ----------
    frames : Dataset
        From :meth:`pipelines.operation.live_store.LiveStore.open`, of one day.

    Raises
    ------
    UserError
        If a file is there that can't be read, or has other content for a frame's time or another grid; or if what was
        written isn't read back as it is in the live store.
    """
    parts = [frames]
    if path.exists():
        there = _open(path)
        known = np.isin(frames["time"].to_numpy(), there["time"].to_numpy())
        both = frames.isel(time=known)
        if _lineage(both) != _lineage(there.sel(time=both["time"])):
            raise UserError(f"{path}: it has other content for a time of this day than the live store")
        if known.all():
            return 0
        if any(not np.array_equal(there[name], frames[name]) for name in ("y", "x")):
            raise UserError(f"{path}: it is of another grid than the live store")
        parts = [there, frames.isel(time=~known)]
    with atomic_path(path) as temporary:
        _write(parts, temporary)
        for part in parts:
            if words := how_it_differs(temporary, part):
                raise UserError(f"{path}: not written: {words}")
    return parts[-1].sizes["time"]


def how_it_differs(path: Path, frames: xr.Dataset) -> str | None:
    """Return how a file of the archive, as ``ingest_radar`` reads it, differs from ``frames``; None if it doesn't."""
    if not path.exists():
        return "there is no such file"
    try:
        file = RadarFile(path)
        headers = cf.headers(file)
        where = {header.time: number for number, header in enumerate(headers)}
        there = _open(path)
        for number, time in enumerate(frames["time"].to_numpy().astype("datetime64[s]")):
            if time not in where:
                return f"it has no frame of {time} UTC"
            header, frame = headers[where[time]], frames.isel(time=[number])
            if header.time_is != frames["time"].attrs["time_is"]:
                return f"its times are said to be of the {header.time_is}"
            if _lineage(there.isel(time=[where[time]])) != _lineage(frame):
                return f"the frame of {time} UTC is of another source"
            values = cf.values(file, where[time]).astype(np.float32)
            if not np.array_equal(values, frame["rainfall_flux"].to_numpy()[0], equal_nan=True):
                return f"the frame of {time} UTC has other values"
    except (OSError, RuntimeError, ValueError, KeyError, UserError) as error:
        return in_short(error)
    return None


def _lineage(frames: xr.Dataset) -> list[tuple[str, ...]]:
    return list(zip(*(map(str, frames[name].to_numpy()) for name in LINEAGE), strict=True))


def _open(path: Path) -> xr.Dataset:
    try:
        return xr.open_dataset(path, decode_coords="all", cache=False)
    except (OSError, ValueError) as error:
        reason = in_short(error)
        raise UserError(f"{path}: can't be read, so nothing is added: {reason}; `dvc checkout` may help") from None


def _write(parts: Sequence[xr.Dataset], path: Path) -> None:
    """Write all but the pixels, then these, frame by frame: a day of a large grid needn't fit into memory."""
    outlines = [part.drop_vars("rainfall_flux").drop_encoding() for part in parts]
    outline = xr.concat(outlines, "time", data_vars="minimal", coords="minimal", join="exact", combine_attrs="override")
    order = outline["time"].to_numpy().argsort()
    outline = outline.isel(time=order)
    for name, variable in outline.variables.items():
        if variable.dtype.kind == "M":
            outline[name].encoding = {key: value for key, value in CLOCK.items() if key != "_FillValue"}
        if variable.dtype.kind != "O":
            outline[name].encoding["_FillValue"] = None
    if "time_bounds" in outline:
        outline["time"].attrs["bounds"] = "time_bounds"
    outline.to_netcdf(path, engine="netcdf4", format="NETCDF4")
    frames = [(part["rainfall_flux"], number) for part in parts for number in range(part.sizes["time"])]
    rain = parts[0]["rainfall_flux"]
    with netCDF4.Dataset(path, "a") as file:
        packed = file.createVariable(
            "rainfall_flux",
            "u2",
            ("time", "y", "x"),
            zlib=True,
            complevel=4,
            chunksizes=(1, *rain.shape[1:]),
            fill_value=np.uint16(NO_DATA),
        )
        # In 32 bits, as the live store decodes: the same values to the last bit.
        attributes = {"grid_mapping": "crs", "scale_factor": np.float32(RESOLUTION)}
        if "lat" in outline:
            attributes["coordinates"] = "lat lon"
        packed.setncatts(rain.attrs | attributes)
        packed.set_auto_maskandscale(False)
        for to, index in enumerate(order):
            variable, number = frames[index]
            values = variable[number].to_numpy().astype(np.float64)
            counts = np.rint(values / RESOLUTION, where=np.isfinite(values), out=np.full(values.shape, float(NO_DATA)))
            packed[to] = counts.astype(np.uint16)
