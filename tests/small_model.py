"""Small networks for tests, as training leaves them: a folder of ``model.json`` and ``weights.safetensors``."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from scs_model import EncoderForecaster

NETWORK: dict[str, Any] = {"cell": "convlstm", "widths": [4], "kernel": 3, "downsample": 4}


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
