"""Models come back from their folders, or are refused in one line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from rigid_rain import rigid
from safetensors.torch import save_file
from small_model import NETWORK, untrained, write_model

from pipelines.common.errors import UserError
from pipelines.nowcast.methods import lagrangian
from pipelines.nowcast.methods.distribution import distribution_of
from pipelines.nowcast.methods.extrapolation import extrapolation
from pipelines.nowcast.methods.interface import FALLBACKS, baseline, load_forecaster
from pipelines.nowcast.methods.network import FixedNetworkForecaster, NetworkForecaster
from pipelines.params.nowcast import BASELINES
from pipelines.params.read import read_params
from scs_model import EncoderForecaster


def test_a_model_comes_back_from_its_folder(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", {"method": "network", "inputs": 4, "network": NETWORK})
    frames = rigid(4, dx=1, dy=1, shape=(24, 40))
    expected = NetworkForecaster(untrained(), 4)(frames, 3)
    np.testing.assert_array_equal(load_forecaster(folder)[0](frames, 3), expected)
    for name, forecaster in FALLBACKS.items():
        assert load_forecaster(write_model(tmp_path / name, {"method": name, "inputs": 3}))[0] is forecaster


def test_a_network_s_coordinates_are_those_of_its_description(tmp_path: Path) -> None:
    kinds = {}
    for name, network in (("old", NETWORK), ("fixed", NETWORK | {"coordinates": "fixed"})):
        folder = write_model(tmp_path / name, {"method": "network", "inputs": 4, "network": network})
        save_file(EncoderForecaster(**network).state_dict(), folder / "weights.safetensors")
        kinds[name] = type(load_forecaster(folder)[0])
    assert kinds == {"old": NetworkForecaster, "fixed": FixedNetworkForecaster}


def test_a_network_computes_where_it_is_told(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", {"method": "network", "inputs": 4, "network": NETWORK})
    frames = rigid(4, dx=1, dy=1, shape=(24, 40))
    on_cpu, of_auto = (load_forecaster(folder, device)[0] for device in ("cpu", "auto"))
    np.testing.assert_allclose(of_auto(frames, 3), on_cpu(frames, 3), rtol=1e-3, atol=1e-3)
    devices = [next(of.network.parameters()).device.type for of in (on_cpu, of_auto)]
    assert devices == ["cpu", "cuda" if torch.cuda.is_available() else "cpu"]
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"^device: cuda, and torch finds no GPU here$"):
            load_forecaster(folder, "cuda")


@pytest.mark.parametrize("frames", ["rain", "dry", "one wet pixel", "unseen", "newest unseen"])
@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_gives_a_distribution_wherever_both_motions_know_something(
    tmp_path: Path, name: str, frames: str
) -> None:
    if (name, frames) == ("linda", "rain"):
        pytest.skip("takes 10 s: tests/pipelines/nowcast/methods/test_steps.py has it")
    rates, leads = [0.1, 1.0, 5.0], 3
    climate = tmp_path / "climatology.json"
    climate.write_text(json.dumps({"rates": rates, "exceedance": [0.1, 0.02, 0.001]}))
    rain = rigid(3, dx=2, dy=-1, shape=(48, 64))
    rain[:, 20:24, 30:34] = np.nan
    if frames == "dry":
        rain[np.isfinite(rain)] = 0
    elif frames == "one wet pixel":
        rain[np.isfinite(rain)] = 0
        rain[:, 10, 10] = 7
    elif frames == "unseen":
        rain[:] = np.nan
    elif frames == "newest unseen":
        rain[-1] = np.nan
    params = read_params(Path(__file__).parents[4] / "params.yaml").evaluate.model_copy(update={"steps_members": 3})
    forecaster = baseline(name, params, rates, climate)(1000.0, 300)
    exceedance, fields, _ = distribution_of(forecaster, rain, leads, rates)
    assert exceedance.shape == (leads, 3, *rain.shape[1:])
    assert exceedance.dtype == np.float32
    # The mask of the scores: all methods say something there.
    known = np.isfinite(extrapolation(rain, leads)) & np.isfinite(rain[-1])
    known &= np.isfinite(lagrangian.advect(np.repeat(rain[-1:], leads, axis=0), lagrangian.motion(rain)))
    assert known.any() == (frames not in ("unseen", "newest unseen"))
    of_known = exceedance.swapaxes(0, 1)[:, known]
    assert ((of_known >= 0) & (of_known <= 1)).all()
    assert (np.diff(of_known, axis=0) <= 1e-6).all()
    assert (np.isnan(exceedance).all(axis=1) == np.isnan(exceedance).any(axis=1)).all()
    np.testing.assert_array_equal(next(iter(fields.values())), forecaster(rain, leads))
    for field in fields.values():
        assert np.isfinite(field[known]).all()
    if name == "climatology":
        np.testing.assert_allclose(of_known.T, np.broadcast_to([0.1, 0.02, 0.001], (known.sum(), 3)))
    elif frames == "dry":
        np.testing.assert_allclose(of_known, 0, atol=1e-6)
    elif frames == "rain":
        assert of_known[0].max() > 0.9
        assert of_known[0].min() < 0.1


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
        ("model.json", b'{"method": "extrapolation", "inputs": 1000000}', "model.json: .*: inputs: .* 1000 "),
        (
            "model.json",
            json.dumps({"method": "network", "inputs": 4, "network": NETWORK | {"widths": [1 << 70]}}).encode(),
            "model.json: no network can be built from it: ",
        ),
        ("model.json", b'{"method": "network", "inputs": 4}', "model.json: not .*: key network: of method network"),
        (
            "model.json",
            json.dumps({"method": "network", "inputs": 4, "network": NETWORK | {"cell": "gru"}}).encode(),
            "model.json: no network can be built from it: .*gru",
        ),
        (
            "model.json",
            json.dumps(
                {"method": "network", "inputs": 4, "rates": [1.0, 2.0], "network": NETWORK | {"coordinates": "fixed"}}
            ).encode(),
            "model.json: no network can be built from it: .*no probabilities",
        ),
        (
            "model.json",
            json.dumps({"method": "network", "inputs": 4, "network": NETWORK | {"coordinates": "polar"}}).encode(),
            "model.json: not a model's description: network.coordinates: .*'moving' or 'fixed'",
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


@pytest.mark.parametrize("file", ["model.json", "weights.safetensors"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, file: str) -> None:
    folder = write_model(tmp_path / "model", {"method": "network", "inputs": 3, "network": NETWORK})
    (folder / file).unlink()
    os.mkfifo(folder / file)
    with pytest.raises(UserError, match=rf"model/{file}: no file$"):
        load_forecaster(folder)
