"""Networks as a nowcast of pysteps: to import this module registers ``pysteps.nowcasts.get_method("scs")``.

pysteps 1.21 has plugin groups for importers and postprocessors, and none for nowcasts.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pysteps.nowcasts import interface

from pipelines.common.errors import UserError
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.distribution import ProbabilisticForecaster
from pipelines.nowcast.methods.extrapolation import Forecaster
from pipelines.nowcast.methods.members import draw_members
from pipelines.nowcast.registered_model import load
from pipelines.radar.frame import Rain


def forecast(
    precip: ArrayLike,
    velocity: ArrayLike | None,
    timesteps: int | Sequence[float],
    *,
    model: str | Path,
    timestep: float,
    kmperpixel: float,
    n_ens_members: int | None = None,
    seed: int | None = None,
) -> NDArray[np.float64]:
    """Forecast rain by a model, as pysteps' own methods do.

    Parameters
    ----------
    precip : array of shape (T_in, m, n)
        Rain rate in mm/h, oldest first, NaN or masked where nothing is known.
    velocity : array of shape (2, m, n) or None
        Not used: a model finds the motion in the frames themselves.
    timesteps : int or sequence
        How many steps, or which, whole ones in ascending order.
    model : str or Path
        ``extrapolation``, ``persistence``, ``simulated`` (a network that comes with this package, trained on simulated
        rain of 1 km and 5 minutes), a folder (``data/models/scs``) or an MLflow URI (``models:/radar-nowcast/2``).
    timestep : float
        Minutes from frame to frame, and of the forecast's steps.
    kmperpixel : float
        Pixel size, km.
    n_ens_members : int, optional
        Members to draw of a model with probabilities; without it, the model's field.
    seed : int, optional
        The same one draws the same members.

    Returns
    -------
    ndarray of shape (timesteps, m, n), or (n_ens_members, timesteps, m, n)
        mm/h, NaN where nothing is known.

    Raises
    ------
    UserError
        In one line, if the frames, the steps or the model don't fit.

    Examples
    --------
    >>> import pipelines.nowcast.pysteps_method
    >>> nowcast = pysteps.nowcasts.get_method("scs")
    >>> rain = nowcast(frames, None, 12, model="simulated", timestep=5, kmperpixel=1.0)
    """
    frames = np.ma.filled(np.ma.asarray(precip, np.float32), np.nan)
    which = np.arange(1, timesteps + 1) if isinstance(timesteps, int | np.integer) else np.asarray(timesteps, float)
    if frames.ndim != 3:
        raise UserError(f"precip: frames (T_in, m, n) are wanted, and it is of shape {frames.shape}")
    if np.isposinf(frames).any():
        raise UserError("precip: it has infinite values: make them NaN where nothing is known")
    if not (0 < timestep < np.inf and 0 < kmperpixel < np.inf):
        raise UserError(f"timestep, kmperpixel: minutes and km above 0 are wanted; got {timestep} and {kmperpixel}")
    if (frames < 0).any():
        raise UserError("precip: mm/h are wanted, and it has values below 0: transform it back from dB first")
    if (
        which.ndim != 1
        or not which.size
        or (which != which.round()).any()
        or which[0] < 1
        or (np.diff(which) <= 0).any()
    ):
        raise UserError(f"timesteps: whole steps from 1 on, in ascending order, are wanted; got {timesteps}")
    forecaster, description = _load(model)
    if words := description.misfit(round(timestep * 60), kmperpixel * 1000, str(model)):
        raise UserError(words)
    if len(frames) < description.inputs:
        raise UserError(f"precip: {model} looks at {description.inputs} frames, and there are {len(frames)}")
    frames, leads, chosen = frames[-description.inputs :], int(which[-1]), which.astype(int) - 1
    if n_ens_members is None:
        return forecaster(frames, leads)[chosen].astype(np.float64)
    return np.stack(
        [member[chosen] for member in _members(forecaster, description, frames, leads, n_ens_members, seed)],
        dtype=np.float64,
    )


def _load(model: str | Path) -> tuple[Forecaster, ModelDescription]:
    """Return a model's forecaster and description; raises UserError if there is none."""
    loaded = load(str(model))
    return loaded.forecaster, loaded.description


def _members(
    forecaster: Forecaster, description: ModelDescription, frames: Rain, leads: int, count: int, seed: int | None
) -> Iterator[Rain]:
    if not isinstance(forecaster, ProbabilisticForecaster) or description.rates is None:
        raise UserError(f"n_ens_members: {description.title} gives no probabilities to draw members of")
    if count < 1:
        raise UserError(f"n_ens_members: 1 or more are wanted; got {count}")
    if seed is None:
        seed = int(np.random.default_rng().integers(1 << 32))
    exceedance = forecaster.distribution(frames, leads, description.rates).exceedance
    return draw_members(exceedance, description.rates, frames, count=count, seed=seed)


interface._nowcast_methods["scs"] = forecast
