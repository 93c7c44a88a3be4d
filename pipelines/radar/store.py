"""The Frames contract: rain rate over time on one grid, as an xarray Dataset that lies in Zarr.

The archive (Zarr under DVC) and the live store (Icechunk) hold the same variables, made by :func:`frames_dataset`.

====================  ============  =============================================================================
``rainfall_flux``     (time, y, x)  mm/h, NaN where the radar doesn't see; uint16 in steps of `RESOLUTION` mm/h
``time``              (time)        UTC, exact to the second; attribute ``time_is`` says start, end or instant
``time_bounds``       (time, nv)    start and end of each accumulation; absent for instants
``source_file``       (time)        name of the file that a frame came from
``source_sha256``     (time)        hex digest of that file's bytes
``y``, ``x``          (y), (x)      pixel centres in the grid's own projection, north first
``lat``, ``lon``      (y, x)        of pixel centres, degrees
``crs``               ()            CF grid mapping with ``crs_wkt`` and ``spatial_ref``
``missing_times``     (same)        UTC of frames that are missing; absent where none is, or there is no clock
``frame_flag``        (time)        1 where a row has no frame, see `pipelines.radar.empty_rows`; absent where all have
====================  ============  =============================================================================
"""

import hashlib
import importlib.metadata
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from pipelines.common.errors import UserError, in_short
from pipelines.common.format_version import FORMAT_VERSION, check_format
from pipelines.common.rights import Rights
from pipelines.radar.cf_grid import crs_attributes, grid_coordinates, grid_of
from pipelines.radar.empty_rows import flagged, without_empty_rows
from pipelines.radar.frame import MAXIMUM, NO_DATA, RESOLUTION, Frame, FrameHeader

COMPRESSOR = ZstdCodec(level=3)
SHARD_FRAMES = 32
SHARD_PIXELS = 1 << 25  # a shard is built in memory: 10 to 20 bytes a pixel
TIME_CHUNK = 4096
FORMAT = 1  # version of what is described above
MLCAST_VALIDATOR = "0.4.0"  # version of mlcast-dataset-validator that a store conforms to, its 3 years apart

CLOCK: dict[str, Any] = {
    "units": "seconds since 1970-01-01",
    "calendar": "proleptic_gregorian",
    "dtype": "int64",
    "_FillValue": None,
}  # encoding of a time


def frames_dataset(frames: Sequence[Frame], rights: Rights, *, sharded: bool = True) -> xr.Dataset:
    """Return ``frames`` as a dataset with all metadata and packing; ``to_zarr`` writes it as it is.

    Parameters
    ----------
    frames : sequence of Frame
        At least one, in time order, all of one grid and kind of product.
    rights : Rights
        Of the data.
    sharded : bool
        Many frames a shard, for an archive. A store that grows frame by frame wants none: it would write the
        whole shard again for each.

    Raises
    ------
    ValueError
        If the frames are not in time order, or differ in grid, meaning of time or Z–R.
    """
    return dataset_of(frames, stacked(frames), rights, sharded=sharded)


def stacked(frames: Sequence[Frame]) -> NDArray[np.float32]:
    """Return the rain rates of ``frames``, of shape (T, H, W), as they can be packed."""
    return np.stack([frame.rain_rate for frame in frames]).clip(0, MAXIMUM)


class Rows(NamedTuple):
    """What a store says of its rows, of one grid and kind.

    Parameters
    ----------
    first : FrameHeader
        The first frame's.
    time : ndarray of shape (T,), datetime64[s]
        UTC, ascending.
    sources, sha256 : sequence of str
        Of each row's file: its name, its hex digest; empty where there is no frame.
    """

    first: FrameHeader
    time: NDArray[np.datetime64]
    sources: Sequence[str]
    sha256: Sequence[str]


def rows_of(frames: Sequence[FrameHeader]) -> Rows:
    """Return the rows of frames; raises as :func:`frames_dataset` does."""
    first = frames[0]
    for earlier, frame in pairwise(frames):
        if frame.time <= earlier.time:
            raise ValueError(f"{frame.source}: not later than the frame before it")
        if words := difference(first, frame):
            raise ValueError(f"{frame.source}: {words}")
    time = np.array([frame.time for frame in frames], dtype="datetime64[s]")
    return Rows(first, time, [frame.source for frame in frames], [frame.sha256 for frame in frames])


def frames_outline(rows: Rows, rights: Rights) -> xr.Dataset:
    """Return what :func:`frames_dataset` does, but the pixels: ``to_zarr(compute=False)`` writes all else."""
    import dask.array  # here, as are others elsewhere: a worker starts sooner without it

    # In one piece: it is never computed, and thousands would be planned.
    nothing = dask.array.zeros((rows.time.size, *rows.first.grid.shape), chunks=-1, dtype=np.float32)
    return _dataset(rows, nothing, rights)


def rain_variable(first: FrameHeader, rain_rate: Any, *, sharded: bool = True) -> xr.Variable:
    """Return ``rainfall_flux`` of a first frame and others, shape (T, H, W) in mm/h, with metadata and packing."""
    shape = first.grid.shape
    rain = xr.Variable(
        ("time", "y", "x"),
        rain_rate,
        {
            "standard_name": "rainfall_flux",
            "long_name": "rain rate",
            "units": "kg m-2 h-1",
            "grid_mapping": "crs",
            "cell_methods": "time: point" if first.time_is == "instant" else "time: mean",
            "comment": f"A rain rate above {MAXIMUM:.2f} mm/h is stored as {MAXIMUM:.2f} mm/h.",
        },
        {
            "dtype": "uint16",
            "scale_factor": RESOLUTION,
            "_FillValue": np.uint16(NO_DATA),
            # Without Zarr's own fill value, a chunk that was never written would read as 0 mm/h.
            "fill_value": NO_DATA,
            "chunks": (1, *shape),
            "compressors": COMPRESSOR,
        },
    )
    if sharded:
        rain.encoding["shards"] = (shard_frames(shape), *shape)
    if first.z_r is not None:
        rain.attrs["z_r_a"], rain.attrs["z_r_b"] = first.z_r
        rain.attrs["z_r_comment"] = "Z = a R^b, Z in mm6 m-3, R in mm/h; reflectivity was converted so"
    return rain


def dataset_of(frames: Sequence[FrameHeader], rain_rate: Any, rights: Rights, *, sharded: bool = True) -> xr.Dataset:
    """Return what :func:`frames_dataset` does, of headers and rain rates that may be read later; raises as it does."""
    return _dataset(rows_of(frames), rain_rate, rights, sharded=sharded)


def _dataset(rows: Rows, rain_rate: Any, rights: Rights, *, sharded: bool = True) -> xr.Dataset:
    rain = rain_variable(rows.first, rain_rate, sharded=sharded)
    coordinates = grid_coordinates(rows.first.grid) | _time_coordinates(rows)
    crs = xr.Variable((), np.int32(0), crs_attributes(rows.first.grid.crs))
    there = np.array([bool(sha256) for sha256 in rows.sha256])
    flags = flagged(~there if sharded else ())
    if flags:
        rain.attrs["ancillary_variables"] = " ".join(flags)
    newest = rows.time[there].max(initial=rows.time[0])
    return xr.Dataset({"rainfall_flux": rain, "crs": crs}, coordinates | flags, _global_attributes(newest, rights))


def open_frames(store: Path) -> xr.Dataset:
    """Open a store of frames lazily: ``rainfall_flux`` is float32 mm/h with NaN, decoded as it is read.

    Raises
    ------
    UserError
        If there is no store of frames.
    """
    return decode_frames(open_packed(store), str(store))


def open_packed(store: Path) -> xr.Dataset:
    """Open a store of frames lazily with the numbers that are in it, packed; raises UserError if there is none."""
    try:
        # Of version 3 alone: it is what ingestion writes, and what pipelines/radar/readers/containment.py looks into.
        stored = xr.open_zarr(
            store, chunks=None, consolidated=False, mask_and_scale=False, decode_times=False, zarr_format=3
        )
        return without_empty_rows(stored)
    except zarr.errors.GroupNotFoundError:
        reason = "no Zarr of version 3" if store.exists() else "it isn't there"
        raise UserError(f"{store}: not a store of frames: {reason}") from None
    except (OSError, ValueError, KeyError) as error:
        reason = in_short(error) if store.exists() else "it isn't there"
        raise UserError(f"{store}: not a store of frames: {reason}") from None


def decode_frames(raw: xr.Dataset, name: str) -> xr.Dataset:
    """Return the frames of a dataset opened without decoding, as :func:`open_frames`; ``name`` is for messages."""
    check_format(raw.attrs.get(FORMAT_VERSION), FORMAT, name)
    missing = {"rainfall_flux", "crs", "time", "y", "x"} - set(raw.variables)
    if missing:
        raise UserError(f"{name}: not a store of frames: it has no {', '.join(sorted(missing))}")
    if raw["rainfall_flux"].dims != ("time", "y", "x"):
        raise UserError(f"{name}: not a store of frames: rainfall_flux is {raw['rainfall_flux'].dims}")
    # JSON knows one kind of number, and xarray decodes to that of the factor: 64 bits for a packed 16.
    factor = np.float32(raw["rainfall_flux"].attrs.get("scale_factor", 1.0))
    raw["rainfall_flux"].attrs["scale_factor"] = factor
    return xr.decode_cf(raw, decode_coords="all")


def difference(frame: FrameHeader, other: FrameHeader) -> str | None:
    """Return in words how ``other`` can't be in one store with ``frame``; None if it can."""
    if words := frame.grid.difference(other.grid):
        return words
    if (frame.time_is, frame.z_r) != (other.time_is, other.z_r):
        return f"time as {other.time_is} and Z–R {other.z_r}, not {frame.time_is} and {frame.z_r}"
    if frame.interval_s != other.interval_s:
        return f"over {other.interval_s} s, not {frame.interval_s} s"
    return None


def frames_digest(frames: xr.Dataset) -> str:
    """Return a hex digest of what a store's frames are: times, source files' hashes and how they were converted."""
    rain = frames["rainfall_flux"].attrs
    digest = hashlib.sha256(repr((rain.get("z_r_a"), rain.get("z_r_b"), frames["crs"].attrs["crs_wkt"])).encode())
    for time, sha in zip(frames["time"].to_numpy(), frames["source_sha256"].to_numpy(), strict=True):
        digest.update(f"{time} {sha}\n".encode())
    return digest.hexdigest()


def frames_of(dataset: xr.Dataset) -> list[Frame]:
    """Read all frames of an opened dataset; select the times first."""
    grid, rain = grid_of(dataset), dataset["rainfall_flux"]
    z_r = (rain.attrs["z_r_a"], rain.attrs["z_r_b"]) if "z_r_a" in rain.attrs else None
    intervals = np.zeros(rain.sizes["time"], dtype=int)
    if "time_bounds" in dataset:
        intervals = (np.diff(dataset["time_bounds"].to_numpy()).squeeze(1) / np.timedelta64(1, "s")).astype(int)
    return [
        Frame(
            dataset["time"].to_numpy()[i].astype("datetime64[s]"),
            grid,
            dataset["time"].attrs["time_is"],
            int(intervals[i]),
            z_r,
            str(dataset["source_file"].to_numpy()[i]),
            str(dataset["source_sha256"].to_numpy()[i]),
            rain[i].to_numpy(),
        )
        for i in range(rain.sizes["time"])
    ]


def shard_frames(shape: tuple[int, int]) -> int:
    """Return how many frames are in a shard of an archive on a grid of ``shape`` (H, W)."""
    return max(1, min(SHARD_FRAMES, SHARD_PIXELS // (shape[0] * shape[1])))


def _time_coordinates(rows: Rows) -> dict[str, xr.Variable]:
    time, time_is = rows.time, rows.first.time_is
    clock = CLOCK | {"chunks": (TIME_CHUNK,)}
    attributes = {
        "standard_name": "time",
        "long_name": {
            "instant": "time of the measurement, UTC",
            "start": "start of the accumulation, UTC",
            "end": "end of the accumulation, UTC",
        }[time_is],
        "axis": "T",
        "time_is": time_is,
        "units_metadata": "leap_seconds: none",
    }
    text = {"dtype": "object", "chunks": (TIME_CHUNK,)}
    files, digests = np.array(rows.sources, dtype=object), np.array(rows.sha256, dtype=object)
    coordinates = {
        "source_file": xr.Variable("time", files, {"long_name": "name of the source file"}, text),
        "source_sha256": xr.Variable("time", digests, {"long_name": "SHA-256 of the source file"}, text),
    }
    if time_is != "instant":
        interval = np.timedelta64(rows.first.interval_s, "s")
        start = time if time_is == "start" else time - interval
        bounds = np.stack([start, start + interval], axis=1)
        coordinates["time_bounds"] = xr.Variable(("time", "nv"), bounds, {}, clock | {"chunks": (TIME_CHUNK, 2)})
        attributes["bounds"] = "time_bounds"
    return {"time": xr.Variable("time", time, attributes, clock)} | coordinates


def _global_attributes(newest: np.datetime64, rights: Rights) -> dict[str, Any]:
    version = importlib.metadata.version("scs-nowcast")
    return {
        "Conventions": "CF-1.11",
        "title": "Rain rate from weather radar",
        "source": "weather radar composites; each frame's file is in source_file and source_sha256",
        "history": f"made by scs-nowcast {version} from the files named in source_file",
        **rights.to_attrs(),
        FORMAT_VERSION: FORMAT,
        # The same bytes whenever it is built: created_on is the newest frame's time, not the wall clock's.
        "mlcast_created_on": str(newest),
        "mlcast_created_by": "scs-nowcast <scs-nowcast@localhost>",
        "mlcast_created_with": f"https://github.com/mlcast-community/mlcast-dataset-scs-nowcast@v{version}",
        "mlcast_dataset_version": version,
        "mlcast_dataset_validator_version": MLCAST_VALIDATOR,
        "mlcast_dataset_identifier": "XX-scs_nowcast-rainfall_flux",
        "comment": "mlcast_created_on is the newest frame's time. mlcast_created_by, mlcast_created_with and "
        "mlcast_dataset_identifier have the form that mlcast-dataset-validator asks for, but name no person, "
        "no published repository and no country: fill them in before you publish the data.",
    }
