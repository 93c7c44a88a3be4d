"""Radar files of any format that is read here as an importer of pysteps: ``pysteps.io.get_method("scs", "importer")``.

pysteps imports this module whenever it is imported: what takes time is imported on use, and pysteps not at all.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def import_scs(filename: str, **hints: Any) -> tuple[NDArray[np.float64], None, dict[str, Any]]:
    """Import a radar file of one frame as rain rate.

    Parameters
    ----------
    filename : str
    **hints
        What the file doesn't say; see `pipelines.radar.xarray_engine.RadarEngine.open_dataset`.

    Returns
    -------
    precip : ndarray of shape (m, n)
        mm/h, NaN for no data.
    quality : None
    metadata : dict
        As pysteps' own importers give it; ``accutime`` is NaN of an instant.

    {extra_kwargs_doc}
    """
    from pipelines.common.errors import UnreadableFile
    from pipelines.radar.cf_grid import grid_of
    from pipelines.radar.grid import proj4
    from pipelines.radar.xarray_engine import RadarEngine

    asked = {name: value for name, value in hints.items() if name not in ("dtype", "fillna")}  # those are pysteps' own
    frames = RadarEngine().open_dataset(filename, **asked)
    if frames.sizes["time"] > 1:
        raise UnreadableFile(filename, f"{frames.sizes['time']} frames, and pysteps takes one; xarray's engine has all")
    grid, rain = grid_of(frames), frames["rainfall_flux"]
    (dy, dx), (left, bottom) = grid.spacing, (grid.x[0], grid.y[-1])
    interval = (
        frames["time_bounds"].diff("nv").to_numpy() / np.timedelta64(60, "s") if "time_bounds" in frames else np.nan
    )
    precip = rain[0].to_numpy().astype(np.float64)
    wet = precip[precip > 0]
    metadata = {
        "projection": proj4(grid.crs),
        "x1": left - dx / 2,
        "y1": bottom - dy / 2,
        "x2": grid.x[-1] + dx / 2,
        "y2": grid.y[0] + dy / 2,
        "xpixelsize": dx,
        "ypixelsize": dy,
        "cartesian_unit": "degrees" if grid.crs.is_geographic else "m",
        "yorigin": "upper",
        "institution": "not stated",
        "accutime": float(np.ravel(interval)[0]),
        "unit": "mm/h",
        "transform": None,
        "zerovalue": 0.0,
        "threshold": float(wet.min()) if wet.size else np.nan,
    }
    if "z_r_a" in rain.attrs:  # else pysteps takes Marshall and Palmer's
        metadata |= {"zr_a": rain.attrs["z_r_a"], "zr_b": rain.attrs["z_r_b"]}
    return precip, None, metadata
