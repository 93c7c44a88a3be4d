"""How probabilities are told of and packed in a forecast's dataset."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipelines.nowcast.methods.tiles import STEPS, UNKNOWN
from pipelines.operation.products.accumulation import PERIODS_MIN

OF_PROBABILITY = "_exceedance_probability"  # ends the names of such variables
# Axes of time, and the coordinate of each that has the times.
TIMES = {"lead_time": "time"} | {f"period_{minutes}min": f"time_{minutes}min" for minutes in PERIODS_MIN}
# For netCDF and for Zarr: each takes what it knows.
PACKED = {"_FillValue": np.float32(np.nan), "zlib": True, "complevel": 1}
# A byte each: a forecast of probabilities is K times one of rain.
BYTES = {"dtype": "uint8", "scale_factor": np.float32(1 / STEPS), "_FillValue": np.uint8(UNKNOWN)}
HUNDREDTHS = {"dtype": "uint16", "scale_factor": np.float32(0.01), "_FillValue": np.uint16(65535)}


def chunked(variable: xr.Variable) -> xr.Variable:
    """Return a variable that is packed when it is written, and where it is of maps a chunk each."""
    if "y" in variable.dims:
        chunk = (*(1 for _ in variable.dims[:-2]), *variable.shape[-2:])
        variable.encoding = PACKED | {"chunksizes": chunk, "chunks": chunk} | variable.encoding
    return variable


def threshold(name: str, values: Sequence[float], standard_name: str, long_name: str, units: str) -> xr.Variable:
    """Return the coordinate of what is reached with a probability."""
    attrs = {
        "standard_name": standard_name,
        "long_name": long_name,
        "units": units,
        "spp__relative_to_threshold": "greater_than_or_equal_to",  # IMPROVER's word for it
    }
    return xr.Variable(name, np.array(values), attrs, {"_FillValue": None})


def probabilities(
    of: xr.Variable | xr.DataArray, axis: str, values: NDArray[np.float32], words: str, **attrs: object
) -> xr.Variable:
    """Return the probabilities (times, K, ...) that a variable (times, ...) reaches the K values of ``axis``."""
    about: dict[str, object] = {"long_name": words, "relation": "greater than or equal", "units": "1"}
    if "y" in of.dims:
        about["grid_mapping"] = "crs"
    encoding = {"coordinates": of.encoding["coordinates"]} | (BYTES if "y" in of.dims else {})
    return xr.Variable((of.dims[0], axis, *of.dims[1:]), values, about | attrs, encoding)
