"""A network as a forecaster: in moving coordinates, with the rates of the newest frame."""

import numpy as np
import pytest
import torch
from rigid_rain import rigid
from small_model import NETWORK, untrained

from pipelines.common.errors import UserError
from pipelines.nowcast.methods import lagrangian
from pipelines.nowcast.methods.network import FixedNetworkForecaster, NetworkForecaster, ProbabilisticNetworkForecaster
from pipelines.nowcast.methods.normalisation import thresholds
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


RATES = [0.1, 1.0, 5.0]


def probabilistic(field: str = "mean") -> ProbabilisticNetworkForecaster:
    torch.manual_seed(0)
    network = EncoderForecaster(**NETWORK, thresholds=thresholds(RATES))
    torch.nn.init.normal_(network.head.weight, std=0.1)
    return ProbabilisticNetworkForecaster(network, 4, RATES, field)  # type: ignore[arg-type]


def test_probabilities_are_a_distribution_where_anything_is_known() -> None:
    frames = rigid(4, dx=2, dy=-1, shape=(37, 51))
    frames[:, 20:24, 30:34] = np.nan
    forecaster = probabilistic()
    exceedance, fields, members = forecaster.distribution(frames, 14, RATES)
    assert members is None
    assert exceedance.shape == (14, 3, 37, 51)
    known = np.isfinite(exceedance).all(axis=1)
    assert (np.isnan(exceedance).all(axis=1) == ~known).all()
    moved = NetworkForecaster(EncoderForecaster(**NETWORK), 4)(frames, 14)
    np.testing.assert_array_equal(known, np.isfinite(moved))
    assert np.nanmin(exceedance) >= 0 and np.nanmax(exceedance) <= 1
    assert (np.diff(exceedance, axis=1)[known.repeat(2).reshape(14, 37, 51, 2).transpose(0, 3, 1, 2)] <= 0).all()
    assert list(fields) == ["mean", "matched", "median", "optimal"]
    for kind, field in fields.items():
        np.testing.assert_array_equal(np.isfinite(field), known, err_msg=kind)


def test_a_call_gives_the_field_that_was_chosen() -> None:
    frames = rigid(4, dx=1, dy=1, shape=(32, 32))
    for kind in ("matched", "mean", "median", "optimal"):
        forecaster = probabilistic(kind)
        np.testing.assert_array_equal(forecaster(frames, 3), forecaster.distribution(frames, 3, RATES).fields[kind])


def test_each_lead_time_has_cuts_of_its_own_and_later_ones_those_of_the_last() -> None:
    frames = rigid(4, dx=1, dy=1, shape=(32, 32))
    forecaster = probabilistic("optimal")
    assert forecaster.network.exceedance is not None
    forecaster.network.exceedance.cuts.copy_(torch.linspace(0.2, 0.8, 12)[:, None].expand(12, 3))
    exceedance, fields, _ = forecaster.distribution(frames, 14, RATES)
    for lead, cut in ((0, 0.2), (5, 0.2 + 0.6 * 5 / 11), (11, 0.8), (13, 0.8)):
        likely = (exceedance[lead] >= cut).sum(axis=0)  # how many rates are
        assert (likely > 0).any()
        known = np.isfinite(fields["optimal"][lead])
        np.testing.assert_array_equal(fields["optimal"][lead][known], np.float32([0, *RATES])[likely][known])


def test_rates_are_asked_for_in_order_and_only_those_that_it_has() -> None:
    frames = rigid(4, dx=1, dy=1, shape=(32, 32))
    forecaster = probabilistic()
    every = forecaster.distribution(frames, 2, RATES).exceedance
    np.testing.assert_array_equal(forecaster.distribution(frames, 2, [0.1, 5.0]).exceedance, every[:, [0, 2]])
    for wrong, words in (([1.0, 2.0], r"not of \[2.0\]"), ([5.0, 1.0], "ascending order")):
        with pytest.raises(UserError, match=words):
            forecaster.distribution(frames, 2, wrong)


def test_an_untrained_network_says_of_the_first_lead_what_moves_in() -> None:
    """Persistence in moving coordinates: what exceeds a rate upstream is likely, and the rest is not."""
    frames = rigid(4, dx=1, dy=0, shape=(64, 64))
    network = EncoderForecaster(**NETWORK, thresholds=thresholds(RATES))
    exceedance = ProbabilisticNetworkForecaster(network, 4, RATES, "mean").distribution(frames, 1, RATES).exceedance
    moved = lagrangian.advect(frames[-1:], lagrangian.motion(frames))[0]
    for k, rate in enumerate(RATES):
        sure = np.isfinite(moved) & (np.abs(np.log(np.maximum(moved, 0.01) / rate)) > 0.7)
        assert ((exceedance[0, k] >= 0.5) == (moved >= rate))[sure].mean() > 0.99


def test_in_fixed_coordinates_a_forecast_is_what_the_network_says() -> None:
    torch.manual_seed(0)
    network = EncoderForecaster(**NETWORK, coordinates="fixed")
    frames = rigid(6, dx=2, dy=-1, shape=(37, 51))
    frames[:, :5, 40:] = np.nan
    said = FixedNetworkForecaster(network, 4)(frames, 14)
    x = np.zeros((1, 4, 1, 40, 52), np.float32)  # what isn't seen is black, and so is what completes a cell
    with np.errstate(divide="ignore"):
        dbz = 10 * np.log10(200 * np.nan_to_num(frames[2:]) ** 1.6)
    x[0, :, 0, :37, :51] = np.clip((dbz + 10) / 70, 0, 1)
    with torch.no_grad():
        image = network(torch.from_numpy(x), 12)[0, :, 0, :37, :51].numpy()
    wanted = np.where(image > 0, (10 ** ((70 * np.minimum(image, 1) - 10) / 10) / 200) ** (1 / 1.6), 0)
    known = np.isfinite(said[:12])
    np.testing.assert_allclose(said[:12][known], wanted[known], rtol=1e-3, atol=1e-6)
    for steps, later in enumerate(said[12:], 1):  # the last moves on
        there = lagrangian.advect(np.stack([wanted[-1]] * steps), lagrangian.motion(frames))[-1]
        np.testing.assert_allclose(later[np.isfinite(later)], there[np.isfinite(later)], rtol=1e-3, atol=1e-3)
    # Nothing is known where nothing is seen, nor where rain would come from outside.
    moved = lagrangian.advect(np.repeat(frames[-1:], 14, axis=0), lagrangian.motion(frames))
    np.testing.assert_array_equal(np.isnan(said), np.isnan(moved) | np.isnan(frames[-1]))
