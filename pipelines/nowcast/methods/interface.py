"""The methods that need no training, by name, and how any method is made for a store's pixels and steps."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.common.errors import UserError
from pipelines.nowcast.methods.forecasters import BASELINES, Forecaster, load_forecaster, read_description
from pipelines.nowcast.methods.steps import sprog, steps
from pipelines.params.radar import Evaluate

PYSTEPS = ("extrapolation", "sprog", "steps")  # what a network has to beat
NAMES = ("persistence", *PYSTEPS)

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
