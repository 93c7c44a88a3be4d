"""Probabilities and the fields that stand for them, against formulas by hand."""

import numpy as np
import pytest

from pipelines.nowcast.methods import fields
from pipelines.nowcast.methods.distribution import Distribution, ProbabilisticForecaster, distribution_of
from pipelines.nowcast.methods.extrapolation import persistence
from pipelines.radar.frame import Rain
from pipelines.verification.probabilities import crps, probability_scores, score_probabilities

RATES = [0.5, 1.0, 4.0]


def pixels(*exceedances: list[float]) -> np.ndarray:
    """One lead time, a row of pixels, each by its exceedance at `RATES`."""
    return np.array(exceedances, np.float32).T[None, :, None, :]


PIXELS = pixels(
    [0.0, 0.0, 0.0],
    [0.4, 0.3, 0.2],  # the median is below the lowest rate
    [0.5, 0.2, 0.0],  # at it
    [1.0, 0.75, 0.25],  # halfway between 1 and 4 in the logarithm
    [1.0, 1.0, 0.9],  # beyond the highest
    [1.0, 0.5, 0.5],
    [np.nan, np.nan, np.nan],
)


def test_mean_by_hand() -> None:
    # 0.5 · P(0.5) + 0.25 · (P(0.5) + P(1)) + 1.5 · (P(1) + P(4))
    by_hand = [
        0,
        0.2 + 0.175 + 0.75,
        0.25 + 0.175 + 0.3,
        0.5 + 0.4375 + 1.5,
        0.5 + 0.5 + 2.85,
        0.5 + 0.375 + 1.5,
        np.nan,
    ]
    np.testing.assert_allclose(fields.mean(PIXELS, RATES)[0, 0], by_hand, rtol=1e-6)


def test_median_by_hand() -> None:
    np.testing.assert_allclose(fields.median(PIXELS, RATES)[0, 0], [0, 0, 0.5, 2, 4, 4, np.nan], rtol=1e-6)


def test_mean_and_median_of_an_exponential_distribution() -> None:
    rates = np.geomspace(0.001, 100, 400)
    scale = np.array([0.3, 2.0, 7.0])
    exceedance = np.exp(-rates[None, :, None, None] / scale).astype(np.float32)
    np.testing.assert_allclose(fields.mean(exceedance, rates)[0, 0], scale, rtol=1e-3)
    np.testing.assert_allclose(fields.median(exceedance, rates)[0, 0], scale * np.log(2), rtol=1e-3)


def test_optimal_is_the_highest_rate_at_its_cut_or_more_at_each_lead_time() -> None:
    exceedance = np.repeat(PIXELS, 2, axis=0)
    optimal = fields.optimal(exceedance, RATES, [[0.4, 0.3, 0.3], [0.6, 0.6, 0.2]])
    np.testing.assert_array_equal(optimal[:, 0], [[0, 1, 0.5, 1, 4, 4, np.nan], [0, 4, 0, 4, 4, 4, np.nan]])
    assert optimal.dtype == np.float32


def test_matched_has_the_newest_frame_s_amounts_in_the_order_of_the_mean() -> None:
    newest = np.array([[3.0, 0.0, 0.0, 8.0, 1.0, np.nan, 5.0]], np.float32)
    # Known of both are 0, 0, 1, 3 and 8 mm/h, for the first five; their means ascend but for the second and third.
    matched = fields.probability_matching(fields.mean(PIXELS, RATES)[0], newest)
    np.testing.assert_allclose(matched[0], [0, 1, 0, 3, 8, np.nan, np.nan], atol=1e-6)


@pytest.mark.parametrize("dry", [0.0, 0.4, 0.9, 1.0])
def test_matching_is_that_of_pysteps(dry: float) -> None:
    from pysteps.postprocessing.probmatching import nonparam_match_empirical_cdf

    rng = np.random.default_rng(3)
    forecast, observed = rng.gamma(0.5, 2.0, (2, 40, 50)).astype(np.float32)
    forecast[rng.random((40, 50)) < 0.5] = 0.0  # more or less than is dry: the rest is cut
    observed[rng.random((40, 50)) < dry] = 0.0
    wanted = nonparam_match_empirical_cdf(forecast, observed)
    np.testing.assert_allclose(fields.probability_matching(forecast, observed), wanted, rtol=1e-6)


def test_a_field_is_a_distribution_of_0_and_1_whose_crps_is_its_absolute_error() -> None:
    rng = np.random.default_rng(1)
    observed, newest = rng.uniform(0, 8, (2, 1, 30, 40)).astype(np.float32)
    newest[0, :5] = np.nan
    rates = np.linspace(0, 8, 801)[1:].tolist()
    distribution = distribution_of(persistence, newest, 1, rates)
    assert list(distribution.fields) == ["field"]
    assert distribution.members is None
    np.testing.assert_array_equal(distribution.fields["field"], newest)
    assert np.isnan(distribution.exceedance[0, :, :5]).all()
    sums = score_probabilities(distribution.exceedance, observed, np.isfinite(newest), rates, minutes=[5])
    of_crps = crps(probability_scores(sums)).item()
    assert of_crps == pytest.approx(np.nanmean(np.abs(newest - observed)), abs=0.01)


def test_one_that_gives_probabilities_is_asked_for_them() -> None:
    class Half:
        def __call__(self, rain_rate: Rain, leads: int) -> Rain:
            raise AssertionError

        def distribution(self, rain_rate: Rain, leads: int, rates: list[float]) -> Distribution:
            exceedance = np.full((leads, len(rates), *rain_rate.shape[1:]), 0.5, np.float32)
            return Distribution(exceedance, {"mean": fields.mean(exceedance, rates)}, 8)

    assert isinstance(Half(), ProbabilisticForecaster)
    distribution = distribution_of(Half(), np.zeros((2, 3, 4), np.float32), 5, RATES)
    assert distribution.exceedance.shape == (5, 3, 3, 4)
    assert distribution.members == 8


def test_matched_rates_are_those_of_the_newest_frame_in_its_own_order() -> None:
    rng = np.random.default_rng(0)
    observed = rng.gamma(0.5, 2.0, (30, 40)).astype(np.float32)
    observed[:, :4] = np.nan
    forecast = rng.permuted(observed.ravel()).reshape(30, 40)
    forecast = np.nan_to_num(forecast, nan=1.0) ** 2 + 0.1
    matched = fields.probability_matching(forecast, observed)
    seen = np.isfinite(observed)
    order = np.lexsort((matched[seen], forecast[seen]))
    assert (np.diff(matched[seen][order]) >= 0).all()
    np.testing.assert_allclose(np.sort(matched[seen]), np.sort(observed[seen]), atol=1e-3)
    assert np.isnan(matched[~seen]).all()
    # What a forecast says is its order alone.
    np.testing.assert_array_equal(fields.probability_matching(forecast * 4.0, observed), matched)
    assert not fields.probability_matching(forecast, np.zeros_like(observed)).any()
    assert np.isnan(fields.probability_matching(forecast, np.full_like(observed, np.nan))).all()
