"""Forecasters: rain rate of the newest frames in, rain rate of the next ones out, on any grid.

All have one signature, ``forecaster(rain_rate, leads)`` with (T_in, H, W) mm/h, NaN where the radar doesn't see,
oldest first, and give (leads, H, W) mm/h, NaN where they know nothing. Evaluation, registered model and hourly
forecast all come through here.
"""

import json
import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.functional import pad

from pipelines.common.errors import UserError, in_short
from pipelines.nowcast.methods import lagrangian
from pipelines.nowcast.methods.normalisation import normalise
from pipelines.radar.frame import DRY, Rain
from scs_model import EncoderForecaster

Forecaster = Callable[[Rain, int], Rain]

MOTION_FRAMES = 3  # newest ones that show Lucas–Kanade the motion

logging.getLogger("pysteps").setLevel(logging.WARNING)


def persistence(rain_rate: Rain, leads: int) -> Rain:
    """Forecast the newest frame again at every lead time."""
    return np.repeat(rain_rate[-1:], leads, axis=0)


def motion(rain_rate: Rain) -> NDArray[np.float64]:
    """Motion of the echo by Lucas–Kanade optical flow over the newest three frames.

    Parameters
    ----------
    rain_rate : ndarray of shape (T_in, H, W), mm/h

    Returns
    -------
    ndarray of shape (2, H, W)
        x and y displacement, pixels a frame; zero where nothing can be tracked.

    References
    ----------
    pysteps: Pulkkinen et al. 2019, doi:10.5194/gmd-12-4185-2019.
    """
    with redirect_stdout(None):  # it prints where its configuration lies
        from pysteps.motion.lucaskanade import dense_lucaskanade

    newest = rain_rate[-MOTION_FRAMES:]
    decibels = 10 * np.log10(np.maximum(newest, DRY), where=np.isfinite(newest), out=np.full_like(newest, np.nan))
    with warnings.catch_warnings():
        # Of few vectors it can't tell outliers, and says so in numpy's words.
        warnings.simplefilter("ignore", RuntimeWarning)
        return dense_lucaskanade(np.ma.masked_invalid(decibels))


def extrapolation(rain_rate: Rain, leads: int) -> Rain:
    """Move the newest frame along with :func:`motion` (backward semi-Lagrangian, pysteps).

    What has not been seen upstream is NaN.
    """
    with redirect_stdout(None):
        from pysteps.extrapolation.semilagrangian import extrapolate

    if not np.isfinite(rain_rate[-1]).any():
        return np.full((leads, *rain_rate.shape[1:]), np.nan, np.float32)
    moved = extrapolate(rain_rate[-1].astype(np.float64), motion(rain_rate), leads, allow_nonfinite_values=True)
    return moved.astype(np.float32)


class NetworkForecaster:
    """A trained network as a forecaster.

    Parameters
    ----------
    network : EncoderForecaster
    inputs : int
        Frames that it was trained on; older ones are not used.
    """

    def __init__(self, network: EncoderForecaster, inputs: int) -> None:
        self.network, self.inputs, self.leads = network.eval(), inputs, network.leads

    @torch.inference_mode()
    def __call__(self, rain_rate: Rain, leads: int) -> Rain:
        """Forecast; NaN where the newest frame is NaN.

        Rain that comes from outside the grid is not known of: none is forecast there. After the last lead time that
        the network was trained for, its rain only moves on.
        """
        if len(rain_rate) < self.inputs:
            raise UserError(f"the model wants {self.inputs} frames, and got {len(rain_rate)}")
        _, H, W = rain_rate.shape
        newest = np.ascontiguousarray(rain_rate[-self.inputs :])
        motion = lagrangian.motion(newest)
        x = normalise(torch.from_numpy(lagrangian.align(newest, motion, slice(0, H), slice(0, W))))[None, :, None]
        divisor = self.network.divisor
        x = pad(x, (0, -W % divisor, 0, -H % divisor))
        y = self.network(x, min(leads, self.leads))[0, :, 0, :H, :W].numpy()
        y = np.stack([probability_matching(field, newest[-1]) for field in y])
        y = np.concatenate([y, np.repeat(y[-1:], leads - len(y), axis=0)])
        return np.where(np.isfinite(rain_rate[-1]), np.nan_to_num(lagrangian.advect(y, motion)), np.float32(np.nan))


def probability_matching(forecast: Rain, observed: Rain) -> Rain:
    """Return a forecast the rain rates of the newest observed frame, in the forecast's order (probability matching).

    A forecast says better where it rains than how much: its amounts are those of the climates it was trained in. As in
    S-PROG, the observed ones of the hour are the better guess.

    Parameters
    ----------
    forecast : ndarray of shape (H, W)
        More means more rain; the unit doesn't matter.
    observed : ndarray of shape (H, W), mm/h
        In the same moving coordinates.

    Returns
    -------
    ndarray of shape (H, W), mm/h
        Zero where the observed is NaN.

    References
    ----------
    Ebert 2001, doi:10.1175/1520-0493(2001)129<2461:AOAPMS>2.0.CO;2; pysteps' nonparam_match_empirical_cdf.
    """
    with redirect_stdout(None):
        from pysteps.postprocessing.probmatching import nonparam_match_empirical_cdf

    seen = np.isfinite(observed)
    matched = np.zeros_like(observed)
    if (observed[seen] > 0).any():
        matched[seen] = nonparam_match_empirical_cdf(forecast[seen], observed[seen])
    return matched


BASELINES: dict[str, Forecaster] = {"persistence": persistence, "extrapolation": extrapolation}
INPUTS = {"persistence": 1, "extrapolation": MOTION_FRAMES}  # newest frames that each looks at


def read_description(folder: Path) -> dict[str, Any]:
    """Read the description of the model in ``folder``: its method, its inputs, and for a network how it is built.

    Raises
    ------
    UserError
        If there is none.
    """
    try:
        description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}/model.json: not a model's description: {error}") from None
    if not isinstance(description, dict) or not {"method", "inputs"} <= description.keys():
        raise UserError(f"{folder}/model.json: not a model's description: it names no method or no inputs")
    return description


def load_forecaster(folder: Path) -> Forecaster:
    """Build the forecaster in ``folder`` from ``model.json`` and, for a network, ``weights.safetensors``.

    Raises
    ------
    UserError
        If the folder holds no model, or its weights don't fit.
    """
    description = read_description(folder)
    if description["method"] in BASELINES:
        return BASELINES[description["method"]]
    try:
        if description["network"].get("leads") is None:
            raise ValueError("it forecasts where the rain is, not where it goes: made by older code, train again")
        network = EncoderForecaster(**description["network"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}/model.json: no network can be built from it: {error}") from None
    try:
        network.load_state_dict(load_file(folder / "weights.safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = in_short(error)
        raise UserError(f"{folder}/weights.safetensors: {reason}") from None
    return NetworkForecaster(network, description["inputs"])
