"""A network as a forecaster: in moving coordinates, with the rates of the newest frame."""

import numpy as np
import pytest
from rigid_rain import rigid
from small_model import NETWORK, untrained

from pipelines.common.errors import UserError
from pipelines.nowcast.methods import lagrangian
from pipelines.nowcast.methods.network import NetworkForecaster
from scs_model import EncoderForecaster


def test_a_network_that_has_learned_nothing_moves_the_newest_frame_on_any_grid() -> None:
    frames = rigid(4, dx=1, dy=1, shape=(37, 51))
    frames[:, :5, 40:] = np.nan
    network = NetworkForecaster(EncoderForecaster(**NETWORK), 4)
    said = network(frames, 3)
    unseen = np.isnan(frames[-1])
    moved = lagrangian.advect(np.stack([frames[-1]] * 3), lagrangian.motion(frames))
    moved[:, unseen] = np.nan
    np.testing.assert_allclose(said, moved, rtol=1e-3, atol=1e-3)
    assert not network.network.training


def test_where_rain_would_come_from_outside_nothing_is_known() -> None:
    frames = rigid(4, dx=2, dy=-1, shape=(64, 80))
    frames[:, 20:30, 30:40] = np.nan
    said = NetworkForecaster(untrained(), 4)(frames, 4)
    y, x = np.mgrid[:64, :80]
    for lead in (1, 2, 3, 4):
        from_y, from_x = y + lead, x - 2 * lead
        inside = (from_y < 62) & (from_x >= 2)  # a pixel for what optical flow gets wrong
        hole = (from_y >= 19) & (from_y < 31) & (from_x >= 29) & (from_x < 41) | np.isnan(frames[-1])
        deep = (from_y >= 22) & (from_y < 28) & (from_x >= 32) & (from_x < 38)
        assert np.isfinite(said[lead - 1][inside & ~hole]).mean() > 0.95
        assert np.isnan(said[lead - 1][(from_y > 66) | (from_x < -2) | deep]).mean() > 0.95


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
