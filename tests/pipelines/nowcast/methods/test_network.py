"""Forecasters against fields that move as we say, and what they do where nothing is known."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from small_model import NETWORK, untrained, write_model

from pipelines.common.errors import UserError
from pipelines.nowcast.methods import lagrangian
from pipelines.nowcast.methods.extrapolation import Forecaster, extrapolation, lucas_kanade, persistence
from pipelines.nowcast.methods.interface import FALLBACKS, load_forecaster
from pipelines.nowcast.methods.network import NetworkForecaster, probability_matching
from scs_model import EncoderForecaster


def rigid(count: int, *, dx: int, dy: int, shape: tuple[int, int] = (128, 160), seed: int = 0) -> np.ndarray:
    """Showers that only move, by whole pixels: dx columns east and dy rows south a frame; (count, H, W) mm/h."""
    H, W = shape
    margin = count * max(abs(dx), abs(dy))
    texture = gaussian_filter(np.random.default_rng(seed).standard_normal((H + 2 * margin, W + 2 * margin)), 4)
    rain = np.where(texture > 0.3 * texture.std(), np.exp(1.2 * texture / texture.std()), 0).astype(np.float32)
    corners = [(margin - dy * t, margin - dx * t) for t in range(count)]
    return np.stack([rain[y : y + H, x : x + W] for y, x in corners])


def test_persistence_is_the_newest_frame() -> None:
    frames = rigid(3, dx=2, dy=1, shape=(20, 30))
    forecast = persistence(frames, 5)
    assert forecast.shape == (5, 20, 30)
    assert all(np.array_equal(of_lead, frames[-1]) for of_lead in forecast)


@pytest.mark.parametrize(("dx", "dy"), [(3, -2), (-4, 1), (0, 5)])
def test_motion_and_extrapolation_of_a_rigid_field(dx: int, dy: int) -> None:
    frames = rigid(8, dx=dx, dy=dy)
    seen, future = frames[:4], frames[4:]
    np.testing.assert_allclose(np.median(lucas_kanade(seen), axis=(1, 2)), [dx, dy], atol=0.1)
    forecast = extrapolation(seen, 4)
    assert forecast.shape == future.shape
    assert forecast.dtype == np.float32
    known = np.isfinite(forecast)
    for lead in range(4):
        error = np.abs(forecast[lead] - future[lead])[known[lead]].mean()
        assert error < 0.03 * np.abs(seen[-1] - future[lead])[known[lead]].mean()
        # What came over the edge since is not known, all else is.
        H, W = future[lead].shape
        over_x, over_y = (lead + 1) * abs(dx), (lead + 1) * abs(dy)
        came = H * W - (H - over_y) * (W - over_x)
        assert (~known[lead]).sum() == pytest.approx(came, abs=H + W)
        upstream = np.s_[: over_y - 1] if dy > 0 else np.s_[H - over_y + 1 :]
        assert not known[lead][upstream].any()
    # It knows no more of the frames that are to come than that they come.
    np.testing.assert_array_equal(extrapolation(seen, 2), forecast[:2])


def test_what_the_radar_doesn_t_see_moves_along_as_unknown() -> None:
    frames = rigid(5, dx=5, dy=0)[:4]
    frames[:, 50:70, 60:80] = np.nan  # a blind spot stands still, while the echo goes over it
    assert np.median(lucas_kanade(frames)[0]) == pytest.approx(5, abs=0.3)
    forecast = extrapolation(frames, 2)
    assert np.isnan(forecast[1, 52:68, 73:87]).all()  # two steps east of the blind spot
    assert np.isfinite(forecast[1, 52:68, 62:68]).all()  # over the spot itself is what was west of it


def few_frames(kind: str) -> np.ndarray:
    """Frames in which there is little to go by, (4, 24, 40) mm/h."""
    frames = np.zeros((4, 24, 40), np.float32)
    if kind == "unseen":
        frames[:] = np.nan
    elif kind == "newest unseen":
        frames[-1] = np.nan
    elif kind == "only newest seen":
        frames[:-1] = np.nan
        frames[-1, 5:9, 5:9] = 3.0
    elif kind == "one pixel":
        frames[:, 12, 20] = 3.0
    elif kind == "rain everywhere":
        frames[:] = 3.0
    return frames


@pytest.mark.parametrize("kind", ["dry", "unseen", "newest unseen", "only newest seen", "one pixel", "rain everywhere"])
@pytest.mark.parametrize("forecaster", [persistence, extrapolation, NetworkForecaster(untrained(), 4)])
def test_little_to_go_by_breaks_no_forecaster(forecaster: Forecaster, kind: str) -> None:
    frames = few_frames(kind)
    before = frames.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecast = forecaster(frames, 3)
    assert forecast.shape == (3, 24, 40)
    assert forecast.dtype == np.float32
    assert not (forecast < 0).any()
    unseen = np.isnan(frames[-1])
    assert np.isnan(forecast[:, unseen]).all()
    if not unseen.any():
        assert np.isfinite(forecast).all()
    np.testing.assert_array_equal(frames, before)
    if forecaster is extrapolation and kind != "newest unseen":
        np.testing.assert_allclose(forecast, persistence(frames, 3), rtol=1e-5)  # nothing is seen to move


def test_a_network_that_has_learned_nothing_moves_the_newest_frame_on_any_grid() -> None:
    frames = rigid(4, dx=1, dy=1, shape=(37, 51))
    frames[:, :5, 40:] = np.nan
    network = NetworkForecaster(EncoderForecaster(**NETWORK), 4)
    said = network(frames, 3)
    unseen = np.isnan(frames[-1])
    moved = lagrangian.advect(np.stack([frames[-1]] * 3), lagrangian.motion(frames))
    came = np.isnan(moved) & ~unseen  # from beyond the edge, or from what isn't seen
    assert came.any()
    assert np.isnan(said[:, unseen]).all()
    near = np.isfinite(moved) & ~unseen
    np.testing.assert_allclose(said[near], moved[near], rtol=1e-3, atol=1e-3)
    assert np.isfinite(said[:, ~unseen]).all()
    assert not network.network.training


def test_the_rates_of_a_network_are_those_of_the_newest_frame_in_its_own_order() -> None:
    rng = np.random.default_rng(0)
    observed = rng.gamma(0.5, 2.0, (30, 40)).astype(np.float32)
    observed[:, :4] = np.nan
    forecast = rng.permuted(observed.ravel()).reshape(30, 40)
    forecast = np.nan_to_num(forecast, nan=1.0) ** 2 + 0.1
    matched = probability_matching(forecast, observed)
    seen = np.isfinite(observed)
    order = np.argsort(forecast[seen])
    assert (np.diff(matched[seen][order]) >= 0).all()
    np.testing.assert_allclose(np.sort(matched[seen]), np.sort(observed[seen]), atol=1e-3)
    assert not matched[~seen].any()
    # What a forecast says is its order alone.
    np.testing.assert_array_equal(probability_matching(forecast * 4.0, observed), matched)
    assert not probability_matching(forecast, np.zeros_like(observed)).any()
    assert not probability_matching(forecast, np.full_like(observed, np.nan)).any()


def test_after_the_last_lead_time_that_it_was_trained_for_rain_only_moves_on() -> None:
    frames = np.repeat(rigid(1, dx=0, dy=0, shape=(40, 40)), 4, axis=0)  # nothing moves
    said = NetworkForecaster(untrained(), 4)(frames, 14)
    assert not np.allclose(said[10], said[11])
    np.testing.assert_allclose(said[12:], said[[11, 11]], atol=1e-3)


def test_a_network_takes_the_newest_frames_that_it_was_trained_on_and_no_fewer() -> None:
    frames = rigid(6, dx=1, dy=1, shape=(24, 40))
    network = NetworkForecaster(untrained(), 4)
    np.testing.assert_array_equal(network(frames, 2), network(frames[2:], 2))
    with pytest.raises(UserError, match="wants 4 frames, and got 3"):
        network(frames[3:], 2)


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
