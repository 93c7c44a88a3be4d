"""The files of a cycle, all or none; but for those that nobody wants.

========================  =============================================================================================
``forecast.nc``           the dataset of `pipelines.operation.products.dataset`, CF netCDF
``forecast.zarr``         the same, Zarr: format 2 and without shards, which GDAL reads as well
``cog/NAME_STAMP.tif``    its fields, Cloud-Optimized GeoTIFF, for each valid time or period: rain rate, amount, and of
                          probabilities a band for each threshold
``forecast.png``          the newest observed frame and four lead times at a glance
``probabilities.png``     of a forecast that has some, at the same lead times
``amounts.png``           those of amounts over 30 minutes, of a forecast with members
``areas.csv``, ``.json``   rain of areas, where the domain has some
``maps/KIND_STAMP.png``   a map for each observed frame and each lead time
``forecast.gif``          these maps, one after the other
========================  =============================================================================================
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import dask
import numpy as np
import xarray as xr

from pipelines.common.errors import UserError
from pipelines.common.files import atomic_path
from pipelines.operation.products.animation import write_maps
from pipelines.operation.products.dataset import PROBABILITY, RATE
from pipelines.operation.products.geotiff import write_cogs
from pipelines.operation.products.names import (
    AMOUNTS,
    ANIMATION,
    AREAS_CSV,
    AREAS_JSON,
    COGS,
    MAPS,
    NETCDF,
    PICTURE,
    PROBABILITIES,
    STAMP,
    ZARR,
)
from pipelines.operation.products.probability_maps import credit_line, draw_probabilities
from pipelines.operation.products.regions import NAMES, write_tables
from pipelines.params.operation import LeftOut
from pipelines.radar.frame import Frame
from pipelines.radar.lead_times import few_leads
from pipelines.radar.maps import draw_maps, thinned

PLANES = 2  # that are packed at once
AMOUNT_PROBABILITY = "rainfall_amount_30min_exceedance_probability"


def publish(forecast: xr.Dataset, observed: Sequence[Frame], folder: Path, leave_out: Sequence[LeftOut] = ()) -> None:
    """Write a forecast's files into ``folder``, all or none; raises UserError if nothing can be written there.

    Parameters
    ----------
    forecast : Dataset
        See :func:`pipelines.operation.products.dataset.forecast_dataset`.
    observed : sequence of Frame
        That it was made from, oldest first.
    leave_out : sequence of {"zarr", "geotiffs", "maps"}
    """
    try:
        with atomic_path(folder, names=STAMP) as temporary:
            temporary.mkdir()
            planes = in_planes(forecast)
            with dask.config.set(num_workers=PLANES):
                planes.to_netcdf(temporary / NETCDF, engine="netcdf4", format="NETCDF4")
                if "zarr" not in leave_out:
                    planes.to_zarr(temporary / ZARR, zarr_format=2, consolidated=True)
            if "geotiffs" not in leave_out:
                (temporary / COGS).mkdir()
                write_cogs(forecast, temporary / COGS)
            draw_forecast(forecast, observed[-1], temporary / PICTURE)
            for name, picture in ((PROBABILITY, PROBABILITIES), (AMOUNT_PROBABILITY, AMOUNTS)):
                if name in forecast:
                    draw_probabilities(forecast, name, temporary / picture)
            if NAMES in forecast:
                write_tables(forecast, temporary / AREAS_CSV, temporary / AREAS_JSON)
            if "maps" not in leave_out:
                (temporary / MAPS).mkdir()
                write_maps(forecast, observed, temporary / MAPS, temporary / ANIMATION)
    except OSError as error:
        raise UserError(f"{folder}: can't be written: {error.strerror or error}") from error


def in_planes(forecast: xr.Dataset) -> xr.Dataset:
    """Return a forecast that is packed plane by plane when it is written: all at once take four times its memory."""
    planes = {}
    for name, of in forecast.data_vars.items():
        if of.dims[-2:] == ("y", "x"):
            plane = dict(zip(of.dims, (*(1 for _ in of.dims[:-2]), *of.shape[-2:]), strict=True))
            planes[name] = of.variable.chunk(plane, name=f"{name}-{uuid4().hex}", inline_array=True)
    return forecast.assign(planes)


def draw_forecast(forecast: xr.Dataset, observed: Frame, path: Path) -> None:
    """Draw the newest observed frame and the forecast at four lead times."""
    shown = few_leads(forecast.sizes["lead_time"])
    valid = forecast["time"].to_numpy()[shown]
    minutes = forecast["lead_time"].to_numpy()[shown] // 60
    few, grid = thinned(observed.grid)
    draw_maps(
        {"": [observed.rain_rate[few], *(forecast[RATE][lead].to_numpy()[few].copy() for lead in shown)]},
        [
            f"observed {_clock(observed.time)}",
            *(f"+{m} min, {_clock(t)}" for m, t in zip(minutes, valid, strict=True)),
        ],
        grid,
        f"Rain rate, {forecast.attrs['source']}, from {np.datetime_as_string(observed.time, 'm')} UTC"
        + credit_line(forecast),
        path,
    )


def _clock(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[m]').astype(datetime):%H:%M} UTC"
