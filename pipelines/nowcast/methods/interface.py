"""The methods by name: those that need no training, the model in a folder, and any of them for a store."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from safetensors import SafetensorError
from safetensors.torch import load_file

from pipelines.common.errors import UserError, in_short
from pipelines.nowcast.methods.extrapolation import MOTION_FRAMES, Forecaster, extrapolation, persistence
from pipelines.nowcast.methods.network import NetworkForecaster
from pipelines.nowcast.methods.steps import sprog, steps
from pipelines.params.nowcast import Baseline, Evaluate
from scs_model import EncoderForecaster

NAMES: tuple[str, ...] = get_args(Baseline)
PYSTEPS = tuple(name for name in NAMES if name != "persistence")  # what a network has to beat
BASELINES: dict[str, Forecaster] = {"persistence": persistence, "extrapolation": extrapolation}
INPUTS = {"persistence": 1, "extrapolation": MOTION_FRAMES}  # newest frames that each looks at

# Pixel size (metres) and step from frame to frame (seconds) to the forecaster; raises UserError for another step than
# its own.
ForecasterFactory = Callable[[float, int], Forecaster]


def baseline(name: str, params: Evaluate) -> ForecasterFactory:
    """Return the factory of the baseline ``name``, one of `NAMES`."""
    if name == "sprog":
        return lambda pixel_m, step_s: sprog()
    if name == "steps":
        return lambda pixel_m, step_s: steps(
            members=params.steps_members, seed=params.seed, pixel_m=pixel_m, step_s=step_s
        )
    return lambda pixel_m, step_s: BASELINES[name]


def factory_from(forecaster: Forecaster, description: Mapping[str, Any]) -> ForecasterFactory:
    """Return the factory of a model from its forecaster and its ``model.json``."""

    def make(pixel_m: float, step_s: int) -> Forecaster:
        own = description.get("step_seconds", step_s)
        if own != step_s:
            raise UserError(f"its steps are of {own} s, and those of the data of {step_s} s")
        return forecaster

    return make


def factory(model: str, params: Evaluate) -> ForecasterFactory:
    """Return the factory of a baseline by its name, or of the model in a folder.

    Raises
    ------
    UserError
        If it is neither.
    """
    if model in NAMES:
        return baseline(model, params)
    return factory_from(load_forecaster(Path(model)), read_description(Path(model)))


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
