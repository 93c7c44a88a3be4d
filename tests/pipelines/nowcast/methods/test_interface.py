"""Models come back from their folders, or are refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from rigid_rain import rigid
from small_model import NETWORK, untrained, write_model

from pipelines.common.errors import UserError
from pipelines.nowcast.methods.interface import FALLBACKS, load_forecaster
from pipelines.nowcast.methods.network import NetworkForecaster


def test_a_model_comes_back_from_its_folder(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", {"method": "network", "inputs": 4, "network": NETWORK})
    frames = rigid(4, dx=1, dy=1, shape=(24, 40))
    expected = NetworkForecaster(untrained(), 4)(frames, 3)
    np.testing.assert_array_equal(load_forecaster(folder)[0](frames, 3), expected)
    for name, baseline in FALLBACKS.items():
        assert load_forecaster(write_model(tmp_path / name, {"method": name, "inputs": 3}))[0] is baseline


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("model.json", None, "model.json: not a model's description: .*No such file"),
        ("model.json", b"{", "model.json: not a model's description: "),
        ("model.json", b"\xff\xfe", "model.json: not a model's description: "),
        ("model.json", b"[1]", "model.json: not a model's description: the file: should be a section of keys"),
        ("model.json", b'{"method": "network"}', "model.json: not a model's description: inputs: missing"),
        (
            "model.json",
            b'{"method": "extrapolation", "inputs": 3, "name": "[a](b)"}',
            "model.json: .*: name: String should",
        ),
        ("model.json", b'{"method": "network", "inputs": 4}', "model.json: not .*: key network: of method network"),
        (
            "model.json",
            json.dumps({"method": "network", "inputs": 4, "network": NETWORK | {"cell": "gru"}}).encode(),
            "model.json: no network can be built from it: .*gru",
        ),
        (
            "model.json",
            json.dumps({"method": "network", "inputs": 4, "network": NETWORK | {"heads": 4}}).encode(),
            "model.json: not a model's description: network.heads: unknown key",
        ),
        (
            "model.json",
            json.dumps({"method": "network", "inputs": 4, "network": NETWORK | {"leads": None}}).encode(),
            "model.json: not a model's description: network: .*older code, train again",
        ),
        (
            "model.json",
            json.dumps({"method": "network", "inputs": 4, "network": NETWORK | {"widths": [8]}}).encode(),
            "weights.safetensors: .*size mismatch",
        ),
        ("weights.safetensors", None, "weights.safetensors: .*No such file"),
        ("weights.safetensors", b"", "weights.safetensors: "),
        ("weights.safetensors", b"PK\x03\x04 a pickle it is not", "weights.safetensors: "),
    ],
)
def test_a_broken_model_is_one_line(tmp_path: Path, file: str, content: bytes | None, words: str) -> None:
    folder = write_model(tmp_path / "model", {"method": "network", "inputs": 4, "network": NETWORK})
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        load_forecaster(folder)
    assert str(error.value).startswith(f"{folder}/{file if 'size mismatch' not in words else 'weights.safetensors'}: ")
    assert "\n" not in str(error.value)
