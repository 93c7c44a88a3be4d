"""A store of frames as other tools read it: CF netCDF, or Zarr of version 2, as GDAL knows no sharded Zarr.

The numbers are the store's, as they are packed there. In memory is the shard that is being copied.
"""

import sys
from contextlib import nullcontext
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from dask.diagnostics.progress import ProgressBar
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

from pipelines.common.errors import UserError, as_unreadable
from pipelines.common.files import atomic_path
from pipelines.common.limits import Limits
from pipelines.common.rights import Rights
from pipelines.common.workers import guarded
from pipelines.radar.cf_grid import grid_of, has_lonlat_axes
from pipelines.radar.clock import missing_times
from pipelines.radar.decoding import is_store_of_frames
from pipelines.radar.frame import NO_DATA, RESOLUTION
from pipelines.radar.store import decode_frames, open_packed, shard_frames


def export_store(
    store: Path,
    out: Path,
    *,
    as_zarr: bool = False,
    regular: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> str:
    """Write a store of frames to ``out``, whole or not at all; return what was written, in words.

    Parameters
    ----------
    store : Path
    out : Path
        NAME.zarr for Zarr, any other name for netCDF.
    as_zarr : bool
        Zarr with a chunk and a file a frame.
    regular : bool
        Add the times that the store has no frame of, with unknown pixels and an empty ``source_file``: for tools that
        count frames and don't look at their times.
    limits : Limits
        What may be taken to look at the store.

    Raises
    ------
    UserError
        If there is no store of frames, ``out`` is there, lies in the store or has the other format's name, or a
        regular clock is asked for and the times follow none.
    """
    if as_zarr != (out.suffix == ".zarr"):
        raise UserError(f"{out}: a Zarr store wants --zarr and a name that ends in .zarr, a netCDF file neither")
    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: it is there already: remove it, or choose another name")
    if store.resolve() in out.resolve().parents:
        raise UserError(f"{out}: it lies in the store itself")
    guarded(is_store_of_frames, store, limits=limits)  # it may be someone else's
    packed = open_packed(store)
    with as_unreadable(store):
        grid = grid_of(decode_frames(packed, str(store)))
    rain = packed["rainfall_flux"].variable.chunk({"time": shard_frames(grid.shape), "y": -1, "x": -1})
    packing = rain.attrs["scale_factor"], rain.attrs.get("add_offset", 0), rain.attrs.get("_FillValue", -1)
    if rain.dtype != np.uint16 or not np.allclose(packing, (RESOLUTION, 0, NO_DATA), atol=0):
        raise UserError(f"{store}: its rain isn't packed as ingestion does it: scs ingest reads such a store")
    with (
        as_unreadable(f"{store} to {out}"),
        atomic_path(out) as temporary,
        dask.config.set(scheduler="synchronous"),
        ProgressBar(out=sys.stderr) if sys.stderr.isatty() else nullcontext(),
    ):
        frames = packed.drop_vars("rainfall_flux").load().assign(rainfall_flux=rain)
        if regular:
            frames = _on_clock(frames, store)
        if "missing_times" in frames:
            frames["missing_times"].attrs["units_metadata"] = frames["time"].attrs["units_metadata"]  # CF asks for it
        frames["rainfall_flux"].attrs["_FillValue"] = np.uint16(NO_DATA)
        frames = frames.drop_encoding()
        for name in frames.coords:
            frames[name].encoding["_FillValue"] = None  # CF: a coordinate is known everywhere
        if as_zarr:
            _write_zarr(frames, temporary)
        else:
            _write_netcdf(frames, temporary, lonlat=not has_lonlat_axes(grid.crs))
    rights, count = Rights.of(frames.attrs), packed.sizes["time"]
    return "\n".join(
        [
            f"{out}: {count} frames" + (f" and {frames.sizes['time'] - count} missing" if regular else ""),
            f"licence: {'; '.join([*rights.to_attrs().values(), *rights.restrictions])}",
        ]
    )


def _on_clock(frames: xr.Dataset, store: Path) -> xr.Dataset:
    """Return packed frames with those of unknown pixels between that a regular clock has."""
    time = frames["time"].to_numpy()
    missing = missing_times(time.astype("datetime64[s]")) if time.size > 1 else np.array([], "datetime64[s]")
    if missing is None:
        raise UserError(f"{store}: its times are on no regular clock")
    clock = np.union1d(time, missing.astype(np.int64))
    nothing = {"rainfall_flux": np.uint16(NO_DATA), "source_file": "", "source_sha256": ""}
    found = frames.reindex(time=clock, fill_value=nothing | {"time_bounds": 0})
    if "time_bounds" in found:  # all of one length: pipelines.radar.store.difference
        around = frames["time_bounds"].to_numpy()[0] - time[0]
        found["time_bounds"] = found["time_bounds"].copy(data=clock[:, None] + around)
    found["source_file"].attrs["comment"] = "empty where no frame is known of the time"
    found.attrs.pop("consistent_timestep_start", None)
    return found.drop_vars("missing_times", errors="ignore")


def _write_netcdf(frames: xr.Dataset, path: Path, *, lonlat: bool) -> None:
    # CF wants one longitude and one latitude of a grid: on a lat/lon grid x and y are they.
    frames = frames if lonlat else frames.drop_vars(["lat", "lon"])
    frames["rainfall_flux"].attrs["scale_factor"] = np.float32(RESOLUTION)
    chunk = (1, *frames["rainfall_flux"].shape[1:])
    frames.to_netcdf(
        path,
        engine="netcdf4",
        encoding={"rainfall_flux": {"chunksizes": chunk, "zlib": True, "complevel": 1, "shuffle": True}},
    )


def _write_zarr(frames: xr.Dataset, path: Path) -> None:
    frames["rainfall_flux"].attrs["scale_factor"] = RESOLUTION
    for name in ("source_file", "source_sha256"):
        frames[name] = frames[name].astype(object)  # version 2 has no other text of any length
    chunk = (1, *frames["rainfall_flux"].shape[1:])
    frames.to_zarr(
        path,
        mode="w-",
        zarr_format=2,
        consolidated=True,
        encoding={"rainfall_flux": {"chunks": chunk, "compressors": Zstd(level=3)}},
    )
