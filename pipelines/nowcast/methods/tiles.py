"""Large grids in tiles, and their probabilities in bytes."""

import shutil
import tempfile
import weakref
from itertools import product
from typing import Any, NamedTuple

import dask.array
import numpy as np
import zarr
from numpy.typing import NDArray

STEPS = 250  # of a probability that is a byte, as products have it
UNKNOWN = 255


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


class Bytes:
    """Probabilities (leads, K, H, W) in steps of 1 / `STEPS`, compressed on disk, a tile at a time.

    Of a continent they are 9 to 13 GB as numbers. Their temporary folder goes with the last that refers to them.
    """

    def __init__(self, shape: tuple[int, ...], tile: Tile) -> None:
        folder = tempfile.mkdtemp(prefix="probabilities-")
        self._bytes = zarr.create_array(
            folder, shape=shape, chunks=(1, 1, *tile.shape), dtype="uint8", fill_value=UNKNOWN
        )
        weakref.finalize(self._bytes, shutil.rmtree, folder, ignore_errors=True)

    def __setitem__(self, at: Any, probability: NDArray[np.float32]) -> None:
        """Round and keep them."""
        self._bytes[at] = np.where(np.isnan(probability), UNKNOWN, np.rint(probability * STEPS)).astype(np.uint8)

    def array(self) -> Any:
        """Return them as a dask array of float32 that is computed plane by plane."""
        H, W = self._bytes.shape[-2:]
        planes = dask.array.from_zarr(self._bytes).rechunk((1, 1, H, W))
        return planes.map_blocks(_probability, dtype=np.float32)


def _probability(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.where(packed == UNKNOWN, np.float32(np.nan), packed / np.float32(STEPS))
