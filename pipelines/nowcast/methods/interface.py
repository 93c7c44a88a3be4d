"""The methods by name: those that need no training, the model in a folder, and any of them for a store."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.common.errors import UserError
from pipelines.nowcast.methods.climatology import Climatology
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.extrapolation import MOTION_FRAMES, Forecaster, extrapolation, persistence
from pipelines.nowcast.methods.probability_baselines import climatology, lagrangian_probability, neighbourhood
from pipelines.nowcast.methods.steps import linda, sprog, steps
from pipelines.params.base import Device
from pipelines.params.nowcast import BASELINES, Evaluate
from pipelines.training.exported_model import read_manifest
from pipelines.training.model_folder import load_network

FALLBACKS: dict[str, Forecaster] = {"persistence": persistence, "extrapolation": extrapolation}
ENSEMBLES = {"steps": steps, "linda": linda}
INPUTS = {"persistence": 1, "extrapolation": MOTION_FRAMES}  # newest frames that each looks at

# Pixel size (metres) and step from frame to frame (seconds) to the forecaster; raises UserError for another step than
# its own.
ForecasterFactory = Callable[[float, int], Forecaster]


def baseline(name: str, params: Evaluate, rates: Sequence[float], climate: Path) -> ForecasterFactory:
    """Return the factory of the baseline ``name``, one of `BASELINES`.

    Parameters
    ----------
    rates : sequence of float
        Of the probabilities whose mean is the field of those that forecast nothing else.
    climate : Path
        climatology.json, which the baseline of that name reads.

    Raises
    ------
    UserError
        If it can't be read.
    """
    if name == "sprog":
        return lambda pixel_m, step_s: sprog()
    if name in ENSEMBLES:
        make, members, seed = ENSEMBLES[name], params.steps_members, params.seed
        return lambda pixel_m, step_s: make(members=members, seed=seed, pixel_m=pixel_m, step_s=step_s)
    if name == "lagrangian_probability":
        return lambda pixel_m, step_s: lagrangian_probability(pixel_m=pixel_m, step_s=step_s, rates=rates)
    if name == "neighbourhood":
        return lambda pixel_m, step_s: neighbourhood(pixel_m=pixel_m, rates=rates)
    if name == "climatology":
        of_climate = climatology(Climatology.read(climate))
        return lambda pixel_m, step_s: of_climate
    return lambda pixel_m, step_s: FALLBACKS[name]


def factory_from(forecaster: Forecaster, description: ModelDescription) -> ForecasterFactory:
    """Return the factory of a model from its forecaster and its description."""

    def make(pixel_m: float, step_s: int) -> Forecaster:
        if description.step_seconds not in (None, step_s):
            raise UserError(f"its steps are of {description.step_seconds} s, and those of the data of {step_s} s")
        return forecaster

    return make


def factory(model: str, params: Evaluate, rates: Sequence[float], climate: Path) -> ForecasterFactory:
    """Return the factory of a baseline by its name, or of the model in a folder; raises UserError if it is neither."""
    if model in BASELINES:
        return baseline(model, params, rates, climate)
    return factory_from(*load_forecaster(Path(model), params.device))


def load_forecaster(folder: Path, device: Device = "auto") -> tuple[Forecaster, ModelDescription]:
    """Return the forecaster in ``folder``, from ``model.json`` and for a network ``weights.safetensors``.

    Raises
    ------
    UserError
        If the folder holds no model, its weights don't fit, it is an exported one that isn't as it was registered, or a
        network is to compute on a GPU that isn't there.
    """
    read_manifest(folder)
    description = ModelDescription.read(folder)
    if description.network is None:
        return FALLBACKS[description.method], description
    # Here, not above: torch takes seconds to import, and a baseline needs none.
    from pipelines.nowcast.methods.network import (
        FixedNetworkForecaster,
        NetworkForecaster,
        ProbabilisticNetworkForecaster,
        build_network,
        torch_device,
    )

    network = load_network(folder, lambda: build_network(description))
    network.to(torch_device(device))
    if description.rates is None:
        kind = FixedNetworkForecaster if network.fixed else NetworkForecaster
        return kind(network, description.inputs), description
    forecaster = ProbabilisticNetworkForecaster(network, description.inputs, description.rates, description.field)
    return forecaster, description
