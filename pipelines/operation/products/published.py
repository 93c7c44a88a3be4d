"""Forecasts that were published, as they lie in a domain's folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipelines.common.errors import UserError, in_short
from pipelines.operation.products.attributes import ForecastAttributes
from pipelines.operation.products.dataset import FREQUENCY, MEMBER, PROBABILITY, valid_times
from pipelines.operation.products.names import NETCDF, STAMP
from pipelines.operation.products.regions import NAMES
from pipelines.operation.products.variables import OF_PROBABILITY
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.frame import Rain
from pipelines.radar.grid import pixel_metres


def published_times(out: Path) -> list[np.datetime64]:
    """List the reference times of the forecasts in ``out``, in order."""
    names = sorted(path.name for path in out.glob("*Z") if STAMP.fullmatch(path.name))
    return [np.datetime64(pd.to_datetime(name, format="%Y%m%dT%H%M%SZ"), "s") for name in names]


def silent_since(out: Path, now: np.datetime64, minutes: int | None) -> str | None:
    """Return in words for how long no forecast has been published, if for more than ``minutes``; None if not."""
    if minutes is None:
        return None
    published = published_times(out)
    if not published:
        return f"{out}: no forecast has been published yet"
    silence = (now - published[-1]) // np.timedelta64(60, "s")
    if silence <= minutes:
        return None
    return f"{out}: the newest forecast is of {published[-1]} UTC, {silence} minutes ago, and {minutes} are allowed"


@dataclass(frozen=True)
class PublishedForecast:
    """A published forecast, as its netCDF says.

    Parameters
    ----------
    folder : Path
        Of the cycle.
    attributes : ForecastAttributes
    reference : numpy.datetime64
        Time of the newest frame, UTC to the second.
    rain_rate : ndarray of shape (leads, H, W), mm/h
    minutes : ndarray of shape (leads,)
        Lead times.
    times : dict of str to ndarray
        For each of its rain variables the valid times, or ends of periods, of its fields; UTC to the second.
    pixel_m : float
    rates : list of float
        Whose probabilities it has, mm/h; none of a deterministic model.
    frequency : ndarray of shape (K,), optional
        Of such rain in the archives that its model was trained on; None if the model doesn't say.
    areas_sha256 : str, optional
        Of the areas whose rain it tells, see :func:`pipelines.operation.products.areas.digest`.
    """

    folder: Path
    attributes: ForecastAttributes
    reference: np.datetime64
    rain_rate: Rain
    minutes: NDArray[np.float64]
    times: dict[str, NDArray[np.datetime64]]
    pixel_m: float
    rates: list[float]
    frequency: NDArray[np.float32] | None
    areas_sha256: str | None

    @property
    def valid(self) -> NDArray[np.datetime64]:
        """Valid times, of shape (leads,)."""
        return self.times["rainfall_flux"]

    @property
    def inputs(self) -> NDArray[np.datetime64]:
        """Times of the frames that it was made from, oldest first."""
        return np.array([frame.time for frame in self.attributes.input_frames], "datetime64[s]")


class Probabilities(NamedTuple):
    """What a published forecast says of how likely rain is, at one lead time or over one period.

    Parameters
    ----------
    of : str
        Its variable that they are of, such as ``rainfall_flux`` or ``region_rainfall_amount_60min``.
    number : int
        Of the lead time or period.
    minutes : float
        The lead time, or the end of the period.
    thresholds : list of float
        K of them, mm/h or mm.
    members : int, optional
        Whose shares they are; None where they are a model's own.
    exceedance : ndarray of shape (K, H, W), or (K, A) of areas
    """

    of: str
    number: int
    minutes: float
    thresholds: list[float]
    members: int | None
    exceedance: NDArray[np.float32]


def read_published(folder: Path) -> PublishedForecast:
    """Read the forecast in a cycle's folder, but for its probabilities; raises UserError if it can't be read."""
    with opened(folder) as dataset:
        return PublishedForecast(
            folder,
            ForecastAttributes.model_validate(dataset.attrs),
            np.datetime64(dataset["forecast_reference_time"].item(), "ns").astype("datetime64[s]"),
            dataset["rainfall_flux"].to_numpy(),
            dataset["lead_time"].to_numpy() / 60,
            {name: times.astype("datetime64[s]") for name, times in valid_times(dataset).items()},
            pixel_metres(grid_of(dataset)),
            dataset["threshold"].to_numpy().tolist() if PROBABILITY in dataset else [],
            dataset[FREQUENCY].to_numpy().astype(np.float32) if FREQUENCY in dataset else None,
            dataset[NAMES].attrs.get("sha256") if NAMES in dataset else None,
        )


def read_probabilities(folder: Path) -> Iterator[Probabilities]:
    """Yield the probabilities of a forecast, one time after the other: of a continent all together take gigabytes.

    Raises
    ------
    UserError
        If they can't be read.
    """
    with opened(folder) as dataset:
        for name, variable in dataset.data_vars.items():
            if not str(name).endswith(OF_PROBABILITY):
                continue
            axis, level = map(str, variable.dims[:2])
            about = dataset[level].to_numpy().tolist(), variable.attrs.get("members")
            for number, seconds in enumerate(dataset[axis].to_numpy()):
                of = str(name).removesuffix(OF_PROBABILITY)
                yield Probabilities(of, number, float(seconds) / 60, *about, variable[number].to_numpy())


def read_members(folder: Path) -> Iterator[tuple[int, Rain]]:
    """Yield the members (H, W), mm/h, that a forecast kept, each with the number of its lead time, which come in order.

    Nothing of a forecast that kept none.

    Raises
    ------
    UserError
        If they can't be read.
    """
    with opened(folder) as dataset:
        if MEMBER in dataset:
            rain = dataset[MEMBER].transpose("lead_time", "realization", ...)
            for number, of_lead in enumerate(rain):
                for member in of_lead:
                    yield number, member.to_numpy()


@contextmanager
def opened(folder: Path) -> Iterator[xr.Dataset]:
    """Open the netCDF of a cycle's folder while the block runs; raises UserError if it can't be read there."""
    try:
        with xr.open_dataset(folder / NETCDF, decode_timedelta=False) as dataset:
            yield dataset
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # RuntimeError: HDF5, of damaged pixels
        raise UserError(f"{folder / NETCDF}: can't be read: {in_short(error)}") from None
