"""From the newest frames to a forecast: by the model that is asked for, or by what the policy has in its place.

The command `scs forecast` and the hourly flow both come through here.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipelines.common.errors import UserError, as_user_error
from pipelines.common.heap import trim
from pipelines.nowcast.methods.distribution import Exceedance, ProbabilisticForecaster
from pipelines.nowcast.methods.memory import needed_mb
from pipelines.nowcast.registered_model import LoadedModel, load
from pipelines.operation.inputs import Inputs, Source, choose_inputs
from pipelines.operation.products.additions import add_what_is_asked_for
from pipelines.operation.products.dataset import forecast_dataset
from pipelines.params.operation import Members, Policy
from pipelines.radar.frame import Frame, Rain
from pipelines.radar.grid import pixel_metres

ROUNDING = 1e-6  # by which a probability may be off


def forecast(
    source: Source,
    load_model: Callable[[], LoadedModel],
    policy: Policy,
    *,
    minutes: int = 60,
    members: Members | None = None,
    areas: Path | None = None,
    memory_limit_mb: int | None = None,
    snapshot: str | None = None,
) -> tuple[xr.Dataset, list[Frame]]:
    """Forecast on the frames' own grid up to ``minutes`` ahead, in the frames' own steps.

    A model that can't be loaded, doesn't fit the frames, fails, or gives what can't be rain, is replaced by the
    methods of ``policy.fallback`` in turn; attribute ``fallback`` of the forecast says by which and why. To log its
    warnings is the caller's: each has a log of its own.

    Parameters
    ----------
    load_model : callable
        Gives the model; may raise.
    minutes : int
        Longest lead time.
    members : Members, optional
        To draw of a model with probabilities.
    areas : Path, optional
        GeoJSON of those whose mean rain is told.
    memory_limit_mb : int, optional
        A method that needs more isn't used; see :func:`pipelines.nowcast.methods.memory.needed_mb`.
    snapshot : str, optional
        State of the live store that the frames are from.

    Returns
    -------
    forecast : Dataset
        See :func:`pipelines.operation.products.dataset.forecast_dataset`.
    observed : list of Frame
        The observed frames that it was made from, oldest first.

    Raises
    ------
    UserError
        If no lead time fits, the newest frame can't be used, or no method can.
    """
    step_s, newest = source.step_s(), source.newest(policy)
    leads = minutes * 60 // step_s
    if leads < 1:
        raise UserError(f"no lead time up to {minutes} minutes in steps of {step_s} s")
    refusals: list[UserError] = []
    fallbacks: list[Callable[[], LoadedModel]] = [partial(load, name) for name in policy.fallback]
    for give in (load_model, *fallbacks):
        try:
            with as_user_error("the model can't be loaded"):
                model = give()
            with as_user_error(model.uri):
                check_fit(model, newest, step_s, leads, memory_limit_mb)
            inputs = choose_inputs(source, model.description.inputs, policy, model.uri)
            rain_rate, exceedance = run(model, inputs, leads)
            trim()
        except UserError as error:
            refusals.append(error)
            continue
        fallback = f"{model.method}: {'; '.join(map(str, refusals))}" if refusals else None
        dataset = forecast_dataset(
            *(rain_rate, inputs, step_s, model, policy),
            rights=source.rights,
            exceedance=exceedance,
            fallback=fallback,
            snapshot=snapshot,
        )
        dataset = add_what_is_asked_for(
            dataset,
            exceedance,
            inputs,
            step_s,
            members=members,
            areas=areas,
            memory_limit_mb=memory_limit_mb,
            bytes_a_pixel=model.bytes_a_pixel.get("members"),
        )
        return dataset, inputs.observed
    if len(refusals) == 1:
        raise refusals[0]
    raise UserError("; ".join(map(str, refusals)))


def check_fit(model: LoadedModel, newest: Frame, step_s: int, leads: int, memory_limit_mb: int | None) -> None:
    """Refuse, by UserError, a model made for another cadence or pixel size, or one that needs too much memory."""
    description = model.description
    if words := description.misfit(step_s, pixel_metres(newest.grid), model.uri):
        raise UserError(words)
    if memory_limit_mb is None:
        return
    needed = needed_mb(description, newest.grid.shape, leads, model.bytes_a_pixel)
    if needed > memory_limit_mb:
        H, W = newest.grid.shape
        raise UserError(f"{model.uri} needs {needed:.0f} MB on {H}×{W} pixels, and {memory_limit_mb} are allowed")


def run(model: LoadedModel, inputs: Inputs, leads: int) -> tuple[Rain, Exceedance | None]:
    """Let a model forecast, and look at what it gives.

    Returns
    -------
    rain_rate : ndarray of shape (leads, H, W), mm/h
    exceedance : ndarray of shape (leads, K, H, W), optional
        At the model's own rates, of a model that has some.

    Raises
    ------
    UserError
        If it fails, or what it gives can't be rain, or no distribution of it.
    """
    rates, grid = model.description.rates, inputs.rain_rate.shape[1:]
    with as_user_error(model.uri):
        if rates is None:
            rain_rate, exceedance = _array(model, model.forecaster(inputs.rain_rate, leads), (leads, *grid)), None
        elif isinstance(model.forecaster, ProbabilisticForecaster):
            given = model.forecaster.distribution(inputs.rain_rate, leads, rates)
            rain_rate = _array(model, next(iter(given.fields.values())), (leads, *grid))
            exceedance = _array(model, given.exceedance, (leads, len(rates), *grid))
        else:
            raise UserError(f"{model.uri}: it has rates, and gives no probabilities")
        for wrong, words in (
            *_no_rain(rain_rate),
            *(() if exceedance is None else _no_distribution(exceedance, rain_rate)),
        ):
            if wrong:
                raise UserError(f"{model.uri}: it gives {words}")
    return rain_rate, exceedance


def _array(model: LoadedModel, given: Any, wanted: tuple[int, ...]) -> NDArray[np.float32]:
    array = given if hasattr(given, "dask") else np.asarray(given)  # a large grid's probabilities are in tiles
    if array.shape != wanted or array.dtype.kind != "f":
        raise UserError(f"{model.uri}: it gives {array.dtype} of shape {array.shape}, not {wanted}")
    return array


def _no_rain(rain_rate: Rain) -> Iterator[tuple[bool, str]]:
    """Yield whether it is what no rain can be, and the words."""
    known = False
    for rain in map(np.asarray, rain_rate):
        known = known or not np.isnan(rain).all()
        yield bool(np.isinf(rain).any()), "infinite rain"
        yield bool((rain < 0).any()), "negative rain"
    yield not known, "nothing but NaN"


def _no_distribution(exceedance: Exceedance, rain_rate: Rain) -> Iterator[tuple[bool, str]]:
    """Yield whether it is what no distribution can be, and the words; by planes, as all take gigabytes."""
    for of_lead, rain in zip(exceedance, map(np.asarray, rain_rate), strict=True):
        lower: Any = np.float32(1)
        for of_rate in map(np.asarray, of_lead):
            yield not np.array_equal(np.isnan(of_rate), np.isnan(rain)), "probabilities in other places than rain"
            yield bool((of_rate < -ROUNDING).any() or (of_rate > 1 + ROUNDING).any()), "probabilities beyond 0 to 1"
            yield bool((of_rate > lower + ROUNDING).any()), "heavier rain that is likelier than lighter"
            lower = of_rate
