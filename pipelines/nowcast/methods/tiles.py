"""Large grids in tiles, and their fields on disk."""

import weakref
from itertools import product
from typing import Any, NamedTuple

import cv2
import numpy as np
import zarr
from numpy.typing import NDArray

from pipelines.common.scratch import Scratch
from pipelines.nowcast.methods.lagrangian import BAND

STEPS = 250  # of a probability that is a byte, as products have it
UNKNOWN = 255
OF_BYTES = np.append(np.arange(UNKNOWN, dtype=np.float32) / np.float32(STEPS), np.float32(np.nan))[None]


class Tile(NamedTuple):
    """A rectangle of a grid."""

    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def around(self, pixels: int, divisor: int, shape: tuple[int, int]) -> "Tile":
        """Return the tile and ``pixels`` around it, from multiples of ``divisor`` on, in a grid of ``shape``."""
        spans = zip(self, shape, strict=True)
        return Tile(*(slice(max(0, s.start - pixels) // divisor * divisor, min(s.stop + pixels, n)) for s, n in spans))

    def with_other(self, other: "Tile") -> "Tile":
        """Return the smallest tile with both in it."""
        both = zip(self, other, strict=True)
        return Tile(*(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in both))

    def within(self, outer: "Tile") -> "Tile":
        """Return it in the coordinates of one around it."""
        return Tile(*(slice(s.start - o.start, s.stop - o.start) for s, o in zip(self, outer, strict=True)))


def cut(shape: tuple[int, int], side: int) -> list[Tile]:
    """Cut a grid into tiles of equal sides, of at most ``side`` pixels; the last ones are smaller."""
    spans = []
    for pixels in shape:
        each = -(-pixels // -(-pixels // side))
        spans.append([slice(start, min(start + each, pixels)) for start in range(0, pixels, each)])
    return [Tile(rows, columns) for rows, columns in product(*spans)]


class OnDisk:
    """Fields (..., H, W) that no memory holds, of a continent: compressed in the temporary folder.

    Its folder goes with the last that refers to them, or after its process was killed with the next that is made.

    Parameters
    ----------
    shape : tuple of int
    chunk : tuple of int
        Rows and columns that are written at once.
    probabilities : bool
        Whether they are, and a byte each will do: in steps of 1 / `STEPS`.
    """

    def __init__(self, shape: tuple[int, ...], chunk: tuple[int, int], *, probabilities: bool = False) -> None:
        scratch = Scratch()
        self.packed = probabilities
        self._array = zarr.create_array(
            scratch.folder,
            shape=shape,
            chunks=(*(1 for _ in shape[:-2]), *np.minimum(chunk, shape[-2:])),
            dtype="uint8" if probabilities else "float32",
            fill_value=UNKNOWN if probabilities else np.nan,
        )
        weakref.finalize(self._array, scratch.remove)

    def __len__(self) -> int:
        return int(self._array.shape[0])

    def __setitem__(self, at: Any, fields: NDArray[np.float32]) -> None:
        """Keep them."""
        if self.packed:
            fields = np.where(np.isnan(fields), UNKNOWN, np.rint(fields * STEPS))
        self._array[at] = fields.astype(self._array.dtype, copy=False)

    def __getitem__(self, at: Any) -> NDArray[np.float32]:
        """Return them as they are now."""
        return self._unpacked(np.asarray(self._array[at]))

    def array(self) -> Any:
        """Return them as a dask array of float32 whose chunks are bands of rows, computed when they are looked at."""
        from dask.array import from_zarr  # here: it takes half a second to import, and few grids are in tiles

        chunks = (*self._array.chunks[:-1], self._array.shape[-1])
        return from_zarr(self._array, chunks=chunks).map_blocks(self._unpacked, dtype=np.float32)

    def _unpacked(self, fields: NDArray[Any]) -> NDArray[np.float32]:
        if not self.packed:
            return fields.view(np.float32)  # netCDF4 minds a spelled-out byte order
        rows = fields.reshape(-1, max(1, fields.shape[-1]))
        return cv2.LUT(rows, OF_BYTES).reshape(fields.shape).astype(np.float32, copy=False)


def bands_of(fields: Any) -> list[slice]:
    """Return the bands of rows that fields are looked at in: of a dask array its chunks, of others `BAND` rows."""
    sizes = np.asarray(fields.chunks[-2] if hasattr(fields, "dask") else [BAND] * -(-fields.shape[-2] // BAND))
    stops = np.minimum(sizes.cumsum(), fields.shape[-2])
    return [slice(int(start), int(stop)) for start, stop in zip([0, *stops], stops, strict=False)]
