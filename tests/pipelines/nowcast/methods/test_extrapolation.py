"""Extrapolation against fields that move as we say, and what any forecaster does where nothing is known."""

import warnings

import numpy as np
import pytest
from rigid_rain import rigid
from small_model import untrained

from pipelines.nowcast.methods.extrapolation import Forecaster, extrapolation, lucas_kanade, persistence
from pipelines.nowcast.methods.network import NetworkForecaster


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
        # Optical flow takes echo that wasn't seen before for echo that came in.
        assert np.isfinite(forecast).mean() > (0.9 if kind == "only newest seen" else 0.999)
    np.testing.assert_array_equal(frames, before)
    if forecaster is extrapolation and kind != "newest unseen":
        np.testing.assert_allclose(forecast, persistence(frames, 3), rtol=1e-5)  # nothing is seen to move
