"""The store of drives: every frame with the wheel's angle in one Zarr group, readable by xarray.

``frames``  uint8 (frame, y, x, channel), RGB; one row a frame, session after session, each in the order of time
others      of dimension ``frame``, one value a frame: see `OF_FRAME`; of dimension ``session_number``: `OF_SESSION`

The attribute ``angle_unit`` says whether angles are degrees or shares of full lock; positive is to one and the same
side, as the source has it.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from pipelines.common.format_version import FORMAT_VERSION
from pipelines.common.table_store import open_table, table_of
from pipelines.driving.sequences import SPLITS
from pipelines.video.clips import SHARD, array_outline

FORMAT = 1  # version of what is described above
OF_FRAME: dict[str, tuple[str, str]] = {
    "angle": ("float32", "angle of the steering wheel, in the unit that angle_unit says"),
    "speed": ("float32", "speed, m/s; NaN where nobody says"),
    "time": ("float64", "time of the frame, seconds, in its source's own count"),
    "session": ("int32", "number of the session"),
    "sequence": ("int32", "number of the run of frames of one session and one split without a gap"),
    "split": ("int8", "which part of the data it is in"),
    "hidden": ("int8", "1 where the road is hidden, as the source says"),
}
OF_SESSION = {
    "name": "name of the session: its source's path below the source folder",
    "layout": "layout of its source",
    "sha256": "SHA-256 of its frames' content, as the source has it",
}


class FrameWriter:
    """Writes the frames of a new store as they come, a shard at a time: no more of them is in memory."""

    def __init__(self, store: Path, most: int, height: int, width: int) -> None:
        group = zarr.open_group(store, mode="w-", zarr_format=3)
        self._array = group.create_array("frames", **array_outline("pixels", most, height, width))
        self._waiting: list[NDArray[np.uint8]] = []
        self.count = 0

    def add(self, frames: NDArray[np.uint8]) -> None:
        """Append frames (n, H, W, 3)."""
        self._waiting.append(frames)
        while sum(map(len, self._waiting)) >= SHARD:
            self._flush(SHARD)

    def _flush(self, count: int) -> None:
        waiting = np.concatenate(self._waiting) if self._waiting else np.empty((0, *self._array.shape[1:]), np.uint8)
        if len(block := waiting[:count]):
            self._array[self.count : self.count + len(block)] = block
        self.count += len(block)
        self._waiting = [waiting[count:]]

    def close(self) -> None:
        """Write the rest, and cut the array to the frames that came."""
        self._flush(SHARD)
        self._array.resize((self.count, *self._array.shape[1:]))


def write_rows(store: Path, rows: pd.DataFrame, sessions: pd.DataFrame, attributes: dict[str, Any]) -> None:
    """Write what there is to say of the frames and sessions into a store that has the frames already.

    Parameters
    ----------
    rows, sessions : DataFrame
        With the columns `OF_FRAME` and `OF_SESSION`.
    attributes : dict
        What there is to say of all of it.
    """
    variables: dict[str, Any] = {
        name: ("frame", rows[name].to_numpy(dtype), {"long_name": meaning})
        for name, (dtype, meaning) in OF_FRAME.items()
    }
    variables["split"][2].update(flag_values=list(range(len(SPLITS))), flag_meanings=" ".join(SPLITS))
    for name, meaning in OF_SESSION.items():
        variables[f"session_{name}"] = "session_number", sessions[name].to_numpy(object), {"long_name": meaning}
    dataset = xr.Dataset(variables, attrs=attributes | {FORMAT_VERSION: FORMAT})
    dataset.to_zarr(store, mode="a", zarr_format=3, consolidated=False)


class Drives:
    """A store of drives; frames are read as they are asked for.

    Attributes
    ----------
    rows : DataFrame
        A row a frame, with the columns `OF_FRAME`.
    sessions : DataFrame
        A row a session, with the columns `OF_SESSION`.
    attributes : dict
        What the store says about itself: ``angle_unit``, ``rate`` and the like.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        with open_table(self.path, FORMAT, "drives") as found:
            self.rows = table_of(found, OF_FRAME)
            self.sessions = pd.DataFrame({name: found[f"session_{name}"].to_numpy() for name in OF_SESSION})
            self.attributes: dict[str, Any] = dict(found.attrs)
            self.unit: str = self.attributes["angle_unit"]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _frames(self) -> zarr.Array:
        array = zarr.open_group(self.path, mode="r")["frames"]
        assert isinstance(array, zarr.Array)
        return array

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self._frames.shape[1], self._frames.shape[2]

    def frames(self, start: int, count: int) -> NDArray[np.uint8]:
        """Read ``count`` frames (count, H, W, 3), RGB, from ``start`` on; raises IndexError if there are none such."""
        if start < 0 or count < 1 or start + count > len(self):
            raise IndexError(f"frames {start} to {start + count} of {len(self)}")
        return np.asarray(self._frames[start : start + count])

    def windows(self, split: str, length: int, ahead: int = 0) -> NDArray[np.intp]:
        """Return the first frames of all runs of ``length`` frames whose sequence goes on for ``ahead`` frames more."""
        sequence = self.rows["sequence"].to_numpy()
        starts = np.flatnonzero(self.rows["split"].to_numpy() == SPLITS.index(split))
        last = starts + length + ahead - 1
        starts, last = starts[last < len(self)], last[last < len(self)]
        return starts[sequence[starts] == sequence[last]]


def open_drives(path: Path) -> Drives:
    """Open a store of drives; raises UserError if there is none."""
    return Drives(path)
