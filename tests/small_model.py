"""Models for tests: small networks as training leaves them, and baselines as the registry gives them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.interface import FALLBACKS
from pipelines.nowcast.registered_model import LoadedModel
from scs_model import EncoderForecaster

NETWORK: dict[str, Any] = {"cell": "convlstm", "widths": [4], "kernel": 3, "downsample": 4, "leads": 12}


def untrained(seed: int = 0) -> EncoderForecaster:
    """A network that forecasts something of its own: its last layer isn't zero."""
    torch.manual_seed(seed)
    network = EncoderForecaster(**NETWORK)
    torch.nn.init.normal_(network.head.weight, std=0.1)
    return network


def write_model(folder: Path, description: object, *, seed: int = 0) -> Path:
    """Write an untrained network's weights beside ``description``."""
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(description))
    save_file(untrained(seed).state_dict(), folder / "weights.safetensors")
    return folder


def loaded(method: str, **description: Any) -> LoadedModel:
    """A baseline as the registry gives it."""
    said = ModelDescription.model_validate({"method": method, "inputs": 3} | description)
    uri = "models:/radar-nowcast@champion"
    return LoadedModel(uri, "radar-nowcast", "7", "ab" * 32, FALLBACKS[method], said)
