"""Models for tests: small networks as training leaves them, and baselines as the registry gives them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.distribution import Distribution, certain
from pipelines.nowcast.methods.extrapolation import extrapolation, persistence
from pipelines.nowcast.methods.interface import FALLBACKS
from pipelines.nowcast.methods.normalisation import thresholds
from pipelines.nowcast.registered_model import LoadedModel
from scs_model import EncoderForecaster

NETWORK: dict[str, Any] = {"cell": "convlstm", "widths": [4], "kernel": 3, "downsample": 4, "leads": 12}


def untrained(seed: int = 0, rates: Sequence[float] | None = None) -> EncoderForecaster:
    """A network that forecasts something of its own: its last layer isn't zero."""
    torch.manual_seed(seed)
    network = EncoderForecaster(**NETWORK, thresholds=thresholds(rates) if rates else None)
    torch.nn.init.normal_(network.head.weight, std=0.1)
    return network


def write_model(folder: Path, description: Any, *, seed: int = 0) -> Path:
    """Write an untrained network's weights beside ``description``."""
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(description))
    save_file(untrained(seed, dict(description).get("rates")).state_dict(), folder / "weights.safetensors")
    return folder


def loaded(method: str, **description: Any) -> LoadedModel:
    """A baseline as the registry gives it."""
    said = ModelDescription.model_validate({"method": method, "inputs": 3} | description)
    uri = "models:/radar-nowcast@champion"
    return LoadedModel(uri, "radar-nowcast", "7", "ab" * 32, FALLBACKS[method], said)


class Mixture:
    """Extrapolation, 3 to 1 with persistence: probabilities of 0, 0.25, 0.75 and 1, and their mean."""

    def __call__(self, rain_rate: np.ndarray, leads: int) -> np.ndarray:
        return self.distribution(rain_rate, leads, [1.0]).fields["mean"]

    def distribution(self, rain_rate: np.ndarray, leads: int, rates: Sequence[float]) -> Distribution:
        moved, still = (one(rain_rate, leads) for one in (extrapolation, persistence))
        exceedance = 0.75 * certain(moved, rates) + 0.25 * certain(still, rates)
        return Distribution(exceedance, {"mean": 0.75 * moved + 0.25 * still, "median": moved})


def probabilistic(rates: Sequence[float] = (0.1, 1.0, 5.0), **description: Any) -> LoadedModel:
    """A `Mixture` as the registry gives it."""
    model = loaded("extrapolation", name="mixture", rates=list(rates), **description)
    return replace(model, forecaster=Mixture())
