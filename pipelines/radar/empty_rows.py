"""Rows of a store in which there is no frame: a late one takes its place there, and no other frame moves.

A shard of a store is a stretch of time, with a row for each tick of the archive's clock. Where a frame is missing the
row is NaN, names no file, and is flagged in ``frame_flag``; whoever opens a store through this package sees it as
absent. Stretches without any frame have no rows.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.radar.clock import usual_step

if TYPE_CHECKING:
    import xarray as xr

FLAG = "frame_flag"
MISSING = {"long_name": "times of missing frames"}
ATTRIBUTES: dict[str, Any] = {
    "standard_name": "status_flag",
    "long_name": "whether there is a frame",
    "flag_values": np.array([0, 1], np.int8),
    "flag_meanings": "frame no_frame",
}


def rows_of_shards(times: NDArray[np.datetime64], size: int) -> list[NDArray[np.datetime64]]:
    """Return the times of the rows of each shard, of ``size`` rows but for the last.

    Parameters
    ----------
    times : ndarray of datetime64
        Of the frames, ascending. Where not all of them follow a clock of their usual step, there are no other rows.
    """
    if times.size < 2:
        return [times] if times.size else []
    step = np.timedelta64(usual_step(times), "s")
    if ((times - times[0]) % step).astype(np.int64).any():
        return np.split(times, range(size, times.size, size))
    stretches = np.unique((times - times[0]) // (size * step))
    rows = [times[0] + step * (stretch * size + np.arange(size)) for stretch in stretches]
    rows[-1] = rows[-1][rows[-1] <= times[-1]]
    return rows


def flagged(empty: Sequence[bool] | NDArray[np.bool_]) -> dict[str, tuple[str, NDArray[np.int8], dict[str, Any]]]:
    """Return the variable that says which rows are ``empty``; none where none is."""
    return {FLAG: ("time", np.array(empty, np.int8), ATTRIBUTES)} if any(empty) else {}


def without_empty_rows(stored: "xr.Dataset") -> "xr.Dataset":
    """Return the frames of a store that was opened without decoding; the times of other rows are missing ones."""
    flag = stored.variables.get(FLAG)
    if flag is None or flag.dims != ("time",) or flag.attrs.get("flag_meanings") != ATTRIBUTES["flag_meanings"]:
        return stored  # someone else's of that name, perhaps
    empty = flag.to_numpy() != 0
    time = stored["time"]
    missing = np.union1d(time[empty], stored["missing_times"] if "missing_times" in stored.variables else [])
    frames = stored.drop_vars([FLAG, "missing_times"], errors="ignore").isel(time=np.flatnonzero(~empty))
    for variable in frames.variables.values():
        variable.attrs.pop("ancillary_variables", None)
    clock = {key: time.attrs[key] for key in ("standard_name", "units", "calendar")}
    return frames.assign_coords(missing_times=("missing_times", missing.astype(time.dtype), clock | MISSING))
