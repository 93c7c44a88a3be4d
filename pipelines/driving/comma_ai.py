"""comma.ai's driving dataset of 2016: ``camera/NAME.h5`` at 20 Hz, ``log/NAME.h5`` at 100 Hz.

A row of the log says in ``cam1_ptr`` which frame was the newest. A frame's angle, speed and time are those of the first
row that names it: that is when it came. Frames that no row names have none, whatever is before and after them.

References
----------
Santana and Hotz 2016, Learning a driving simulator, arXiv:1608.01230; https://github.com/commaai/research.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipelines.common.errors import as_unreadable
from pipelines.common.hdf5 import check_hdf5
from pipelines.common.limits import MB, check_unpacked
from pipelines.driving.rows import Read, Session, usable

CAMERA_RATE, LOG_RATE = 20.0, 100.0  # frames and rows a second, where there are no times
BLOCK_BYTES = 16 * MB  # of frames that are read at once, whatever lies between those that are asked for
LOG = "steering_angle", "cam1_ptr"


def log_of(camera: Path) -> Path:
    """Return where the log of a camera's file is."""
    return camera.parent.with_name("log") / camera.name


def read_log(camera: Path, name: str) -> Read:
    """Read what there is to know of the frames in a camera's file."""
    read = Read()
    log_file = log_of(camera)
    if not log_file.is_file() or log_file.parent.is_symlink():
        raise ValueError(f"it has no log: no log/{camera.name} beside its folder")
    with open_contained(camera) as frames, open_contained(log_file) as log:
        count, _ = shape_of(frames)
        if missing := [key for key in LOG if not isinstance(log.get(key), h5py.Dataset)]:
            raise ValueError(f"its log has no {' and no '.join(missing)}")
        angle, pointer = (_column(log[key]) for key in LOG)
        speed, time = (
            _column(log[key]) if isinstance(log.get(key), h5py.Dataset) else None for key in ("speed", "times")
        )
    rows = len(angle)
    if len(pointer) != rows:
        raise ValueError(f"its log has {rows} angles and {len(pointer)} of cam1_ptr")
    time = time if time is not None and len(time) == rows else np.arange(rows) / LOG_RATE
    speed = speed if speed is not None and len(speed) == rows else np.full(rows, np.nan)
    inside = np.isfinite(pointer) & (pointer >= 0) & (pointer < count)
    read.reject(f"log/{camera.name}", np.flatnonzero(~inside), f"cam1_ptr names no frame: the camera has {count}")
    named, first = np.unique(pointer[inside].astype(np.int64), return_index=True)
    first = np.flatnonzero(inside)[first]
    read.reject(name, np.setdiff1d(np.arange(count), named), "no row of the log names it")
    numbers = named.tolist()
    hidden = np.zeros(len(named), bool)
    usable(Session(name, "degrees", time[first], angle[first], speed[first], numbers, hidden, numbers), read)
    return read


@contextmanager
def open_contained(path: Path) -> Iterator[Any]:
    """Open an HDF5 file that is whole in itself; raises ValueError for another."""
    with h5py.File(path) as file:
        check_hdf5(file)
        yield file


def shape_of(frames: Any) -> tuple[int, tuple[int, int]]:
    """Return the number of frames in an open camera's file, and their rows and columns; raises ValueError if none."""
    pixels = frames.get("X")
    is_array = isinstance(pixels, h5py.Dataset) and pixels.ndim == 4 and pixels.dtype == np.uint8
    if not is_array or pixels.shape[1] != 3 or 0 in pixels.shape[2:]:
        raise ValueError("no X of uint8 (N, 3, rows, columns) in it")
    check_unpacked(int(np.prod(pixels.shape[1:], dtype=np.int64)), "a frame of X")
    return len(pixels), pixels.shape[2:]


def count_frames(camera: Path) -> int:
    """Return the number of frames in a camera's file; raises UnreadableFile if it can't be read."""
    with as_unreadable(camera), open_contained(camera) as frames:
        return shape_of(frames)[0]


def read_planes(frames: Any, numbers: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """Yield some frames, numbers ascending, as the file has them: (3, rows, columns)."""
    pixels = frames["X"]
    most = max(1, BLOCK_BYTES // int(np.prod(pixels.shape[1:], dtype=np.int64)))
    for _, group in groupby(numbers, lambda number: number // most):
        some = list(group)
        block = pixels[some[0] : some[-1] + 1]
        for number in some:
            yield block[number - some[0]]


def _column(values: Any) -> NDArray[np.float64]:
    if values.ndim != 1:
        raise ValueError(f"{values.name} of its log isn't one number a row")
    check_unpacked(values.size * 8, values.name)
    return np.asarray(values, np.float64)
