"""CF netCDF, classic or netCDF-4, and Zarr with rain or reflectivity, such as the Rainfields of Australia's BoM.

A frame has y and x, on a projected or a lat/lon grid; a time or a lead time makes several; whatever other dimensions
there are have one value. xarray opens, and decodes nothing: what is missing is for `missing` to tell. pysteps' importer
(``import_bom_rf3``) isn't used: it has its own idea of the ellipsoid and the edges.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import netCDF4
import numpy as np
from numpy.typing import NDArray

from pipelines.radar.empty_rows import without_empty_rows
from pipelines.radar.grid import Grid
from pipelines.radar.readers.cf_axes import axes_of, grid_of
from pipelines.radar.readers.cf_time import frame_times
from pipelines.radar.readers.header import Header, check_pixels
from pipelines.radar.readers.missing import numbers, unpack
from pipelines.radar.readers.radar_file import RadarFile
from pipelines.radar.readers.units import Unit, agreed_unit

if TYPE_CHECKING:
    import xarray as xr

# Unit of the header by standard name; the first that a file has is read.
KNOWN: dict[str, Unit] = {
    "precipitation_amount": "mm",
    "rainfall_amount": "mm",
    "thickness_of_rainfall_amount": "mm",
    "thickness_of_precipitation_amount": "mm",
    "lwe_thickness_of_precipitation_amount": "mm",
    "precipitation_flux": "mm/h",
    "rainfall_flux": "mm/h",
    "rainfall_rate": "mm/h",
    "lwe_precipitation_rate": "mm/h",
    "equivalent_reflectivity_factor": "dBZ",
}
CLASSIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
# Meanings of flags of pixels that no radar sees.
UNSEEN = re.compile(
    r"no_?data|missing|outside\w*|not_(?:covered|seen|observed)|un(?:covered|seen|observed)|no_radar"
    r"|(?:no|out_?of|beyond)_(?:radar_)?(?:coverage|range)"
)
MOST_NO_ECHO = {"dBZ": -30.0, "mm": 0.0, "mm/h": 0.0}  # a value of at most this says that there is none
Flag = tuple[int | None, int | None]  # bits and value, as CF's flag_masks and flag_values have them
BLOCK_BYTES = 1 << 27  # of frames that are read at once


def recognises(file: RadarFile) -> bool:
    """Whether it is Zarr or netCDF; netCDF-4, which is HDF5, has to say that it follows CF, or what a variable is."""
    if file.is_zarr or file.content.startswith(CLASSIC):
        return True
    if not file.is_hdf5:
        return False
    try:
        with netCDF4.Dataset("content", memory=file.content) as dataset:
            names = {str(getattr(one, "standard_name", "")) for one in dataset.variables.values()}
            says = "CF-" in str(getattr(dataset, "Conventions", "")) or file.hints.variable in dataset.variables
            return says or not names.isdisjoint(KNOWN)
    except OSError:
        return False


def headers(file: RadarFile) -> list[Header]:
    """Return the header of each time of the rain or reflectivity; one of a forecast says why it can't be taken."""
    one = file.opened(_images)
    times = frame_times(file, one.dataset, one.variable, one.frames.shape[0], is_amount=one.unit == "mm")
    return [Header(at.time, at.time_is, at.interval_s, one.unit, one.grid, at.refusal) for at in times]


def values(file: RadarFile, number: int) -> NDArray[np.float64]:
    """Return pixels of a time in the header's unit, row 0 north: NaN for no data, -inf dBZ for no echo."""
    one = file.opened(_images)
    result = unpack(one.frames[number], one.variable.attrs, file.hints) * one.factor
    if one.unseen is not None:
        mask, flags = one.unseen
        pixels = mask[number if mask.shape[0] > 1 else 0]
        unseen = np.logical_or.reduce([_has(pixels, *flag) for flag in flags])
        # Beside a mask, what is filled is no echo, unless the pixels say that in another way.
        with np.errstate(invalid="ignore"):
            if not (result[~unseen] <= MOST_NO_ECHO[one.unit]).any():
                result[np.isnan(result)] = -np.inf if one.unit == "dBZ" else 0.0
        result[unseen] = np.nan
    return result[:: -1 if one.north else 1, :: -1 if one.west else 1]


def _has(pixels: NDArray[Any], bits: int | None, value: int | None) -> NDArray[np.bool_]:
    """Return where pixels of a mask have a flag."""
    if bits is None:
        return pixels == value
    found = pixels.astype(np.int64) & bits
    return found != 0 if value is None else found == value


class _Blocks:
    """Frames (T, H, W) of a lazy array, read by as many as its file has in a chunk: each chunk is unpacked once."""

    def __init__(self, frames: xr.DataArray, size: int) -> None:
        self.shape, self._frames = frames.shape, frames
        self._size = max(1, min(size, BLOCK_BYTES // max(1, frames[0].nbytes)))
        self._start, self._block = 0, np.empty((0, 0, 0))

    def __getitem__(self, number: int) -> NDArray[Any]:
        if not self._start <= number < self._start + len(self._block):
            self._start = number - number % self._size
            self._block = np.empty((0, 0, 0))  # before the next is read
            self._block = self._frames[self._start : self._start + self._size].to_numpy()
        return self._block[number - self._start]


@dataclass(frozen=True)
class _Images:
    """What is in a file: its frames, in the order of rows and columns that it has, and what tells what they are.

    Where there is a mask, ``unseen`` has it with the bits and the values of flags that say that no radar sees.
    """

    dataset: xr.Dataset
    variable: xr.DataArray
    unit: Unit
    factor: float
    frames: _Blocks
    unseen: tuple[_Blocks, list[Flag]] | None
    grid: Grid
    north: bool
    west: bool


@contextmanager
def _images(file: RadarFile) -> Iterator[_Images]:
    with _open(file) as dataset:
        variable, (unit, factor) = _variable(file, dataset)
        frames, unseen = _frames(dataset, variable), _unseen(dataset, variable)
        yield _Images(dataset, variable, unit, factor, frames, unseen, *grid_of(dataset, variable, file.hints))


@contextmanager
def _open(file: RadarFile) -> Iterator[xr.Dataset]:
    import xarray as xr  # here: a worker for files of other formats starts in half the time
    import zarr

    raw: dict[str, Any] = {
        "decode_coords": False, "decode_times": False, "decode_timedelta": False, "mask_and_scale": False
    }  # fmt: skip
    if not file.is_zarr:
        with netCDF4.Dataset("content", memory=file.content) as opened:
            dataset = xr.open_dataset(xr.backends.NetCDF4DataStore(opened), **raw)
            for name, variable in dataset.variables.items():
                # What was never written has the library's fill value where the file names no other; bytes have none.
                default = netCDF4.default_fillvals.get(variable.dtype.str[1:])
                if default is not None and variable.dtype.itemsize > 1:
                    dataset[name].attrs.setdefault("_FillValue", default)
            yield dataset
        return
    group = zarr.open_group(file.path, mode="r", use_consolidated=False)
    with xr.open_zarr(file.path, chunks=None, consolidated=False, **raw) as dataset:
        for name in dataset.variables:
            array = group[str(name)]
            if not isinstance(array, zarr.Array) or array.dtype.kind not in "iuf":
                continue
            # Zarr's own fill value is what an absent chunk holds: 0 by default, which is a value like others. xarray
            # takes that of format 2 for the attribute.
            attributes, fill = dataset[name].attrs, float(str(array.fill_value or 0))
            if array.metadata.zarr_format == 2:
                attributes |= {"_FillValue": array.attrs.get("_FillValue")}
            if attributes.get("_FillValue") is None and np.isfinite(fill) and fill:
                attributes["_FillValue"] = fill
        yield without_empty_rows(dataset)


def _variable(file: RadarFile, dataset: xr.Dataset) -> tuple[xr.DataArray, tuple[Unit, float]]:
    """Return the variable to read, and its unit with the factor to it."""
    wanted = file.hints.variable
    if wanted is not None:
        if wanted not in dataset.variables:
            raise ValueError(f"no variable {wanted}, which params.yaml names; there are {', '.join(map(str, dataset))}")
        found: list[Hashable] = [wanted]
    else:
        # A coordinate of that name is a threshold's.
        names = [
            (str(dataset[name].attrs.get("standard_name")), name)
            for name in dataset.variables
            if name not in dataset.dims
        ]
        found = [name for known in KNOWN for standard_name, name in names if standard_name == known]
        if not found:
            raise ValueError(
                f"no variable whose standard_name is one of {', '.join(KNOWN)}, and params.yaml names no `variable`"
            )
    variable = dataset[found[0]]
    alike = [name for name in found if _what(dataset[name]) == _what(variable)]
    if len(alike) > 1:
        of = f"{', '.join(map(str, alike))} are each {variable.attrs['standard_name']}"
        raise ValueError(f"{of}, and params.yaml names no `variable`")
    if variable.dtype.kind not in "iuf":
        raise ValueError(f"{variable.name} is of {variable.dtype}, not numbers")
    units = variable.attrs.get("units")
    unit = agreed_unit(None if units is None else str(units), file.hints.unit)
    standard_name = str(variable.attrs.get("standard_name"))
    if KNOWN.get(standard_name, unit[0]) != unit[0]:
        raise ValueError(f"{variable.name} is in {units or file.hints.unit}, and {standard_name} can't be")
    return variable, unit


def _what(variable: xr.DataArray) -> tuple[Any, ...]:
    """Return what a variable is of."""
    return str(variable.attrs.get("standard_name")), variable.dims


def _frames(dataset: xr.Dataset, variable: xr.DataArray) -> _Blocks:
    """Return a variable's frames, in the order of rows and columns that the file has."""
    axes = axes_of(dataset, variable)
    y, x = axes["Y"].dims[0], axes["X"].dims[0]
    check_pixels(variable.sizes[y], variable.sizes[x])
    others = [dimension for dimension in variable.dims if dimension not in (y, x)]
    several = [dimension for dimension in others if variable.sizes[dimension] != 1]
    times = [axes[what].dims[0] for what in ("T", "lead", "reference") if what in axes]
    frames = several[0] if several else times[0] if times else None
    if len(several) > 1 or (several and frames not in times) or variable.size == 0:
        shape = ", ".join(f"{size} {dimension}" for dimension, size in variable.sizes.items())
        raise ValueError(f"{variable.name} has {shape}, and frames differ in time alone")
    one = variable.isel({dimension: 0 for dimension in others if dimension != frames})
    if frames is None:
        return _Blocks(one.transpose(y, x).expand_dims("frame"), 1)
    return _Blocks(one.transpose(frames, y, x), variable.encoding.get("preferred_chunks", {}).get(frames, 1))


def _unseen(dataset: xr.Dataset, variable: xr.DataArray) -> tuple[_Blocks, list[Flag]] | None:
    """Return a mask in the file with its flags that say that no radar sees; None if it has no such mask."""
    axes = axes_of(dataset, variable)
    pixel = {axes["Y"].dims[0], axes["X"].dims[0]}
    for name in dataset.variables:
        mask = dataset[name]
        meanings = re.findall(r"[^\s,]+", str(mask.attrs.get("flag_meanings", "")).lower())
        unseen = [i for i, meaning in enumerate(meanings) if UNSEEN.fullmatch(meaning)]
        if not unseen or not pixel <= set(mask.dims) <= set(variable.dims):
            continue
        values, bits = ([int(one) for one in numbers(mask.attrs, f"flag_{kind}")] for kind in ("values", "masks"))
        if mask.dtype.kind not in ("iu" if bits else "biuf") or {len(values), len(bits)} - {0} != {len(meanings)}:
            raise ValueError(f"{mask.name} has other flags than flag_meanings")
        return _frames(dataset, mask), [(bits[i] if bits else None, values[i] if values else None) for i in unseen]
    return None
